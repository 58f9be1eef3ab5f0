"""Accept, reject, expire and cancel race on the real database: one wins, and the refusals name the winner."""

import asyncio
import os
import random
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest

from kalathi.contract.words import OrderState
from kalathi.marketplace.kernel.errors import DomainError, ErrorCode
from kalathi.marketplace.kernel.keys import DrawnKeys
from kalathi.marketplace.kernel.storage.changes import ChangeSet, ConditionFailedError
from kalathi.marketplace.kernel.storage.database import View
from kalathi.marketplace.orders import commands, machine, store
from kalathi.marketplace.orders.facts import Facts
from kalathi.marketplace.orders.recording import record_ended
from tests.market import OPERATOR_TOKEN, open_market

pytestmark = pytest.mark.anyio

# Fewer on PostgreSQL in `make test`, and many more in `make chaos`. Several orders at once share groups of commits.
ROUNDS = int(os.environ.get("KALATHI_TEST_RACES", "5000"))
AT_ONCE = 20
# Each part has a database of its own, so that the parts can run side by side.
PARTS = 4


@pytest.mark.parametrize("part", range(PARTS))
async def test_exactly_one_of_accept_reject_expire_and_cancel_wins(tmp_path: Path, part: int) -> None:
    seed = int(os.environ.get("KALATHI_TEST_SEED", random.randrange(10**6)))
    print(f"seed {seed}: repeat with KALATHI_TEST_SEED={seed}")
    chance = random.Random(f"{seed} {part}")
    async with open_market(tmp_path, worker=False) as market:
        shop = await market.shop(quantity=100_000)
        context = market.marketplace._context
        deadline = context.clock.now() + timedelta(hours=30)

        async def expire(code: str) -> int:
            def command(facts: Facts) -> tuple[ChangeSet, None]:
                found = store.by_code(facts.view, code)
                assert found is not None
                return commands.expire(found, None, facts._replace(now=deadline)).changes, None

            try:
                await context.commands.run(command)
            except DomainError as refused:
                assert refused.code is ErrorCode.ORDER_STATUS
                return 422
            return 200

        async def cancel(code: str) -> int:
            headers = {"Authorization": f"Bearer {OPERATOR_TOKEN}"}
            return (await market.call("POST", f"/marketplace/orders/{code}/cancel", None, headers)).status

        async def reject(code: str) -> int:
            body = {"rejection_reason_other": "closed"}
            return (await shop.call("POST", f"/orders/{code}/reject", body)).status

        async def race() -> tuple[list[int], list[str]]:
            code = await shop.cart(A=1)
            # Read before the race: with an extra call in front, the accept would rarely win.
            window = (await shop.show(code))["accept_options"]["pickup_window"][0]["id"]

            async def accept(code: str) -> int:
                body = {"pickup_location": shop.location_id, "pickup_window": window, "number_of_parcels": 1}
                return (await shop.call("POST", f"/orders/{code}/accept", body)).status

            racers = [accept, accept, reject, expire, cancel]
            chance.shuffle(racers)
            statuses = await asyncio.gather(*(racer(code) for racer in racers))
            timeline = (await market.order(code))["timeline"]
            return statuses, [entry["event"] for entry in timeline if entry["event"] != "place"]

        first: Counter[str] = Counter()
        for _ in range(0, ROUNDS // PARTS, AT_ONCE):
            for statuses, winners in await asyncio.gather(*(race() for _ in range(AT_ONCE))):
                assert set(statuses) <= {200, 422}
                # A cancellation may follow an acceptance, which it does not contradict.
                assert len(winners) == 1 or winners == ["accept", "cancel"], (seed, winners)
                assert statuses.count(200) == len(winners), (seed, winners)
                first[winners[0]] += 1
        assert set(first) == {"accept", "reject", "expire", "cancel"}, "each of them wins now and then"
        taken = await market.marketplace._context.database.read_list(_accepted)
        assert await shop.stock() == {"A": 100_000 - taken, "B": 100_000}


def _accepted(view: View) -> int:
    row = view.one("SELECT count(*) FROM orders WHERE state = :open", {"open": OrderState.OPEN})
    assert row == (0,)
    row = view.one("SELECT count(*) FROM orders WHERE state = :accepted", {"accepted": OrderState.ACCEPTED})
    assert row is not None
    return int(row[0])


async def test_a_transition_is_written_only_at_the_version_it_was_decided_on(tmp_path: Path) -> None:
    async with open_market(tmp_path, worker=False) as market:
        shop = await market.shop()
        code = await shop.cart(A=1)
        context = market.marketplace._context

        def cancel(view: View) -> ChangeSet:
            found = store.by_code(view, code)
            assert found is not None
            facts = Facts(view, DrawnKeys([]), context.terms, context.clock.now())
            return record_ended(found, machine.cancel(found.order), facts).changes

        stale = await context.database.read(cancel)
        move = stale.guarded[0]
        assert (move.table, dict(move.when)) == ("orders", {"version": 1})
        await shop.accept(code)
        with pytest.raises(ConditionFailedError):
            await context.database.commit(stale)
        assert (await shop.show(code))["state"] == "accepted"


async def test_the_last_piece_is_sold_once(tmp_path: Path) -> None:
    async with open_market(tmp_path, worker=False) as market:
        shop = await market.shop(quantity=3)

        async def buy() -> int:
            item = {"shop_id": shop.id, "shop_uid": "A", "quantity": 1}
            cart = {"customer": {"first_name": "Ελένη"}, "items": [item], "payment_method": "card"}
            headers = {"Authorization": f"Bearer {OPERATOR_TOKEN}"}
            return (await market.call("POST", "/marketplace/carts", cart, headers)).status

        statuses = await asyncio.gather(*(buy() for _ in range(10)))
        assert sorted(statuses) == [201] * 3 + [422] * 7
        assert (await shop.stock())["A"] == 0
