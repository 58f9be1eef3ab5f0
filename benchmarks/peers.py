"""Run the mock servers that integrators use today, Prism and Mockoon, with the same order. npm installs them into a
temporary folder."""

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PACKAGES = {"prism": "@stoplight/prism-cli@5.16.0", "mockoon": "@mockoon/cli@9.9.0"}
_PATIENCE_SECONDS = 60.0


def install(folder: Path) -> str | None:
    """Install both. Return None, or the reason if this is impossible on this machine."""
    if shutil.which("npm") is None:
        return "npm is not on this machine, so Prism and Mockoon are not measured; install Node.js and npm to see them."
    print("  npm installs Prism and Mockoon into a temporary folder (about half a minute)", flush=True)
    command = ["npm", "install", "--prefix", str(folder), "--no-audit", "--no-fund", "--silent", *PACKAGES.values()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return f"npm could not install Prism and Mockoon, so they are not measured: {done.stderr.strip()[-300:]}"
    return None


def commands(folder: Path, path: str, body: Path) -> dict[str, tuple[list[str], int]]:
    """Return, by name, the command that starts each mock server and its port. It answers GET of `path` with the body.

    Prism runs in two ways: as usual with the description of this API, and in its fastest form, with one path, no schema
    and no log.
    """
    first, second, third = _free_port(), _free_port(), _free_port()
    described, plain, environment = (folder / f"{name}.json" for name in ("described", "plain", "mockoon"))
    described.write_text(json.dumps(_described(body)))
    plain.write_text(json.dumps(_plain(path, body)))
    environment.write_text(json.dumps(_mockoon(path, body, third)))
    bin_folder = folder / "node_modules" / ".bin"
    prism = [str(bin_folder / "prism"), "mock", "--host", "127.0.0.1", "--port"]
    mockoon = [str(bin_folder / "mockoon-cli"), "start", "--data", str(environment), "--disable-log-to-file"]
    return {
        "Prism": ([*prism, str(first), str(described)], first),
        "Prism without schema and log": ([*prism, str(second), str(plain), "--verboseLevel", "silent"], second),
        "Mockoon": (mockoon, third),
    }


@contextmanager
def running(command: list[str], port: int) -> Iterator[str]:
    """Run a mock server as a process. Yield its address once it listens."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        ends_at = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > ends_at:
                    raise RuntimeError(f"{command[0]} did not start") from None
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _free_port() -> int:
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        return int(chosen.getsockname()[1])


def _described(body: Path) -> object:
    """Return the description of this API, with the body as the example of the call."""
    description = json.loads((Path(__file__).parents[1] / "docs" / "openapi.json").read_bytes())
    answer = description["paths"]["/merchants/ecommerce/orders/{code}"]["get"]["responses"]["200"]
    answer["content"]["application/json"]["example"] = json.loads(body.read_bytes())
    return description


def _plain(path: str, body: Path) -> object:
    content = {"application/json": {"schema": {"type": "object"}, "example": json.loads(body.read_bytes())}}
    get = {"responses": {"200": {"description": "An order", "content": content}}}
    return {"openapi": "3.1.0", "info": {"title": "Order", "version": "1"}, "paths": {path: {"get": get}}}


def _mockoon(path: str, body: Path, port: int) -> object:
    answer = {
        "uuid": "33333333-3333-4333-8333-333333333333",
        "body": body.read_text("utf-8"),
        "latency": 0,
        "statusCode": 200,
        "label": "",
        "headers": [{"key": "Content-Type", "value": "application/json; charset=utf-8"}],
        "bodyType": "INLINE",
        "filePath": "",
        "databucketID": "",
        "sendFileAsBody": False,
        "rules": [],
        "rulesOperator": "OR",
        # Return the body unchanged, without template processing.
        "disableTemplating": True,
        "fallbackTo404": False,
        "default": True,
        "crudKey": "id",
        "callbacks": [],
    }
    route = {
        "uuid": "22222222-2222-4222-8222-222222222222",
        "type": "http",
        "documentation": "",
        "method": "get",
        "endpoint": path.lstrip("/"),
        "responses": [answer],
        "responseMode": None,
        "streamingMode": None,
        "streamingInterval": 0,
    }
    return {
        "uuid": "11111111-1111-4111-8111-111111111111",
        "lastMigration": 33,
        "name": "Order",
        "port": port,
        "hostname": "127.0.0.1",
        "endpointPrefix": "",
        "latency": 0,
        "folders": [],
        "routes": [route],
        "rootChildren": [{"type": "route", "uuid": route["uuid"]}],
        "proxyMode": False,
        "proxyHost": "",
        "proxyRemovePrefix": False,
        "tlsOptions": {"enabled": False},
        "cors": False,
        "headers": [],
        "proxyReqHeaders": [],
        "proxyResHeaders": [],
        "data": [],
        "callbacks": [],
    }
