"""Tests for integrators: the pytest plugin in separate suites, and `Kalathi` without pytest."""

import asyncio
import functools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import niquests
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from kalathi.testing import AsyncKalathi, Kalathi, OperatorError, ServerFailedError
from kalathi.testing.receivers import is_asgi, start_receiver
from kalathi.testing.server import run_server

EXAMPLE = Path(__file__).parents[2] / "examples" / "fastapi_shop"

HEAD = """\
import niquests
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route


def make_app(status):
    async def hook(request):
        return PlainTextResponse("answer", status)

    return Starlette(routes=[Route("/hook", hook, methods=["POST"])])

"""


def run_suite(folder: Path, *options: str, seconds: float = 120) -> str:
    """Run pytest on a folder in a separate process, as an integrator does. Return its output."""
    # The settings of this project's own tests must not reach the suite.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "KALATHI"))}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:randomly",
        *options,
        str(folder),
    ]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=seconds, check=False
    )
    return done.stdout + done.stderr


def write_suite(folder: Path, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "test_suite.py").write_text(HEAD + text, "utf-8")
    return folder


def make_app(status: int = 200) -> Starlette:
    async def hook(_request: Request) -> PlainTextResponse:
        return PlainTextResponse("answer", status)

    return Starlette(routes=[Route("/hook", hook, methods=["POST"])])


@pytest.mark.parametrize("options", [(), ("-n", "2")])
def test_the_sample_integration_passes_its_own_tests(options: tuple[str, ...]) -> None:
    assert "5 passed" in run_suite(EXAMPLE, *options)


def test_a_failed_test_prints_the_calls_and_webhooks_of_its_shop_with_curl_lines(tmp_path: Path) -> None:
    suite = write_suite(
        tmp_path / "suite",
        """
def test_fails(kalathi):
    kalathi.webhooks_to(make_app(200), "/hook")
    order = kalathi.play("new_order").order
    headers = {"Authorization": f"Bearer {kalathi.token}", "Accept": "application/vnd.skroutz+json; version=3.0"}
    path = f"/merchants/ecommerce/orders/{order.code}/accept"
    niquests.post(kalathi.url + path, json={"pickup_window": 7}, headers=headers)
    niquests.get(kalathi.url + "/merchants/ecommerce/orders", headers={"Authorization": "Bearer unknown"})
    kalathi.deliveries.wait(1, order=order)
    order.wait_for("accepted", seconds=0.1)
""",
    )
    printed = run_suite(suite)
    assert "1 failed" in printed
    assert "AssertionError: After 0.1 s order" in printed
    section = printed.partition("Kalathi -----")[2]
    assert "webhook  new_order" in section
    assert "call     POST accept" in section
    assert "422 invalid_parameter" in section
    assert "pickup_window: 7 is not valid" in section
    assert "curl -i -X POST http://127.0.0.1:" in section
    assert "401 unknown token" in section


def test_a_webhook_that_is_not_answered_with_200_fails_the_test_at_its_end(tmp_path: Path) -> None:
    suite = write_suite(
        tmp_path / "suite",
        """
def test_answers_201(kalathi):
    kalathi.webhooks_to(make_app(201), "/hook")
    kalathi.play("new_order")

def test_expects_it(kalathi):
    kalathi.webhooks_to(make_app(500), "/hook")
    kalathi.expect_failed_webhooks()
    kalathi.play("new_order")

def test_of_a_fault(kalathi):
    kalathi.webhooks_to(make_app(200), "/hook")
    kalathi.faults.add("webhooks", "timeout", seconds=0.1)
    kalathi.play("new_order")
    kalathi.deliveries.wait(1, state="pending")
""",
    )
    printed = run_suite(suite)
    assert "3 passed, 1 error" in printed
    assert "was answered with 201 by http://127.0.0.1:" in printed
    assert "call expect_failed_webhooks()" in printed


def test_many_tests_with_a_shop_each_do_not_disturb_each_other(tmp_path: Path) -> None:
    # `benchmarks/run.py suite` measures 500 of them.
    suite = write_suite(
        tmp_path / "suite",
        """
@pytest.mark.parametrize("number", range(100))
def test_of_a_shop(kalathi, number):
    assert kalathi.deliveries.list() == [] and kalathi.requests.list() == []
    kalathi.webhooks_to(make_app(200), "/hook")
    order = kalathi.play("new_order").order
    (delivered,) = kalathi.deliveries.wait(1, order=order)
    assert delivered["shop_id"] == kalathi.shop.id
""",
    )
    assert "100 passed" in run_suite(suite)


def test_a_failed_setup_prints_the_calls_and_webhooks_too(tmp_path: Path) -> None:
    suite = write_suite(
        tmp_path / "suite",
        """
@pytest.fixture
def accepted(request):
    kalathi = request.getfixturevalue("kalathi")
    kalathi.play("new_order").order.wait_for("accepted", seconds=0.1)

def test_of_an_accepted_order(accepted):
    pass
""",
    )
    printed = run_suite(suite)
    assert "1 error" in printed
    assert "webhook  new_order" in printed.partition("Kalathi -----")[2]


def test_webhooks_that_failed_are_found_after_a_retry_a_reset_and_a_long_time(
    kalathi: Kalathi, kalathi_server: Any
) -> None:
    statuses = [500, 200]

    async def hook(_request: Request) -> PlainTextResponse:
        return PlainTextResponse("answer", statuses.pop(0) if statuses else 200)

    app = Starlette(routes=[Route("/hook", hook, methods=["POST"])])
    for resets in (False, True):
        statuses[:] = [500, 200]
        with (
            pytest.raises(AssertionError, match="was answered with 500"),
            Kalathi.connect(kalathi_server.url, kalathi_server.operator_token) as other,
        ):
            other.webhooks_to(app, "/hook")
            other.play("new_order")
            other.deliveries.wait(1, state="pending")
            if resets:
                other.reset()
            else:
                other.clock.advance(minutes=2)
                other.deliveries.wait(1)
    assert kalathi.deliveries.list() == []


def test_more_than_a_page_of_calls_is_waited_for_and_listed(kalathi: Kalathi) -> None:
    headers = {"Authorization": f"Bearer {kalathi.token}", "Accept": "application/vnd.skroutz+json; version=3.0"}
    with niquests.Session() as session:
        for number in range(105):
            session.get(f"{kalathi.url}/merchants/ecommerce/orders?page={number + 1}", headers=headers)
    found = kalathi.requests.wait("list", 105)
    assert [entry["path"].rpartition("=")[2] for entry in found] == [str(number + 1) for number in range(105)]
    with pytest.raises(AssertionError, match="there are 105 calls with call list, not 106"):
        kalathi.requests.wait("list", 106, seconds=0.1)


def test_a_refused_fault_does_not_stay(kalathi: Kalathi) -> None:
    with pytest.raises(OperatorError):
        kalathi.faults.add("webhooks", "no_such_kind")
    kalathi.faults.add("webhooks", "duplicate")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_suite_that_is_killed_leaves_no_marketplace_and_no_data(tmp_path: Path, number: int) -> None:
    suite = write_suite(
        tmp_path / "suite",
        """
def test_that_hangs(kalathi):
    import pathlib, threading
    data = next(path for path in pathlib.Path("/proc").glob("[0-9]*/cmdline") if path.parent.name != "self"
                and kalathi.url.rpartition(":")[2] and b"--ephemeral" in path.read_bytes()
                and path.parent.joinpath("stat").read_text().split()[3] == str(__import__("os").getpid()))
    arguments = data.read_bytes().split(b"\\0")
    print(data.parent.name, arguments[arguments.index(b"--data") + 1].decode(), flush=True)
    threading.Event().wait()
""",
    )
    command = [sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", str(suite)]
    process = subprocess.Popen(command, cwd=suite, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    pid, folder = process.stdout.readline().split()
    assert Path(folder, "kalathi.db").exists()
    process.send_signal(number)
    process.wait(30)
    process.stdout.close()
    deadline = time.monotonic() + 20
    while Path("/proc", pid).exists() or Path(folder).exists():
        assert time.monotonic() < deadline
        os.sched_yield()


def test_a_receiver_of_each_kind_ends_at_once() -> None:
    async def plain(scope: Any, receive: Any, send: Any) -> None:
        await make_app()(scope, receive, send)

    def wrapped(scope: Any, receive: Any, send: Any) -> Any:
        return make_app()(scope, receive, send)

    for application in (make_app(), plain, wrapped, functools.partial(plain), wsgi_app):
        receiver = start_receiver(application)
        answer = niquests.post(f"{receiver.url}/hook", data=b"{}")
        begun = time.monotonic()
        receiver.stop()
        assert time.monotonic() - begun < 0.3
        assert answer.status_code == 200


def test_a_suite_can_ask_for_a_rough_marketplace(tmp_path: Path) -> None:
    suite = write_suite(
        tmp_path / "suite",
        """
def test_rough(kalathi):
    assert kalathi.caller.call("GET", "/marketplace/faults")["rough"]
""",
    )
    assert "1 passed" in run_suite(suite, "--kalathi-rough")


def test_a_suite_can_use_a_running_marketplace(tmp_path: Path) -> None:
    suite = write_suite(
        tmp_path / "suite",
        """
def test_of_a_running_marketplace(kalathi, kalathi_server):
    assert kalathi.url == kalathi_server.url
    print(kalathi.url)
""",
    )
    with run_server() as server:
        environment = os.environ | {"KALATHI_OPERATOR_TOKEN": server.operator_token, "KALATHI_URL": server.url}
        command = [sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", str(suite)]
        done = subprocess.run(
            command, cwd=suite, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert "1 passed" in done.stdout, done.stdout + done.stderr
        assert server.url in done.stdout


def test_a_project_that_does_not_use_the_plugin_loads_nothing_of_kalathi() -> None:
    program = "import sys, kalathi.pytest_plugin; print([name for name in sys.modules if name.startswith('kalathi')])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "['kalathi', 'kalathi.pytest_plugin']"


def test_kalathi_works_without_pytest() -> None:
    with Kalathi.start() as kalathi:
        kalathi.webhooks_to(make_app(), "/hook")
        order = kalathi.play("accept").order
        order.wait_for("accepted")
        before = kalathi.clock.now()
        assert (kalathi.clock.advance(hours=25) - before).total_seconds() >= 25 * 3600
        assert kalathi.deliveries.wait(1, order=order)[0]["event_type"] == "new_order"
        assert "webhook  new_order" in kalathi.report()
        kalathi.reset()
        assert kalathi.deliveries.list() == []
        with pytest.raises(OperatorError, match="There is no scenario of this name"):
            kalathi.play("no_such_scenario")


@pytest.mark.anyio
async def test_async_kalathi_has_the_same_calls() -> None:
    async with AsyncKalathi.start() as kalathi:
        await kalathi.webhooks_to(make_app(), "/hook")
        await kalathi.add_listing("A", quantity=5)
        order = await kalathi.place({"A": 2})
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.01)  # Count turns of the event loop.
                ticks += 1

        ticking = asyncio.create_task(tick())
        with pytest.raises(AssertionError, match="is open, not accepted"):
            await order.wait_for("accepted", seconds=0.3)
        ticking.cancel()
        # The event loop was not blocked meanwhile.
        assert ticks > 5
        location, window = kalathi.shop.location_id, (await order.show())["order"]["accept_options"]["pickup_window"]
        await order.run_as_shop("accept", pickup_location=location, pickup_window=window[0]["id"], number_of_parcels=1)
        await order.wait_for("accepted")


def test_the_faults_of_one_shop_do_not_reach_another(kalathi: Kalathi, kalathi_server: Any) -> None:
    kalathi.expect_failed_webhooks()
    with Kalathi.connect(kalathi_server.url, kalathi_server.operator_token) as other:
        kalathi.faults.add("webhooks", "error", status=502)
        for one in (kalathi, other):
            one.webhooks_to(make_app(), "/hook")
        other.play("new_order")
        (delivered,) = other.deliveries.wait(1)
        assert delivered["attempts"] == 1
        kalathi.play("new_order")
        (failed,) = kalathi.deliveries.wait(1, state="pending")
        assert failed["shop_id"] == kalathi.shop.id


def wsgi_app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"taken"]


def test_webhooks_reach_a_wsgi_application(kalathi: Kalathi) -> None:
    assert not is_asgi(wsgi_app)
    assert is_asgi(make_app())
    kalathi.webhooks_to(wsgi_app, "/hook", returns_path="/returns")
    kalathi.play("return_withdrawal")
    assert {entry["status"] for entry in kalathi.deliveries.wait(3)} == {200}


def test_an_application_that_does_not_start_is_reported() -> None:
    async def broken(scope: Any, _receive: Any, send: Any) -> None:
        assert scope["type"] == "lifespan"
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    with pytest.raises(RuntimeError, match="did not start"):
        start_receiver(broken)


def test_a_marketplace_that_does_not_start_says_why() -> None:
    with pytest.raises(ServerFailedError, match="no-such-option"), run_server(["--no-such-option"]):
        pass


def test_a_killed_marketplace_does_not_hide_the_failure_of_a_test() -> None:
    with run_server() as server:
        connecting = Kalathi.connect(server.url, server.operator_token)
        kalathi = connecting.__enter__()
    assert "cannot be shown" in kalathi.report()
    kalathi.caller.close()
