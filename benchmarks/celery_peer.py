"""Measure Celery with Redis and requests, posting to our receiver. pip installs it into a temporary environment."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

PACKAGES = ("celery[redis]==5.7.0", "requests==2.34.2")
# Two processes a core: more of them were slower, and so was one; threads and gevent were slower still.
CONCURRENCY = 4
_PATIENCE_SECONDS = 60.0


def install(folder: Path) -> str | None:
    """Create the environment. Return None, or the reason if this is impossible on this machine."""
    if shutil.which("redis-server") is None:
        return "redis-server is not on this machine, so Celery is not measured; install Redis to see it."
    print("  pip installs Celery into a temporary folder (some seconds)", flush=True)
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    command = [str(folder / "bin" / "pip"), "--disable-pip-version-check", "-q", "install", *PACKAGES]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return f"pip could not install Celery, so it is not measured: {done.stderr.strip()[-300:]}"
    return None


@contextmanager
def redis(folder: Path) -> Iterator[str]:
    """Run a Redis that writes each change to its file within a second. Yield its URL."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""]
    process = subprocess.Popen([*command, "--appendonly", "yes"], stdout=subprocess.DEVNULL)
    try:
        _wait_until(lambda: _listens(port))
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait()


def deliveries_per_second(folder: Path, broker: str, endpoint: str, count: int, received: Callable[[], int]) -> float:
    """Return the deliveries a second of one worker, from the first arrival to the last. All are queued before."""
    tasks = Path(__file__).with_name("celery_tasks.py")
    environment = {**os.environ, "KALATHI_BENCH_BROKER": broker}
    subprocess.run(
        [str(folder / "bin" / "python"), str(tasks), f"{endpoint}/hook", str(count)], env=environment, check=True
    )
    command = [str(folder / "bin" / "celery"), "-A", tasks.stem, "worker", f"--concurrency={CONCURRENCY}"]
    before = received()
    worker = subprocess.Popen(
        [*command, "--loglevel=warning"],
        cwd=tasks.parent,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_until(lambda: received() > before)
        started = time.perf_counter()
        first = received()
        _wait_until(lambda: received() >= before + count)
        return (before + count - first) / (time.perf_counter() - started)
    finally:
        worker.terminate()
        worker.wait()


def _listens(port: int) -> bool:
    socket.create_connection(("127.0.0.1", port)).close()
    return True


def _wait_until(condition: Callable[[], bool]) -> None:
    ends_at = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < ends_at:
        try:
            if condition():
                return
        except OSError:
            pass
        time.sleep(0.02)
    raise TimeoutError("not within a minute")
