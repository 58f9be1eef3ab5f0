"""`kalathi listen` against a real marketplace: delivered events, counted answers, and a clean end."""

import asyncio
import contextlib
import json
import os
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
import websockets
from aiohttp import web
from websockets.asyncio.client import connect

from kalathi.marketplace.listening.stream import Stream
from tests.databases import drop_postgres, fresh_postgres
from tests.e2e.forking import Forked, fork
from tests.e2e.processes import Caller, Process, calling, endpoint, kalathi, running, serve, start
from tests.e2e.raw_servers import raw_server
from tests.market import OPERATOR_TOKEN, until

pytestmark = pytest.mark.anyio

IN_PLACE, COPIES, BESIDE = "in place of the shop's URL", "copies for now: another", "beside the shop's URL"


class Listening:
    """A `kalathi listen` process."""

    def __init__(self, process: Forked) -> None:
        self.process = process

    async def next_webhook(self) -> dict[str, Any]:
        """The next webhook."""
        assert self.process.stdout is not None
        async with asyncio.timeout(20):
            found: dict[str, Any] = json.loads(await self.process.stdout.readline())
        return found

    async def wait_for_line(self, words: str) -> None:
        """Waits for a line on standard error that has these words."""
        assert self.process.stderr is not None
        async with asyncio.timeout(20):
            while line := (await self.process.stderr.readline()).decode():
                if words in line:
                    return
        raise AssertionError(words)

    async def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        await self.process.wait()


@asynccontextmanager
async def listen(market: Process, shop_id: str, *options: str, role: str = IN_PLACE) -> AsyncIterator[Listening]:
    """Starts the command and waits until it has this role."""
    to = ("--url", market.address, "--token", OPERATOR_TOKEN)
    process = await fork("listen", "--shop", shop_id, "--json", *to, *options, environment=dict(os.environ))
    listening = Listening(process)
    try:
        await listening.wait_for_line(role)
        yield listening
    finally:
        with contextlib.suppress(ProcessLookupError):  # It may have ended by itself.
            await listening.kill()


async def attempts(caller: Caller, code: str, event: int = 0) -> list[dict[str, Any]]:
    """The recorded attempts at an event of an order."""
    found: list[dict[str, Any]] = (await caller.operate("GET", f"/marketplace/orders/{code}"))["deliveries"][event][
        "attempts"
    ]
    return found


async def recorded(caller: Caller, code: str, count: int = 1) -> list[dict[str, Any]]:
    """The attempts at an order's first event, once there are so many."""
    async with asyncio.timeout(20):
        while len(found := await attempts(caller, code)) < count:
            await asyncio.sleep(0.02)
    return found


@pytest.mark.parametrize("status", [200, 500])
async def test_the_targets_answer_counts_and_the_shops_settings_stay(tmp_path: Path, status: int) -> None:
    async with endpoint() as shop, running(tmp_path, *serve(tmp_path)) as market, calling(market.address) as caller:
        shop_id, _ = await caller.shop(f"{shop.address}/own")
        await caller.operate("POST", f"/marketplace/shops/{shop_id}/signing_secret")
        before = await caller.operate("GET", f"/marketplace/shops/{shop_id}")
        shop.answers["/hook"] = lambda _: web.Response(status=status, text="the body")
        target = shop.address.removeprefix("http://") + "/hook"
        async with listen(market, shop_id, "--forward", target, "--header", "X-Key: k") as listening:
            code = await caller.cart(shop_id)
            heard = await listening.next_webhook()
            assert (heard["event_type"], heard["subject"], heard["status"]) == ("new_order", code, status)
            [request], [body] = shop.requests, shop.bodies
            assert request.path == "/hook"
            assert json.loads(body) == heard["webhook"]
            assert request.headers["User-Agent"] == "Skroutz OrderNotifier v1"
            assert request.headers["Content-Type"] == "application/json; charset=utf-8"
            assert request.headers["X-Key"] == "k"
            assert request.headers["webhook-signature"]
            [attempt] = await recorded(caller, code)
            assert (attempt["status"], attempt["answer"]) == (status, "the body")
            assert attempt["url"] == f"listener:{shop.address}/hook"
            assert await caller.operate("GET", f"/marketplace/shops/{shop_id}") == before
            if status != 200:
                await caller.operate("POST", "/marketplace/clock", {"advance_seconds": 60})
                assert (await listening.next_webhook())["attempt"] == 2
            listening.process.terminate()
            async with asyncio.timeout(20):
                assert await listening.process.wait() == 0
        assert await caller.operate("GET", f"/marketplace/shops/{shop_id}") == before


async def test_after_a_kill_the_shops_own_url_is_used_again(tmp_path: Path) -> None:
    async with endpoint() as shop, running(tmp_path, *serve(tmp_path)) as market, calling(market.address) as caller:
        shop_id, _ = await caller.shop(f"{shop.address}/own")
        async with listen(market, shop_id) as listening:
            await caller.cart(shop_id)
            await listening.next_webhook()
            assert not shop.requests
            await listening.kill()
            code = await caller.cart(shop_id)
            await until(lambda: ("new_order", "open") in shop.by_order[code])


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Iterator[tuple[str, ...]]:
    """The flags of one of the two databases."""
    if request.param == "sqlite":
        yield ()
        return
    url = fresh_postgres()
    yield ("--database", url)
    drop_postgres(url)


async def test_an_attempt_at_a_listener_that_disconnects_does_not_count(
    tmp_path: Path, database: tuple[str, ...]
) -> None:
    arguments = serve(tmp_path, *database)
    async with endpoint() as shop, running(tmp_path, *arguments) as market, calling(market.address) as caller:
        shop_id, _ = await caller.shop(f"{shop.address}/own")
        arrived, never = asyncio.Event(), asyncio.Event()

        async def hang(_: web.Request) -> web.Response:
            arrived.set()
            await never.wait()
            return web.Response()

        shop.answers["/hangs"] = hang
        async with listen(market, shop_id, "--forward", f"{shop.address}/hangs") as listening:
            code = await caller.cart(shop_id)
            await asyncio.wait_for(arrived.wait(), 20)
            await listening.kill()
            [attempt] = await recorded(caller, code)
        never.set()
        assert (attempt["number"], attempt["url"], attempt["status"]) == (1, f"{shop.address}/own", 200)


async def test_of_several_listeners_the_first_answers_and_the_next_takes_over(tmp_path: Path) -> None:
    async with endpoint() as shop, running(tmp_path, *serve(tmp_path)) as market, calling(market.address) as caller:
        shop_id, _ = await caller.shop(f"{shop.address}/own")
        shop.answers["/second"] = lambda _: web.Response(status=500)
        async with (
            listen(market, shop_id) as first,
            listen(market, shop_id, "--forward", f"{shop.address}/second", role=COPIES) as second,
            listen(market, shop_id, "--beside", role=BESIDE) as beside,
        ):
            code = await caller.cart(shop_id)
            assert not (await first.next_webhook())["is_copy"]
            for other, status in ((second, 500), (beside, None)):
                heard = await other.next_webhook()
                assert (heard["is_copy"], heard["subject"], heard["status"]) == (True, code, status)
            assert (await recorded(caller, code))[0]["status"] == 200
            await first.kill()
            await second.wait_for_line(IN_PLACE)
            code = await caller.cart(shop_id)
            assert not (await second.next_webhook())["is_copy"]
            assert (await recorded(caller, code))[0]["status"] == 500
        assert [request.path for request in shop.requests] == ["/second", "/second"]


async def test_beside_leaves_deliveries_to_the_shops_url_also_in_production(tmp_path: Path) -> None:
    mode = ("--mode", "production", "--public-url", "https://market.example", "--ip-ranges", "192.0.2.0/24")
    async with running(tmp_path, *serve(tmp_path, *mode)) as market, calling(market.address) as caller:
        shop_id, _ = await caller.shop("https://hooks.shop.example/own")
        async with listen(market, shop_id, "--beside", role=BESIDE) as listening:
            code = await caller.cart(shop_id)
            heard = await listening.next_webhook()
            assert (heard["subject"], heard["is_copy"], heard["status"]) == (code, True, None)
            [attempt] = await recorded(caller, code)
            assert attempt["url"] == "https://hooks.shop.example/own"
        status, _, error = await kalathi(
            "listen", "--shop", shop_id, "--url", market.address, "--token", OPERATOR_TOKEN
        )
        assert status == 1
        assert "--beside" in error


async def test_events_of_a_shop_without_a_url_are_delivered_to_a_listener(tmp_path: Path) -> None:
    async with running(tmp_path, *serve(tmp_path)) as market, calling(market.address) as caller:
        shop_id, _ = await caller.shop(None)
        async with listen(market, shop_id) as listening:
            to = ("--url", market.address, "--token", OPERATOR_TOKEN, "--shop", shop_id)
            status, _, error = await kalathi("trigger", "return_withdrawal", *to)
            assert status == 0, error
            heard = [await listening.next_webhook() for _ in range(8)]
            assert not any(entry["is_copy"] for entry in heard)
            of_return = [entry for entry in heard if entry["event_type"].startswith("merchant_return")]
            assert [entry["event_type"] for entry in of_return] == ["merchant_return_created"] + [
                "merchant_return_updated"
            ] * 2
        log = await caller.operate("GET", f"/marketplace/deliveries?shop_id={shop_id}")
        assert {(entry["state"], entry["status"]) for entry in log["deliveries"]} == {("delivered", 200)}
        assert len(log["deliveries"]) == 8
        await caller.cart(shop_id)
        log = await caller.operate("GET", f"/marketplace/deliveries?shop_id={shop_id}")
        assert log["deliveries"][0]["state"] == "not_sent"


async def test_a_listener_diverts_only_the_events_that_it_names(tmp_path: Path) -> None:
    async with endpoint() as shop, running(tmp_path, *serve(tmp_path)) as market, calling(market.address) as caller:
        shop_id, token = await caller.shop(f"{shop.address}/own")
        async with listen(market, shop_id, "--events", "order_updated") as listening:
            code = await caller.cart(shop_id)
            await until(lambda: ("new_order", "open") in shop.by_order[code])
            await caller.accept(token, code)
            assert (await listening.next_webhook())["event_type"] == "order_updated"
            assert [event for event, _ in shop.by_order[code]] == ["new_order"]
        # Without a URL, an event that no listener wants is not tried.
        other_id, token = await caller.shop(None)
        async with listen(market, other_id, "--events", "order_updated") as listening:
            code = await caller.cart(other_id)
            await caller.accept(token, code)
            assert (await listening.next_webhook())["event_type"] == "order_updated"
            log = await caller.operate("GET", f"/marketplace/deliveries?subject={code}&event_type=new_order")
            assert [(entry["state"], entry["attempts"]) for entry in log["deliveries"]] == [("not_sent", 0)]


async def test_a_failure_names_its_cause_and_only_failures_are_shown_on_request(tmp_path: Path) -> None:
    async with endpoint() as shop, running(tmp_path, *serve(tmp_path)) as market, calling(market.address) as caller:
        shop_id, _ = await caller.shop(None)
        answers = [200, 404]
        shop.answers["/hook"] = lambda _: web.Response(status=answers.pop(0))
        async with listen(market, shop_id, "--failed", "--forward", f"{shop.address}/hook") as listening:
            await recorded(caller, await caller.cart(shop_id))
            code = await caller.cart(shop_id)
            heard = await listening.next_webhook()
            assert (heard["subject"], heard["status"]) == (code, 404)
        async with listen(market, shop_id, "--forward", "localhost:9/hook") as listening:
            code = await caller.cart(shop_id)
            heard = await listening.next_webhook()
            assert (heard["status"], heard["error"]) == (None, "refused")
            assert "refused" in heard["explanation"]
            [attempt] = await recorded(caller, code)
            assert (attempt["status"], attempt["error"]) == (None, "refused")


async def test_a_redirect_of_the_target_is_followed_as_from_the_marketplace(tmp_path: Path) -> None:
    async with endpoint() as shop, running(tmp_path, *serve(tmp_path)) as market, calling(market.address) as caller:
        shop_id, _ = await caller.shop(None)
        shop.answers["/hook"] = lambda _: web.Response(status=302, headers={"Location": "/there"})
        async with listen(market, shop_id, "--forward", f"{shop.address}/hook") as listening:
            await caller.cart(shop_id)
            assert (await listening.next_webhook())["status"] == 200
        assert [(request.method, request.path) for request in shop.requests] == [("POST", "/hook"), ("POST", "/there")]


async def test_an_endless_answer_costs_no_memory_and_its_status_counts(tmp_path: Path) -> None:
    async with endpoint() as shop, running(tmp_path, *serve(tmp_path)) as market, calling(market.address) as caller:
        shop_id, _ = await caller.shop(None)

        async def endless(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            with contextlib.suppress(ConnectionError):  # The marketplace may close the connection first.
                while True:
                    await response.write(b"x" * 65_536)
            return response

        shop.answers["/hook"] = endless
        async with listen(market, shop_id, "--forward", f"{shop.address}/hook") as listening:
            code = await caller.cart(shop_id)
            assert (await listening.next_webhook())["status"] == 200
            assert (await recorded(caller, code))[0]["status"] == 200


async def test_a_self_signed_certificate_is_accepted_on_request_only(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("shop.example").configure_cert(context)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        writer.close()

    async with (
        raw_server(answer, tls=context) as target_port,
        running(tmp_path, *serve(tmp_path)) as market,
        calling(market.address) as caller,
    ):
        target = f"https://127.0.0.1:{target_port}/"
        shop_id, _ = await caller.shop(None)
        for options, outcome in ((("--insecure",), (200, "")), ((), (None, "certificate"))):
            async with listen(market, shop_id, "--forward", target, *options) as listening:
                await caller.cart(shop_id)
                heard = await listening.next_webhook()
                assert (heard["status"], heard["error"]) == outcome


async def test_a_listener_survives_a_restart_of_the_marketplace(tmp_path: Path) -> None:
    async with running(tmp_path, *serve(tmp_path)) as market, calling(market.address) as caller:
        shop_id, _ = await caller.shop(None)
        port = market.address.rsplit(":", 1)[1]
        async with listen(market, shop_id) as listening:
            assert await market.terminate() == 0
            await listening.wait_for_line("Connecting again")
            arguments = ("serve", "--port", port, "--data", str(tmp_path))
            async with running(tmp_path, *arguments):
                await listening.wait_for_line(IN_PLACE)
                code = await caller.cart(shop_id)
                assert (await listening.next_webhook())["subject"] == code


async def test_faults_of_the_sandbox_apply_to_listeners_too(tmp_path: Path) -> None:
    async with running(tmp_path, *serve(tmp_path)) as market, calling(market.address) as caller:
        shop_id, _ = await caller.shop(None)
        rule = {"on": "webhooks", "kind": "duplicate"}
        await caller.operate("PUT", "/marketplace/faults", {"seed": 1, "rules": [rule]})
        async with listen(market, shop_id) as listening:
            code = await caller.cart(shop_id)
            assert [(await listening.next_webhook())["subject"] for _ in range(2)] == [code, code]


REFUSED: list[tuple[tuple[str, ...], str]] = [
    (("--shop", "unknown"), "unknown"),
    (("--events", "new_ordr"), "merchant_return_created"),
    (("--token", "wrong"), "token"),
    (("--url", "127.0.0.1:8090"), "must begin with http"),
    (("--url", "http://127.0.0.1:9"), "kalathi serve"),
    (("--forward", "http://a..b/"), "must name a host"),
    (("--forward", "localhost:1", "--header", "X-Key"), "NAME:VALUE"),
    (("--header", "X-Key: 1"), "give --forward"),
    (("--forward", "localhost:1", "--header", "Host: x"), "already"),
]


async def test_a_refused_listener_prints_the_reason(tmp_path: Path) -> None:
    async with running(tmp_path, *serve(tmp_path)) as market, calling(market.address) as caller:
        shop_id, _ = await caller.shop(None)
        chosen = ["--shop", shop_id, "--url", market.address, "--token", OPERATOR_TOKEN]
        for options, sentence in REFUSED:
            status, out, error = await kalathi("listen", *chosen, *options)
            assert (status, out) == (1, "")
            assert error.startswith("kalathi: ")
            assert sentence in error
            assert len(error.splitlines()) == 1
        assert "handshake" not in market.log.read_text("utf-8")


async def test_a_stream_with_invalid_messages_is_closed_without_effect(tmp_path: Path) -> None:
    async with endpoint() as shop, running(tmp_path, *serve(tmp_path)) as market, calling(market.address) as caller:
        shop_id, _ = await caller.shop(f"{shop.address}/own")
        url = f"ws{market.address.removeprefix('http')}/marketplace/shops/{shop_id}/listen"
        headers = {"Authorization": f"Bearer {OPERATOR_TOKEN}"}
        for sent in ("{", '{"type":"answer","number":1,"status":99}', "x" * 100_000, b"bytes"):
            async with connect(url, additional_headers=headers, proxy=None) as stream:
                assert json.loads(await stream.recv())["answers_count"]
                await stream.send(sent)
                with pytest.raises(websockets.ConnectionClosed):
                    await asyncio.wait_for(stream.recv(), 20)
        for target in ("%00", "x" * 501, "%0a"):
            with pytest.raises(websockets.InvalidStatus, match="422"):
                await connect(f"{url}?target={target}", additional_headers=headers, proxy=None)
        async with connect(url, additional_headers=headers, proxy=None) as stream:
            await stream.recv()
            code = await caller.cart(shop_id)
            event = json.loads(await stream.recv())
            # An answer to another number is ignored, and so is an outcome that only the marketplace may set.
            await stream.send(json.dumps({"type": "answer", "number": 77, "status": 200}))
            await stream.send(json.dumps({"type": "answer", "number": event["number"], "error": "held_back"}))
            [attempt] = await recorded(caller, code)
            assert (attempt["error"], attempt["outcome"]) == ("unforeseen", "retry")
        assert await caller.status("/healthz") == 200
        assert "Traceback" not in market.log.read_text("utf-8")


async def test_a_stalled_listener_delays_neither_deliveries_nor_shutdown(tmp_path: Path) -> None:
    async with endpoint() as shop, running(tmp_path, *serve(tmp_path)) as market, calling(market.address) as caller:
        shop_id, _ = await caller.shop(f"{shop.address}/own")
        host, port = market.address.removeprefix("http://").split(":")
        stalled = socket.socket()
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        stalled.connect((host, int(port)))
        stalled.sendall(
            f"GET /marketplace/shops/{shop_id}/listen?beside=true HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {'A' * 22}==\r\n"
            f"Authorization: Bearer {OPERATOR_TOKEN}\r\n\r\n".encode()
        )
        async with listen(market, shop_id, "--beside", role=BESIDE) as reading:
            count = 90

            async def read() -> set[str]:
                return {(await reading.next_webhook())["subject"] for _ in range(count)}

            # At the same time: a long-running command does not wait for a stalled reader.
            subjects = asyncio.create_task(read())
            for _ in range(count):
                await caller.operate("POST", "/marketplace/scenarios/hundred_lines", {"shop_id": shop_id, "set": {}})
            assert len(await subjects) == count
            async with listen(market, shop_id):
                code = await caller.cart(shop_id)
                assert (await recorded(caller, code))[0]["url"] == "listener:"
        assert await market.terminate() == 0
        stalled.close()


def test_a_stream_with_too_many_queued_bytes_is_closed() -> None:
    stream = Stream(event_types=frozenset(), is_beside=True, target="", timeout_seconds=1, user_agent="x")
    for number in range(20):
        stream.copy("new_order", "o1", number, b"x" * 1_000_000)
        assert stream.ended.is_set() is (number >= 8)


async def test_listeners_work_across_two_processes(tmp_path: Path) -> None:
    url = fresh_postgres()
    arguments = ("--database", url, "--public-url", "http://127.0.0.1:8090")
    async with endpoint() as shop, running(tmp_path / "a", *serve(tmp_path / "a", "--no-worker", *arguments)) as market:
        worker = await start(tmp_path / "b", *serve(tmp_path / "b", *arguments))
        try:
            async with calling(market.address) as caller:
                shop_id, _ = await caller.shop(f"{shop.address}/own")
                code = await caller.cart(shop_id)
                await until(lambda: ("new_order", "open") in shop.by_order[code])
                async with listen(market, shop_id) as first, listen(worker, shop_id, role=COPIES) as second:
                    code = await caller.cart(shop_id)
                    assert not (await first.next_webhook())["is_copy"]
                    assert (await second.next_webhook())["is_copy"]
                    assert (await recorded(caller, code))[0]["url"] == "listener:"
                    await first.kill()
                    await second.wait_for_line(IN_PLACE)
                    code = await caller.cart(shop_id)
                    assert not (await second.next_webhook())["is_copy"]
                code = await caller.cart(shop_id)
                await until(lambda: ("new_order", "open") in shop.by_order[code])
        finally:
            await worker.kill()
    drop_postgres(url)
