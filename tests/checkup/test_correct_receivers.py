"""A checkup has no false alarm on correct receivers of different styles. Each run has a marketplace of its own, and all
runs go on at the same time, because a run mostly waits."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from kalathi.marketplace.sandbox.checks import Claim
from kalathi.marketplace.sandbox.checkup_report import Report, Verdict
from kalathi.testing.server import run_server
from tests.checkup.correct.polling import PollingShop
from tests.checkup.correct.queueing import QueueingShop
from tests.checkup.correct.strict import StrictShop
from tests.checkup.model_shop import Client, ModelShop, wait_a_while
from tests.checkup.running_checkups import Setting, describe, run_checkup, run_checkup_of

PHP = Path(__file__).parent / "correct/shop.php"


def test_a_checkup_passes_on_correct_receivers_of_five_styles(tmp_path: Path) -> None:
    runs: dict[str, Callable[[], Report]] = {
        "synchronous": lambda: _run(ModelShop),
        "queueing": lambda: _run(QueueingShop),
        "polling": lambda: _run(PollingShop),
        "strict": lambda: _run(StrictShop),
    }
    if shutil.which("php"):
        runs["PHP"] = lambda: _run_php(tmp_path)
    with ThreadPoolExecutor(len(runs)) as threads:
        reports = dict(zip(runs, threads.map(lambda run: run(), runs.values()), strict=True))
    for style, report in reports.items():
        verdicts = {result.verdict for result in report.results}
        assert verdicts <= {Verdict.PASSED, Verdict.NOT_CLAIMED}, f"{style}: {describe(report)}"
        assert (Verdict.NOT_CLAIMED in verdicts) is (style == "PHP")
        assert report.exit_status == 0


def _run(make: Callable[[Client, dict[str, int]], ModelShop]) -> Report:
    with run_server() as server:
        return run_checkup(server, make, Setting(patience_seconds=10))


def _run_php(folder: Path) -> Report:
    @contextmanager
    def serve_php(client: Client, stock: dict[str, int]) -> Iterator[str]:
        (folder / "shop.json").write_text(json.dumps({"orders": {}, "stock": stock}), "utf-8")
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        variables = {"KALATHI_URL": client.url, "KALATHI_TOKEN": client.token, "SHOP_FOLDER": str(folder)}
        environment = {"PATH": os.environ["PATH"], "PHP_CLI_SERVER_WORKERS": "4", **variables}
        with (folder / "php.log").open("wb") as log:
            process = subprocess.Popen(["php", "-S", f"127.0.0.1:{port}", str(PHP)], env=environment, stderr=log)
            try:
                _wait_for(port)
                yield f"http://127.0.0.1:{port}"
            finally:
                process.terminate()
                process.wait(10)

    with run_server() as server:
        # It publishes no stock.
        claims = frozenset(Claim) - {Claim.PRODUCTS}
        return run_checkup_of(server, serve_php, Setting(patience_seconds=10, claims=claims))


def _wait_for(port: int) -> None:
    until = time.monotonic() + 10
    while time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        wait_a_while(0.02)
    raise TimeoutError(f"PHP does not listen on {port}.")
