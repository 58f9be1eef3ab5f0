"""A shop's commands: the end of the process decides, and none runs beside its successor."""

import asyncio
import os
import time
from contextlib import suppress
from pathlib import Path

import pytest

from kalathi.contract.words import OrderState
from kalathi.merchant.commands import HANDING_OVER, PRINTING, Command, Ended, Limit, LimitMet, NotStarted, Outcome
from kalathi.merchant.habits import Habits
from kalathi.merchant.handing_over import CommandRecipient, HandoverError
from kalathi.merchant.inbox.subjects import Subject
from tests.market import until
from tests.unit.test_connector import Shop, shop
from tests.virtual.simulated import VirtualLoop

pytestmark = pytest.mark.anyio
__all__ = ["shop"]

LONG = Limit(20.0, "--print-seconds")
SHORT = Limit(0.3, "--print-seconds")
# What a child does that would run for long; its number is in the file `child`.
OBEYS = "sleep 300"
REFUSES = "trap '' TERM; while :; do sleep 0.05; done"


def sh(folder: Path, script: str, limit: Limit = LONG) -> Command:
    return Command(["sh", "-c", f"cd {folder}; {script}"], limit)


async def run(command: Command, how: str, body: bytes = b"") -> Outcome:
    if how == "on a thread":
        return await asyncio.to_thread(command.run, body=body)
    return await command.run_beside(body=body)


both = pytest.mark.parametrize("how", ["on a thread", "on the event loop"])


def has_child(folder: Path) -> bool:
    with suppress(OSError, ValueError):  # It is not written yet.
        return int((folder / "child").read_text("utf-8")) > 0
    return False


def is_running(folder: Path) -> bool:
    """Whether the child runs; one that has ended and was not reaped does not."""
    number = int((folder / "child").read_text("utf-8"))
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{number}/stat")
    return not (stat.exists() and stat.read_text("utf-8").rpartition(")")[2].split()[0] in {"Z", "X"})


@both
async def test_a_command_ends_with_its_process_despite_background_children(tmp_path: Path, how: str) -> None:
    begun = time.monotonic()
    outcome = await run(sh(tmp_path, f"{OBEYS} & echo $! > child; echo done"), how)
    assert outcome == Ended(0, "done\n", "")
    assert time.monotonic() - begun < 10
    assert is_running(tmp_path), "it ended well, so what it has left is its own affair"
    os.kill(int((tmp_path / "child").read_text("utf-8")), 9)


@both
@pytest.mark.parametrize("child", [OBEYS, REFUSES])
async def test_at_the_time_limit_the_whole_process_group_is_ended(tmp_path: Path, how: str, child: str) -> None:
    command = sh(tmp_path, f'echo slow >&2; sh -c "echo \\$\\$ > child; {child}"; true', SHORT)
    outcome = await run(command, how)
    assert outcome == LimitMet(SHORT, "", "slow\n", is_running=False)
    assert not is_running(tmp_path)
    assert command.describe(outcome) == "sh did not end within 0.3 s (--print-seconds): slow"


@pytest.mark.posix("Windows does not ask a command to end")
@both
async def test_a_command_may_clean_up_at_its_limit_and_still_times_out(tmp_path: Path, how: str) -> None:
    command = sh(tmp_path, "echo slow; trap 'touch tidy; exit 0' TERM; while :; do sleep 0.05; done", SHORT)
    outcome = await run(command, how)
    assert outcome == LimitMet(SHORT, "slow\n", "", is_running=False), "what a shell says of the signal is not told"
    assert (tmp_path / "tidy").exists()


@pytest.mark.posix("Windows does not find the children of a process that has ended")
@both
@pytest.mark.parametrize(
    ("end", "status", "told"),
    [
        ("echo 'no such   order' >&2; exit 3", 3, "sh ended with status 3: no such order"),
        ("echo broken; exit 1", 1, "sh ended with status 1: broken"),
        ("kill -9 $$", -9, "sh was ended by SIGKILL"),
    ],
)
async def test_a_failed_command_leaves_no_running_child(
    tmp_path: Path, how: str, end: str, status: int, told: str
) -> None:
    tidies = "trap 'touch tidy; exit' TERM; touch ready; while :; do sleep 0.05; done"
    command = sh(tmp_path, f"({tidies}) & echo $! > child; while [ ! -e ready ]; do sleep 0.01; done; {end}")
    outcome = await run(command, how)
    assert isinstance(outcome, Ended)
    assert outcome.status == status
    assert not is_running(tmp_path)
    assert (tmp_path / "tidy").exists(), "it may clean up"
    assert command.describe(outcome) == told


@both
async def test_a_command_may_leave_its_input_unread(tmp_path: Path, how: str) -> None:
    assert await run(sh(tmp_path, "true"), how, b"x" * 10_000_000) == Ended(0, "", "")
    assert await run(sh(tmp_path, "wc -c"), how, b"x" * 1_000_000) == Ended(0, "1000000\n", "")


@both
async def test_only_the_end_of_a_commands_output_is_kept_as_text(tmp_path: Path, how: str) -> None:
    outcome = await run(sh(tmp_path, "head -c 1000000 /dev/zero | tr '\\0' x; printf 'end \\377'; echo τέλος >&2"), how)
    assert isinstance(outcome, Ended)
    assert len(outcome.output) == 4096
    assert outcome.output.endswith("x" * 1000 + "end \ufffd")
    assert outcome.errors == "τέλος\n"


@both
async def test_a_command_that_cannot_be_started_has_a_reason(tmp_path: Path, how: str) -> None:
    for word, reason in (
        (str(tmp_path / "missing"), "No such file or directory"),
        (str(tmp_path), "Permission denied"),
    ):
        command = Command([word], LONG)
        outcome = await run(command, how)
        assert outcome == NotStarted(reason)
        assert command.describe(outcome) == f"{word} cannot be started: {reason}"
    assert isinstance(await run(Command(["echo", "a\0b"], LONG), how), NotStarted)


@pytest.mark.parametrize("child", [OBEYS, REFUSES])
@pytest.mark.parametrize("times", [1, 2])
async def test_cancelling_a_command_ends_its_whole_process_group(tmp_path: Path, child: str, times: int) -> None:
    command = sh(tmp_path, f'sh -c "echo \\$\\$ > child; {child}"; true')
    waiting = asyncio.create_task(command.run_beside())
    await until(lambda: has_child(tmp_path))
    begun = time.monotonic()
    for _ in range(times):
        waiting.cancel()
        await asyncio.sleep(0.05)  # A person presses Ctrl-C again after a moment.
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not is_running(tmp_path)
    assert time.monotonic() - begun < 10


async def test_a_running_hand_over_does_not_delay_the_connectors_end(shop: Shop) -> None:
    script = f"cd {shop.folder}; cat > body; echo $$ > child; {OBEYS}; true"
    shop.restart(recipient=CommandRecipient(["sh", "-c", script]))
    shop.receive(shop.order("o1", 1))
    running = asyncio.create_task(shop.connector.run())
    await until(lambda: has_child(shop.folder))
    begun = time.monotonic()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert time.monotonic() - begun < 10
    assert not is_running(shop.folder)
    assert [entry.code for entry in shop.inbox.handovers.due(0)] == ["o1"], "the next start hands it over"


@pytest.mark.posix("Windows does not ask a command to end")
async def test_a_timed_out_hand_over_is_reported_and_never_overlaps_its_retry(shop: Shop) -> None:
    """The first tries take too long behind a shell; each of them notes whether one before it still runs."""
    importer = f"cd {shop.folder}; mkdir running || echo twice >> beside; trap 'rmdir running; exit' TERM; "
    importer += "while :; do sleep 0.05; done"
    (shop.folder / "importer").write_text(importer, "utf-8")
    limit = Limit(0.2, HANDING_OVER.setting)
    shop.restart(recipient=CommandRecipient(["sh", "-c", f"sh {shop.folder}/importer; true"], limit=limit))
    shop.receive(shop.order("o1", 1))
    await shop.work(until_seconds=3)
    assert not (shop.folder / "beside").exists()
    assert not (shop.folder / "running").exists()
    told = "needs a person: o1 cannot be handed over: sh did not end within 0.2 s (--hand-over-seconds)"
    assert any(line.startswith(told) for line in shop.told)


async def test_a_hand_over_with_a_background_child_is_done_once(shop: Shop) -> None:
    shop.restart(
        recipient=CommandRecipient(["sh", "-c", f"cd {shop.folder}; cat >> told; sleep 300 & echo $! > child"])
    )
    shop.receive(shop.order("o1", 1))
    await shop.work(until_seconds=100)
    os.kill(int((shop.folder / "child").read_text("utf-8")), 9)
    assert (shop.folder / "told").read_text("utf-8").count('"kind": "order"') == 1
    assert shop.inbox.counts()["handovers"] == 0


@pytest.mark.parametrize("seconds", [5.0, 600.0])
def test_the_connectors_own_guard_follows_the_setting(tmp_path: Path, seconds: float) -> None:
    class Hanging:
        waited: float | None = None

        async def receive(self, code: str, body: bytes) -> None:
            begun = asyncio.get_running_loop().time()
            try:
                await asyncio.sleep(100_000)  # A system that never answers.
            finally:
                self.waited = asyncio.get_running_loop().time() - begun

    async def hand_over() -> None:
        place.inbox.jobs.plan(Subject.ORDER, "o1")
        place.inbox.handovers.queue(Subject.ORDER, "o1", b"{}")
        await place.work(until_seconds=5)

    recipient = Hanging()
    place = Shop(tmp_path)
    place.order("o1", 1)
    place.restart(recipient=recipient, habits=Habits(hand_over_seconds=seconds))
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(hand_over())
    place.inbox.close()
    assert recipient.waited is not None
    assert seconds + 3 < recipient.waited < seconds + 10, "long enough for a command at its limit to be ended"
    told = f"needs a person: o1 cannot be handed over: not taken within {seconds:g} s (--hand-over-seconds)"
    assert told in place.told


async def test_a_slow_hand_over_does_not_delay_another_orders_retry(shop: Shop) -> None:
    shop.restart(recipient=CommandRecipient(["sh", "-c", OBEYS]))
    shop.receive(shop.order("o1", 1))
    working = asyncio.create_task(shop.connector.work())
    await until(lambda: shop.inbox.counts()["handovers"] == 1)
    shop.market.refuse = shop.market.busy(503)
    shop.receive(shop.order("o2", 1))
    shop.connector.wake()
    await until(lambda: any(look.tries for look in shop.inbox.jobs.due(1000)))
    for _ in range(10):
        await asyncio.sleep(0)  # The connector sees that nothing is due, and waits.
    shop.market.refuse = None
    shop.seconds = 1000
    await until(lambda: shop.market.orders["o2"].state is OrderState.ACCEPTED)
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)


async def test_a_failed_command_raises_handover_error(tmp_path: Path) -> None:
    for words in (["sh", "-c", "exit 1"], ["sh", "-c", "kill -9 $$"], [str(tmp_path / "missing")]):
        with pytest.raises(HandoverError):
            await CommandRecipient(words).receive("o1", b"{}")
    assert PRINTING.seconds == 60.0
