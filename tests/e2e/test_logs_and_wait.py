"""`kalathi logs` and `kalathi wait` against a real marketplace, and a request log that survives a killed process."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import niquests

from kalathi.cli.logs import _Printed
from kalathi.testing import Kalathi, Server
from kalathi.testing.server import run_server
from tests.databases import drop_postgres, fresh_postgres

ACCEPT = "application/vnd.skroutz+json; version=3.0"


def run_command(server: Server, *arguments: str, seconds: float = 30) -> subprocess.CompletedProcess[str]:
    """Run a command of the marketplace's operator."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KALATHI")}
    environment |= {"KALATHI_URL": server.url, "KALATHI_OPERATOR_TOKEN": server.operator_token}
    command = [sys.executable, "-m", "kalathi.cli", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=seconds, check=False)


def call(kalathi: Kalathi, method: str, path: str, body: object = None, token: str | None = None) -> int:
    """Make a call as the shop's own client does, and return its status."""
    headers = {"Authorization": f"Bearer {token or kalathi.token}", "Accept": ACCEPT}
    answer = niquests.request(method, f"{kalathi.url}/merchants/ecommerce{path}", json=body, headers=headers)
    return int(answer.status_code or 0)


def test_logs_print_a_refused_call_with_the_reason(kalathi: Kalathi, kalathi_server: Server) -> None:
    order = kalathi.play("new_order").order
    assert call(kalathi, "POST", f"/orders/{order.code}/accept", {"pickup_window": 7}) == 422
    assert call(kalathi, "GET", f"/orders/{order.code}") == 200
    printed = run_command(kalathi_server, "logs", order.code).stdout.splitlines()
    assert f"POST  /merchants/ecommerce/orders/{order.code}/accept  422 invalid_parameter" in printed[0]
    assert kalathi.shop.id in printed[0]
    assert "pickup_window: 7 is not valid" in printed[1]
    assert "200" in printed[2]
    assert "\x1b" not in "".join(printed)
    refused = run_command(kalathi_server, "logs", "--shop", kalathi.shop.id, "--status", "4xx", "--json").stdout
    (entry,) = [json.loads(line) for line in refused.splitlines()]
    assert (entry["status"], entry["call"], entry["body"]) == (422, "accept", '{"pickup_window": 7}')
    assert entry["path"].endswith("/accept")
    with_bodies = run_command(kalathi_server, "logs", order.code, "--bodies").stdout
    assert '    > {"pickup_window": 7}' in with_bodies


def test_logs_follow_new_calls_until_the_command_is_ended(kalathi: Kalathi, kalathi_server: Server) -> None:
    command = [sys.executable, "-m", "kalathi.cli", "logs", "--follow", "--json", "--shop", kalathi.shop.id]
    command += ["--url", kalathi_server.url]
    environment = os.environ | {"KALATHI_OPERATOR_TOKEN": kalathi_server.operator_token}
    call(kalathi, "GET", "/orders")
    following = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert following.stdout is not None
    try:
        assert json.loads(following.stdout.readline())["call"] == "list"
        for path in ("/returns", "/fbs/products", "/orders/261130-0000000"):
            call(kalathi, "GET", path)
        seen = [json.loads(following.stdout.readline())["call"] for _ in range(3)]
        assert seen == ["list_returns", "list_products", "show"]
    finally:
        following.send_signal(signal.SIGINT)
        assert following.wait(10) == 0
        following.stdout.close()


def test_following_prints_each_call_once_although_readings_overlap() -> None:
    printed = _Printed()
    assert printed.find_cursor() == (None, 0)

    def make(number: int, seconds: float) -> dict[str, str]:
        return {"id": f"run-{number}", "real_at": f"2026-11-30T00:00:{seconds:06.3f}+00:00"}

    first = [make(1, 1), make(2, 4), make(3, 5)]
    assert printed.select_new(first) == first
    # The next reading begins more than two seconds before the last call.
    assert printed.find_cursor() == ("run-1", 2)
    late = make(4, 4.5)
    assert printed.select_new([first[1], late, first[2]]) == [late]


def test_wait_returns_when_the_state_is_reached(kalathi: Kalathi, kalathi_server: Server) -> None:
    order = kalathi.play("new_order").order
    assert run_command(kalathi_server, "wait", "ready").stdout == "The marketplace is ready.\n"
    assert "open" in run_command(kalathi_server, "wait", "order", order.code, "--state", "open,accepted").stdout
    printed = run_command(kalathi_server, "wait", "deliveries", order.code)
    assert printed.stdout == f"new_order  {order.code}  not_sent\n"
    listed = run_command(kalathi_server, "wait", "orders", "--shop", kalathi.shop.id, "--state", "open")
    assert listed.stdout == f"{order.code}\n"
    call(kalathi, "GET", f"/orders/{order.code}")
    assert "200" in run_command(kalathi_server, "wait", "call", "show", "--order", order.code).stdout


def test_wait_ends_with_status_1_and_says_how_it_is(kalathi: Kalathi, kalathi_server: Server) -> None:
    order = kalathi.play("new_order").order
    late = run_command(kalathi_server, "wait", "order", order.code, "--state", "accepted", "--seconds", "0.2")
    assert (late.returncode, late.stderr) == (1, f"kalathi: after 0.2 s order {order.code} is open, not accepted.\n")
    late = run_command(kalathi_server, "wait", "call", "accept", "--order", order.code, "--seconds", "0.2", "--json")
    assert late.returncode == 1
    assert json.loads(late.stderr)["errors"][0] == {
        "code": "not_in_time",
        "messages": ["after 0.2 s there are 0 calls to accept, not 1."],
    }
    # A call that can never succeed does not wait.
    begun = time.monotonic()
    wrong = run_command(kalathi_server, "wait", "order", "261130-0000000", "--state", "accepted")
    assert wrong.returncode == 1
    for words in (["orders"], ["deliveries"], ["call", "accept"]):
        wrong = run_command(kalathi_server, "wait", *words, "--shop", "nope", "--json")
        assert (wrong.returncode, json.loads(wrong.stderr)["errors"][0]["code"]) == (1, "not_found"), words
    assert time.monotonic() - begun < 10


def test_wait_ready_waits_for_a_marketplace_that_is_not_started_yet(tmp_path: Path) -> None:
    data = tmp_path / "data"
    command = [sys.executable, "-m", "kalathi.cli", "wait", "ready", "--data", str(data)]
    waiting = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    serve = [sys.executable, "-m", "kalathi.cli", "serve", "--port", "0", "--data", str(data)]
    serving = subprocess.Popen(serve, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        assert waiting.communicate(timeout=30)[0] == "The marketplace is ready.\n"
        assert waiting.returncode == 0
    finally:
        serving.terminate()
        serving.wait()


def test_readyz_waits_too(kalathi_server: Server) -> None:
    answer = niquests.get(f"{kalathi_server.url}/readyz?wait=30")
    assert answer.json() == {"database": "ok", "migrations": "ok", "worker": "ok"}


def read_server(process: "subprocess.Popen[str]", data: Path) -> Server:
    """Return the address and the token of a marketplace that starts."""
    assert process.stdout is not None
    url = process.stdout.readline().split()[-1]
    process.stdout.close()
    return Server(url, (data / "operator-token").read_text("utf-8").strip())


def test_every_answered_call_is_in_the_log_after_the_process_was_killed(tmp_path: Path) -> None:
    serve = [sys.executable, "-m", "kalathi.cli", "serve", "--port", "0", "--data", str(tmp_path)]
    process = subprocess.Popen(serve, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    server = read_server(process, tmp_path)
    ids = []
    with Kalathi.connect(*server) as kalathi, niquests.Session() as session:
        shop = kalathi.shop
        headers = {"Authorization": f"Bearer {shop.token}", "Accept": ACCEPT}
        for number in range(300):
            answer = session.get(f"{server.url}/merchants/ecommerce/orders?page={number + 1}", headers=headers)
            ids.append(answer.headers["Request-Id"])
    process.kill()
    process.wait()
    # A half frame, as a full disk or a power failure leaves it, does not hide the calls before it.
    with next((tmp_path / "requests").glob("*.calls")).open("ab") as file:
        file.write(b"\x00\x00\x01\x00half")
    process = subprocess.Popen(serve, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        with Kalathi.connect(*read_server(process, tmp_path), shop=shop) as kalathi:
            assert call(kalathi, "GET", "/returns") == 200
            pages = [kalathi.requests.list(page=page, per=100) for page in (4, 3, 2, 1)]
            found = [entry for page in pages for entry in page]
            assert [entry["id"] for entry in found[:300]] == ids
            assert found[300]["call"] == "list_returns"
    finally:
        process.terminate()
        process.wait()


def test_the_log_has_the_calls_of_every_process_of_one_database() -> None:
    database = fresh_postgres()
    try:
        with run_server(["--database", database, "--processes", "2"]) as server, Kalathi.connect(*server) as kalathi:
            # Each call opens a new connection, so both processes get some.
            for number in range(40):
                assert call(kalathi, "GET", f"/orders?page={number + 1}") == 200
            ids = [entry["id"] for entry in kalathi.requests.wait("list", 40)]
            assert len(ids) == 40
            assert len({name.partition("-")[0] for name in ids}) == 2
            for name in ids:
                assert kalathi.caller.call("GET", f"/marketplace/requests/{name}")["request"]["id"] == name
    finally:
        drop_postgres(database)
