"""Update streams: their events, their recipients, and their end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from kalathi.marketplace.panel.page_table import PAGES
from tests.market import Market, until
from tests.panel.visitor import Place, Visitor, open_place

pytestmark = pytest.mark.anyio


class Follower:
    """A browser that keeps a stream open."""

    def __init__(self) -> None:
        self.status = 0
        self.text = ""
        self.ended = False
        self.gone = asyncio.Event()

    @property
    def news(self) -> list[str]:
        """The ids of the received events."""
        return [line.removeprefix("data: ") for line in self.text.splitlines() if line.startswith("data: ")]


@asynccontextmanager
async def following(market: Market, visitor: Visitor, path: str) -> AsyncIterator[Follower]:
    """The stream of a path, until the browser goes away."""
    follower = Follower()
    cookies = "; ".join(f"{name}={value}" for name, value in visitor.cookies.items())
    name, _, query = path.partition("?")
    scope: dict[str, Any] = {
        "type": "http",
        "method": "GET",
        "path": name,
        "raw_path": name.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "scheme": "http",
        "server": ("market", 80),
        "client": ("test", 1),
        "http_version": "1.1",
        "headers": [(b"cookie", cookies.encode()), (b"host", b"market"), (b"accept", b"text/event-stream")],
    }

    async def receive() -> dict[str, Any]:
        await follower.gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        follower.status = message.get("status", follower.status)
        follower.text += message.get("body", b"").decode()

    async def run() -> None:
        await market.marketplace.asgi(scope, receive, send)
        follower.ended = True

    task = asyncio.create_task(run())
    try:
        await until(lambda: follower.text.startswith("retry:") or follower.ended)
        yield follower
    finally:
        follower.gone.set()
        await asyncio.wait_for(task, 20)


async def _seen(place: Place, visitor: Visitor, path: str) -> str:
    page = await visitor.get(path)
    [attributes] = [given for tag, given in page.tags if tag == "body"]
    live, seen = attributes["data-live"], attributes["data-seen"]
    assert live is not None
    return f"{live}?seen={seen}"


async def test_the_list_gets_updates_of_its_own_shop_only(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        other = await place.market.shop("Other")
        path = await _seen(place, place.merchant, "/shop/orders")
        async with following(place.market, place.merchant, path) as follower:
            assert follower.status == 200
            await other.cart(A=1)
            await place.shop.cart(A=1)
            await until(lambda: len(follower.news) == 1)
            page = await place.merchant.get("/shop/orders")
            [attributes] = [given for tag, given in page.tags if tag == "body"]
            assert follower.news == [attributes["data-seen"]]


async def test_a_change_between_page_and_stream_is_not_missed(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        code = await place.shop.cart(A=1)
        paths = [
            await _seen(place, place.merchant, "/shop/orders"),
            await _seen(place, place.merchant, f"/shop/orders/{code}"),
            await _seen(place, place.operator, "/operator/deliveries"),
            await _seen(place, place.operator, "/"),
        ]
        await place.shop.accept(code)
        for path in paths:
            visitor = place.merchant if path.startswith("/shop") else place.operator
            async with following(place.market, visitor, path) as follower:
                await until(lambda follower=follower: len(follower.news) == 1)  # type: ignore[misc]  # Of a lambda with a default.


async def test_a_page_that_is_up_to_date_gets_no_update(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        code = await place.shop.accepted()
        for visitor, path in ((place.merchant, f"/shop/orders/{code}"), (place.operator, "/operator/sandbox")):
            async with following(place.market, visitor, await _seen(place, visitor, path)) as follower:
                await until(lambda follower=follower: "still here" in follower.text)  # type: ignore[misc]  # Of a lambda with a default.
                assert follower.news == []


async def test_streams_end_when_the_process_does(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place, following(place.market, place.merchant, "/shop/orders/live") as follower:
        assert not follower.ended
        place.market.marketplace.hang_up()
        await until(lambda: follower.ended)


@pytest.mark.parametrize("path", [page.path for page in PAGES if "/live" in page.path])
async def test_every_stream_without_a_session_tells_the_page_to_reload_and_ends(tmp_path: Path, path: str) -> None:
    async with open_place(tmp_path) as place:
        filled = path.format(code="SS0000000000", place="orders")
        async with following(place.market, Visitor(place.market), filled) as follower:
            assert (follower.status, follower.ended, follower.news) == (200, True, ["ended"])


async def test_one_shop_cannot_use_up_the_streams_with_several_sessions(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        colleague = Visitor(place.market)
        await colleague.sign_in(place.shop.token)
        people = (place.merchant, colleague) * 16
        open_streams = [following(place.market, visitor, "/shop/orders/live") for visitor in people]
        for stream in open_streams:
            await stream.__aenter__()
        async with following(place.market, place.merchant, "/shop/orders/live") as refused:
            assert (refused.status, refused.ended) == (429, True)
        async with following(place.market, place.operator, "/operator/live/orders") as other:
            assert other.status == 200
        for stream in open_streams:
            await stream.__aexit__(None, None, None)
        async with following(place.market, place.merchant, "/shop/orders/live") as again:
            assert again.status == 200


async def test_shops_cannot_use_up_the_operators_streams(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place, AsyncExitStack() as stack:
        people = [place.merchant]
        for _ in range(7):
            people.append(Visitor(place.market))
            await people[-1].sign_in((await place.market.shop()).token)
        for visitor in people[:-1] * 32:
            stream = await stack.enter_async_context(following(place.market, visitor, "/shop/orders/live"))
            assert stream.status == 200
        assert (await stack.enter_async_context(following(place.market, people[-1], "/shop/orders/live"))).status == 429
        operators = following(place.market, place.operator, "/operator/live/orders")
        assert (await stack.enter_async_context(operators)).status == 200


async def test_order_and_return_pages_get_updates_of_all_their_content(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        code = await place.shop.accepted()
        for step in ("hand_over", "deliver"):
            await place.market.operate("POST", f"/marketplace/orders/{code}/{step}")
        line = (await place.shop.show(code))["line_items"][0]["id"]
        asked = {"line_items": [{"id": line, "quantity": 1, "reason": "faulty"}]}
        answer = await place.market.operate("POST", f"/marketplace/orders/{code}/returns", asked, status=201)
        returned = answer["return"]["return_code"]
        await place.market.settle()
        pages = [
            (visitor, f"{room}/{name}/{subject}")
            for visitor, room in ((place.merchant, "/shop"), (place.operator, "/operator"))
            for name, subject in (("orders", code), ("returns", returned))
        ]

        async def marks() -> list[str]:
            return [await _seen(place, visitor, path) for visitor, path in pages]

        before = await marks()
        assert await marks() == before
        await place.shop.upload(code, "credit_invoices", "credit_invoice_file", b"%PDF-1.7\n1 0 obj\n")
        uploaded = await marks()
        assert [one != other for one, other in zip(before, uploaded, strict=True)] == [True, False, True, False]
        await place.market.operate("POST", f"/marketplace/returns/{returned}/cancel")
        cancelled = await marks()
        assert all(one != other for one, other in zip(uploaded, cancelled, strict=True))
        for (visitor, _), path in zip(pages, uploaded, strict=True):
            async with following(place.market, visitor, path) as follower:
                await until(lambda follower=follower: len(follower.news) == 1)  # type: ignore[misc]  # Of a lambda with a default.


async def test_a_new_note_is_announced_at_once(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        code = await place.shop.cart(A=1)
        path = f"/shop/orders/{code}"
        # The attempt at the webhook is a change too.
        await place.market.settle()
        page = await place.merchant.get(path)
        async with following(place.market, place.merchant, await _seen(place, place.merchant, path)) as follower:
            await until(lambda: "still here" in follower.text)
            # A ping, which looks for changes too, comes only after 20 s.
            async with asyncio.timeout(10):
                await place.merchant.submit(page, f"{path}/note", {"new_note": "Κάλεσα"})
                await until(lambda: "changed" in follower.text)
