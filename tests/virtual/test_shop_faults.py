"""Fault rules of single shops, and the rough mixture: the rules that apply, and those that a restart keeps."""

from pathlib import Path
from typing import Any, cast

import pytest

from kalathi.marketplace.app import open_marketplace
from kalathi.marketplace.kernel.settings import Settings
from kalathi.marketplace.kernel.storage.changes import ChangeSet
from kalathi.marketplace.kernel.storage.database import Database
from kalathi.marketplace.sandbox.fault_rules import FaultRules
from kalathi.marketplace.sandbox.faults import FaultKind, FaultPlace, FaultRule, Faults
from kalathi.marketplace.sandbox.rough import ROUGH
from kalathi.marketplace.sandbox.store import StoredFaults, load_faults
from tests.databases import drop_postgres, fresh_postgres
from tests.market import OPERATOR_TOKEN, FakeNetwork, FakeTime, Market, Shop, open_market, until

pytestmark = pytest.mark.anyio

NONE = {"seed": 1, "rules": [], "rough": False}
ERROR = {"on": "api", "kind": "error"}
HALF = {"seed": 7, "rules": [ERROR | {"probability": 0.5}]}
ROUGH_ONLY = {"seed": 1, "rules": [], "rough": True, "shops": []}


async def _set_rules(shop: Shop, faults: object) -> Any:
    return await shop.market.operate("PUT", f"/marketplace/shops/{shop.id}/faults", faults)


async def _answers(shop: Shop, count: int) -> list[str]:
    """The status of each answer and whether it has an unknown member, or that there was none."""
    found = []
    for _ in range(count):
        try:
            answer = await shop.call("GET", "/orders/DEMO-OPEN")
            found.append(f"{answer.status} {b'new_member' in answer.body}")
        except ConnectionResetError:
            found.append("cut off")
    return found


async def _statuses(shop: Shop, count: int) -> list[int]:
    return [(await shop.call("GET", "/orders/DEMO-OPEN")).status for _ in range(count)]


async def test_a_shops_rules_apply_to_it_alone_beside_those_of_the_marketplace(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop, other = await market.shop(), await market.shop("Other", url="http://other/")
        await _set_rules(shop, {"rules": [ERROR, {"on": "webhooks", "kind": "duplicate"}]})
        assert await _statuses(shop, 2) == [503, 503]
        assert await _statuses(other, 2) == [200, 200]
        for one in (shop, other):
            await one.cart(A=1)
        await market.settle()
        assert sorted(url for url, _ in market.network.posts) == ["http://other/", "http://shop/", "http://shop/"]
        everywhere = {"rules": [{"on": "api", "kind": "rate_limit"}]}
        shown = await market.operate("PUT", "/marketplace/faults", everywhere)
        assert shown["shops"] == [shop.id]
        assert await _statuses(shop, 1) == await _statuses(other, 1) == [429]
        assert await market.operate("DELETE", f"/marketplace/shops/{shop.id}/faults") == NONE
        await market.operate("PUT", "/marketplace/faults", {})
        assert await _statuses(shop, 1) == [200]


async def test_another_shops_rules_and_the_marketplaces_do_not_reset_a_shops_numbers(tmp_path: Path) -> None:
    runs = []
    for run in ("alone", "disturbed"):
        async with open_market(tmp_path / run, worker=False) as market:
            other, shop = await market.shop("Other"), await market.shop()
            if run == "disturbed":
                await _statuses(other, 3)
            await _set_rules(shop, HALF)
            found = await _statuses(shop, 15)
            if run == "disturbed":
                await _set_rules(other, HALF)
                await market.operate("PUT", "/marketplace/faults", {"rules": [{"on": "api", "kind": "layout"}]})
                await _statuses(other, 5)
                await market.operate("DELETE", f"/marketplace/shops/{other.id}/faults")
            runs.append(found + await _statuses(shop, 15))
    assert runs[0] == runs[1]
    assert set(runs[0]) == {200, 503}


async def test_the_same_rules_of_a_shop_and_of_the_marketplace_apply_independently(tmp_path: Path) -> None:
    async with open_market(tmp_path, worker=False) as market:
        shop = await market.shop()
        await _set_rules(shop, HALF)
        own = await _statuses(shop, 30)
        await market.operate("DELETE", f"/marketplace/shops/{shop.id}/faults")
        await market.operate("PUT", "/marketplace/faults", HALF)
        assert await _statuses(shop, 30) != own


async def test_a_shops_rules_survive_a_restart_until_they_are_removed(tmp_path: Path) -> None:
    async with open_market(tmp_path, worker=False) as market:
        shop = await market.shop()
        answer = await _set_rules(shop, {"seed": 9, "rules": [ERROR | {"status": 599}]})
    async with open_market(tmp_path, worker=False) as market:
        shop.market = market
        assert await market.operate("GET", f"/marketplace/shops/{shop.id}/faults") == answer
        assert await _statuses(shop, 1) == [599]
        assert await _set_rules(shop, {}) == NONE
    async with open_market(tmp_path, worker=False) as market:
        shop.market = market
        assert await _statuses(shop, 1) == [200]
        assert await market.operate("GET", f"/marketplace/shops/{shop.id}/faults") == NONE


async def test_wrong_rules_of_a_shop_and_unknown_shops_are_refused(tmp_path: Path) -> None:
    async with open_market(tmp_path, worker=False) as market:
        shop, other = await market.shop(), await market.shop("Other")
        path = f"/marketplace/shops/{shop.id}/faults"
        for rule in (ERROR | {"shop_id": other.id}, ERROR | {"call": "nonsense"}, {"on": "api", "kind": "reorder"}):
            answer = await market.operate("PUT", path, {"rules": [rule]}, status=422)
            assert answer["errors"][0]["code"] == "invalid_parameter"
        await _set_rules(shop, {"rules": [ERROR | {"shop_id": shop.id}]})
        for method in ("GET", "PUT", "DELETE"):
            await market.operate(method, "/marketplace/shops/unknown/faults", {}, status=404)
    async with open_market(tmp_path, settings=Settings(mode="production"), worker=False) as market:
        shop.market = market
        assert await _statuses(shop, 1) == [200]
        for method in ("GET", "PUT", "DELETE"):
            await market.operate(method, path, {}, status=404)


async def test_a_reset_ends_the_rules_of_its_shop_and_of_no_other(tmp_path: Path) -> None:
    async with open_market(tmp_path, worker=False) as market:
        shop, other = await market.shop(), await market.shop("Other")
        for one in (shop, other):
            await _set_rules(one, {"rules": [ERROR]})
        await market.operate("POST", f"/marketplace/shops/{shop.id}/reset")
        assert await _statuses(shop, 1) == [200]
        assert await _statuses(other, 1) == [503]
        stored = await market.marketplace.database.read(load_faults)
        assert set(stored.by_shop) == {other.id}


class NoDatabase:
    """A database that keeps nothing."""

    async def commit(self, changes: ChangeSet) -> None:
        """On disk at once."""


def _find_injections(book: FaultRules, count: int) -> list[bool]:
    return [bool(book.on_call("shop", "show")) for _ in range(count)]


async def test_a_set_that_another_process_has_not_changed_keeps_its_numbers() -> None:
    half = Faults(rules=(FaultRule(on=FaultPlace.API, kind=FaultKind.DROP, probability=0.5),))
    stored = StoredFaults(None, {"shop": half})
    alone, followed = (FaultRules(cast(Database, NoDatabase()), stored, sandbox=True) for _ in range(2))
    expected = _find_injections(alone, 40)
    found = _find_injections(followed, 20)
    followed.follow(StoredFaults(None, {"shop": half, "other": half}), followed.changes)
    assert found + _find_injections(followed, 20) == expected
    followed.follow(StoredFaults(None, {"other": half}), followed.changes)
    assert not any(_find_injections(followed, 40))
    assert followed.has_api_rules
    followed.follow(StoredFaults(), followed.changes)
    assert not followed.has_api_rules


async def test_rules_of_a_shop_are_followed_by_other_processes_and_so_is_their_end(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, database=fresh_postgres(), operator_token=OPERATOR_TOKEN)
    first, second = [await open_marketplace(settings, "http://market", sender=FakeNetwork()) for _ in range(2)]
    try:
        market, other = (Market(one, FakeNetwork(), FakeTime()) for one in (first, second))
        shop = await market.shop()
        await _set_rules(shop, {"rules": [ERROR]})
        await until(lambda: second._context.faults.list_shops() == [shop.id])
        shop.market = other
        assert await _statuses(shop, 1) == [503]
        await market.operate("DELETE", f"/marketplace/shops/{shop.id}/faults")
        await until(lambda: not second._context.faults.has_api_rules)
        assert await _statuses(shop, 1) == [200]
    finally:
        await first.stop()
        await second.stop()
        drop_postgres(settings.database)


async def _faults(market: Market) -> Any:
    return await market.operate("GET", "/marketplace/faults")


async def test_rough_is_on_from_the_start_until_it_is_cleared(tmp_path: Path) -> None:
    async with open_market(tmp_path, settings=Settings(rough=True), worker=False) as market:
        shop = await market.shop()
        assert await _faults(market) == ROUGH_ONLY
        assert "200 True" in await _answers(shop, 30)
        await market.operate("PUT", "/marketplace/faults", {})
        assert await _statuses(shop, 30) == [200] * 30
    async with open_market(tmp_path, settings=Settings(rough=True), worker=False) as market:
        assert await _faults(market) == ROUGH_ONLY, "a start with --rough turns it on again"
    async with open_market(tmp_path, worker=False) as market:
        assert await _faults(market) == NONE | {"shops": []}


async def test_rules_of_ones_own_replace_the_rough_mixture_also_after_a_restart(tmp_path: Path) -> None:
    for is_first in (True, False):
        async with open_market(tmp_path, settings=Settings(rough=True), worker=False) as market:
            if is_first:
                await market.operate("PUT", "/marketplace/faults", {"rules": [ERROR | {"status": 599}]})
            faults = await _faults(market)
            assert (len(faults["rules"]), faults["rough"]) == (1, False)


async def test_the_rough_mixture_of_one_shop_repeats_with_its_seed(tmp_path: Path) -> None:
    runs = []
    for run, seed in (("a", 3), ("b", 3), ("c", 4)):
        async with open_market(tmp_path / run, worker=False) as market:
            shop, other = await market.shop(), await market.shop("Other")
            await _set_rules(shop, {"seed": seed, "rough": True})
            runs.append(await _answers(shop, 40))
            assert await _statuses(other, 10) == [200] * 10
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]
    assert {"503 False", "cut off"} & {*runs[0], *runs[2]}


def test_the_rough_mixture_is_mild_and_has_every_kind_that_a_correct_client_survives() -> None:
    assert {rule.kind for rule in ROUGH} >= set(FaultKind) - {
        FaultKind.TIMEOUT,
        FaultKind.TEXT_AS_NUMBER,
        FaultKind.SCANNING,
    }
    assert all(rule.probability <= 0.2 and rule.seconds <= 2 for rule in ROUGH)
    assert all(rule.status >= 500 for rule in ROUGH)


async def test_a_rule_with_times_applies_to_the_first_calls_of_each_shop(market: Market, shop: Shop) -> None:
    other = await market.shop()
    rule = ERROR | {"call": "show", "times": 2}
    await market.operate("PUT", "/marketplace/faults", {"rules": [rule]})
    for each in (shop, other):
        assert await _answers(each, 4) == ["503 False", "503 False", "200 False", "200 False"]
    await _set_rules(shop, {"rules": [rule | {"times": 1}]})
    assert await _answers(shop, 2) == ["503 False", "200 False"]


async def test_a_rule_with_times_applies_to_the_first_attempts_of_webhooks(market: Market, shop: Shop) -> None:
    await _set_rules(shop, {"rules": [{"on": "webhooks", "kind": "error", "call": "new_order", "times": 1}]})
    code = await shop.place({"A": 1})
    await market.settle()
    assert not market.network.posts
    await market.advance(60)
    await market.settle()
    assert [body["order"]["code"] for _, body in market.network.posts] == [code]


async def test_times_is_not_for_faults_in_bodies(market: Market, shop: Shop) -> None:
    body = {"rules": [{"on": "webhooks", "kind": "null_member", "times": 1}]}
    refused = await market.operate("PUT", f"/marketplace/shops/{shop.id}/faults", body, status=422)
    assert "rules[0].times" in refused["errors"][0]["messages"][0]
