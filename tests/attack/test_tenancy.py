"""Every call and every page with the tokens of others: they reveal and change nothing of another shop."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from kalathi.marketplace.api.route import Access, Route
from kalathi.marketplace.api.routes import ROUTES
from kalathi.marketplace.panel.pages import Who
from tests.attack.remote import RemoteMarket, open_remote
from tests.market import ACCEPT, OPERATOR_TOKEN
from tests.panel.visitor import Visitor
from tests.panel.world import World, facts_of, fill_shop, pages_of

pytestmark = pytest.mark.anyio

_FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class _Attempt(NamedTuple):
    """A call and its expected statuses."""

    route: Route
    path: str
    token: str
    statuses: frozenset[int]


def _paths(route: Route, world: World) -> list[str]:
    """The call's path for every object of a shop that it may name."""
    names = {"shop_id": world.shop.id, "kind": "creation", "name": "new_order", "file": "x.pdf", "link": "x"}
    codes = [world.open_code, world.accepted_code, world.delivered_code, world.return_code, world.purchase_order_code]
    delivery = f"{world.shop.id}.{world.open_code}.1"
    ids = [delivery, world.supplier_id] if "{id}" in route.path else [""]
    every = codes if re.search(r"{(return_)?code}", route.path) else [""]
    return [route.path.format(**names, code=code, return_code=code, id=one) for code in every for one in ids]


def _attempts(mine: World, theirs: World) -> list[_Attempt]:
    """Every call that needs a token, on another shop's objects, with every wrong kind of token."""
    attempts = []
    for route in ROUTES:
        if route.access is Access.OPERATOR:
            tokens = {"": {401}, "wrong": {401}, mine.shop.token: {401}, theirs.shop.token: {401}}
        elif route.access is Access.MERCHANT:
            own = {401, 404, 405, 422, 400} if "{" in route.path else {200, 400, 422}
            tokens = {"": {401}, "wrong": {401}, OPERATOR_TOKEN: {401}, mine.shop.token: own}
        elif route.access is Access.PRODUCTS:
            # A token of the Orders API opens nothing here.
            tokens = {key: {401} for key in ("", "wrong", OPERATOR_TOKEN, mine.shop.token, theirs.shop.token)}
        else:
            continue
        for path in _paths(route, theirs):
            attempts += [_Attempt(route, path, token, frozenset(allowed)) for token, allowed in tokens.items()]
    return attempts


async def _send(market: RemoteMarket, attempt: _Attempt) -> Any:
    headers = {"Accept": ACCEPT} | ({"Authorization": f"Bearer {attempt.token}"} if attempt.token else {})
    return await market.call(attempt.route.method, attempt.path, _body(attempt.route), headers)


def _body(route: Route) -> Mapping[str, object] | None:
    """A body that could change something if it were let through."""
    if route.method == "GET":
        return None
    return {"webhook_url": "http://evil.example/", "name": "Evil", "rejection_reason_other": "no", "reason": "no"}


async def test_no_call_with_a_wrong_token_shows_or_changes_a_shops_data(tmp_path: Path) -> None:
    async with open_remote(tmp_path) as market:
        mine, theirs = await fill_shop(market, "Mine"), await fill_shop(market, "Theirs")
        before = await facts_of(market, theirs)
        attempts = _attempts(mine, theirs)
        for attempt in attempts:
            answer = await _send(market, attempt)
            assert answer.status in attempt.statuses, (attempt.route.method, attempt.path, attempt.token, answer)
            # A value that the caller sent may be in the answer.
            text = answer.body.decode().replace(attempt.path, "")
            named = [secret for secret in theirs.secrets() if secret in text and secret not in attempt.path]
            assert named == [], (attempt.route.method, attempt.path)
        assert len(attempts) > 600
        assert await facts_of(market, theirs) == before


async def test_a_shops_lists_contain_nothing_of_another_shop(tmp_path: Path) -> None:
    async with open_remote(tmp_path) as market:
        mine, theirs = await fill_shop(market, "Mine"), await fill_shop(market, "Theirs")
        for route in ROUTES:
            if route.access is Access.MERCHANT and route.method == "GET" and "{" not in route.path:
                for query in ("", f"?code={theirs.open_code}&shop_id={theirs.shop.id}", "?per=100&page=1"):
                    path = route.path.removeprefix("/merchants/ecommerce")
                    answer = await mine.shop.call("GET", f"{path}{query}")
                    text = json.dumps(answer.json)
                    assert not [secret for secret in theirs.secrets() if secret in text], (path, query)


async def test_every_private_page_requires_the_right_session(tmp_path: Path) -> None:
    async with open_remote(tmp_path) as market:
        mine, theirs = await fill_shop(market, "Mine"), await fill_shop(market, "Theirs")
        anonymous, merchant, operator = Visitor(market), Visitor(market), Visitor(market)
        await merchant.sign_in(mine.shop.token)
        await operator.sign_in(OPERATOR_TOKEN)
        token = (await merchant.get("/shop/settings")).forms[0].values["form_token"]
        before = await facts_of(market, theirs)
        tried = 0
        for visitor, who in (
            (anonymous, (Who.SHOP, Who.OPERATOR)),
            (merchant, (Who.OPERATOR,)),
            (operator, (Who.SHOP,)),
        ):
            for page in (*pages_of(*who), *pages_of(*who, live=True), *pages_of(*who, method="POST")):
                for path in theirs.paths(page):
                    body = None if page.method == "GET" else f"form_token={token}".encode()
                    answer = await visitor.request(page.method, path, body, _FORM if body else None)
                    assert answer.status == 303, path
                    assert answer.headers["location"].startswith("/sign-in?then="), path
                    tried += 1
        for page in (*pages_of(Who.SHOP), *pages_of(Who.SHOP, live=True), *pages_of(Who.SHOP, method="POST")):
            if "{" not in page.path:
                continue
            for path in theirs.paths(page):
                body = None if page.method == "GET" else f"form_token={token}".encode()
                answer = await merchant.request(page.method, path, body, _FORM if body else None)
                assert answer.status in {400, 401, 404, 422}, path
                tried += 1
        assert tried > 150
        assert await facts_of(market, theirs) == before


async def test_anonymous_callers_cannot_open_update_streams(tmp_path: Path) -> None:
    async with open_remote(tmp_path) as market:
        world = await fill_shop(market, "First")
        anonymous = Visitor(market)
        for page in pages_of(Who.SHOP, Who.OPERATOR, live=True):
            for path in world.paths(page):
                for _ in range(40):
                    assert (await anonymous.request("GET", path)).status == 303
        websocket = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
        key = {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
        answer = await market.call("GET", f"/marketplace/shops/{world.shop.id}/listen", headers=websocket | key)
        assert answer.status == 401
