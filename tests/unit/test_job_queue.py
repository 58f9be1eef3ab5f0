"""The order in which jobs start: the shops take turns, and slow ones never use the slots of the others."""

from collections import Counter

from kalathi.marketplace.kernel.due import DueKind, DueRow, Found
from kalathi.marketplace.worker.job_kinds import Job, JobKind
from kalathi.marketplace.worker.job_queue import JobQueue


async def _never(_row: DueRow) -> None:
    raise NotImplementedError


def _queue(slots: int = 8, per_shop: int = 2, kind: DueKind = DueKind.DELIVERY) -> JobQueue:
    return JobQueue(JobKind(kind, _never, slots, per_shop))


def _jobs(shop_id: str, count: int, first: int = 0) -> list[Job]:
    return [
        Job(DueRow(DueKind.DELIVERY, shop_id, f"o{first + number}", 1, 0, 0, 0), None, 1, 0.0)
        for number in range(count)
    ]


def _start_all(queue: JobQueue, *, is_hurried: bool = False) -> list[Job]:
    started = []
    while (job := queue.start(is_hurried=is_hurried)) is not None:
        started.append(job)
    return started


def _run(queue: JobQueue, shop_id: str, seconds: float) -> None:
    """Run one job of the shop, so that the queue knows how long the shop takes."""
    queue.add(_jobs(shop_id, 1, first=10_000))
    [job] = _start_all(queue)
    queue.end(job.row, seconds)
    queue.let_go(job.row)


def test_an_unknown_shop_has_one_slot_and_a_quick_one_its_full_number() -> None:
    queue = _queue()
    _run(queue, "quick", 0.1)
    queue.add([*_jobs("quick", 5), *_jobs("unknown", 5)])
    assert Counter(job.row.shop_id for job in _start_all(queue)) == {"quick": 2, "unknown": 1}


def test_shops_take_turns() -> None:
    queue = _queue(slots=4, per_shop=4)
    for shop_id in "abc":
        _run(queue, shop_id, 0.1)
    queue.add([*_jobs("a", 9), *_jobs("b", 9), *_jobs("c", 9)])
    started = _start_all(queue)
    assert [job.row.shop_id for job in started] == ["a", "b", "c", "a"]
    for expected in "bcabc":
        queue.end(started.pop(0).row, 0.1)
        [job] = _start_all(queue)
        assert job.row.shop_id == expected
        started.append(job)


def test_slow_shops_share_a_quarter_of_the_slots_and_all_get_their_turn() -> None:
    queue = _queue(slots=8)
    slow = [f"slow{number}" for number in range(5)]
    for shop_id in slow:
        _run(queue, shop_id, 9.0)
    queue.add([job for shop_id in slow for job in _jobs(shop_id, 3)])
    seen: Counter[str] = Counter()
    running = _start_all(queue)
    while running:
        assert len(running) == 2 or len(queue.waiting_shops()) <= 1
        job = running.pop(0)
        seen[job.row.shop_id] += 1
        queue.end(job.row, 9.0)
        running += _start_all(queue)
    assert seen == dict.fromkeys(slow, 3)


def test_a_shop_that_becomes_slow_keeps_one_slot() -> None:
    queue = _queue(slots=8, per_shop=4)
    _run(queue, "s", 0.1)
    queue.add(_jobs("s", 9))
    first, *others = _start_all(queue)
    assert len(others) == 3
    queue.end(first.row, 9.0)
    assert _start_all(queue) == []
    for job in others:
        queue.end(job.row, 9.0)
    assert len(_start_all(queue)) == 1


def test_a_job_that_is_given_back_does_not_make_its_shop_quick() -> None:
    queue = _queue()
    queue.add(_jobs("s", 3))
    [job] = _start_all(queue)
    queue.give_back(job.row)
    assert list(queue.more) == ["s"]
    assert len(_start_all(queue)) == 1, "one slot, as before"


def test_a_hurried_shop_may_use_all_slots() -> None:
    queue = _queue(slots=8)
    queue.add(_jobs("s", 9))
    assert len(_start_all(queue)) == 1
    assert len(_start_all(queue, is_hurried=True)) == 7


def test_other_kinds_of_jobs_give_each_shop_its_full_number() -> None:
    queue = _queue(slots=8, per_shop=5, kind=DueKind.EXPIRY)
    queue.add(_jobs("s", 9))
    assert len(_start_all(queue)) == 5


def test_a_dropped_job_can_be_read_again_and_a_running_one_cannot() -> None:
    queue = _queue()
    queue.add([*_jobs("s", 3), *_jobs("t", 1)])
    running = _start_all(queue)
    assert {job.row.shop_id for job in running} == {"s", "t"}
    assert len(queue.drop_waiting(["s", "t", "unknown"])) == 2
    assert queue.held == {"s": {("o0", 1)}, "t": {("o0", 1)}}
    assert queue.waiting_jobs == 0
    for job in running:
        queue.end(job.row, 0.1)
        queue.let_go(job.row)
    assert (queue.held, queue.slots_taken) == ({}, 0)
    queue.add(_jobs("s", 1))
    assert len(_start_all(queue)) == 1


def test_it_reads_many_jobs_at_once_and_few_of_a_slow_shop() -> None:
    queue = _queue(slots=10, per_shop=2)
    assert queue.room == 50
    assert queue.most_to_read("slow", is_hurried=False) == 1
    assert queue.most_to_read("slow", is_hurried=True) == 10
    _run(queue, "quick", 0.1)
    assert queue.most_to_read("quick", is_hurried=False) == 32
    queue.add(_jobs("s", 25))
    assert queue.room == 25, "half of the places are free"
    queue.add(_jobs("t", 1))
    assert queue.room == 0


def test_the_next_read_begins_when_few_more_jobs_wait_than_end_during_a_read() -> None:
    queue = _queue(slots=10, per_shop=10)
    queue.add(_jobs("s", 20))
    nothing = Found([], [], [])
    queue.note_read(nothing, {}, (), queue.ended - 15)
    assert queue.room == 30, "15 jobs ended during the read, so 20 are soon gone"
    queue.note_read(nothing, {}, (), queue.ended - 3)
    assert queue.room == 0, "3 ended, so 20 last for a while"


def test_a_shop_is_read_again_when_the_job_that_its_events_wait_for_has_ended() -> None:
    queue = _queue()
    queue.add(_jobs("s", 1))
    [job] = _start_all(queue)
    queue.note_read(Found([], ["more"], ["s", "ended already"]), {}, ("s", "ended already"), queue.ended)
    assert list(queue.take_more()) == ["more", "ended already"]
    queue.end(job.row, 0.1)
    queue.let_go(job.row)
    assert list(queue.more) == ["s"]


def test_a_shop_is_read_again_only_if_not_all_of_its_new_rows_were_found() -> None:
    for noted, is_read_again in ((1, False), (2, True), (0, True)):
        queue = _queue()
        [job] = _jobs("s", 1)
        queue.note_read(Found([job.row], [], ["s"]), {"s": noted}, (), queue.ended)
        queue.add([job])
        _start_all(queue)
        queue.end(job.row, 0.1)
        queue.let_go(job.row)
        assert list(queue.more) == (["s"] if is_read_again else [])
