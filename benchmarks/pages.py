"""Compare the page with a shop's orders to the API's list call for the same rows, in a shop with 100,000 orders."""

import http.client
import sqlite3
import time
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from large import grow
from orders import TOKEN, prepare

ORDERS = 100_000
# As many as a page shows.
ROWS = 50
TURNS = 20


def prepare_list(data: Path) -> None:
    """Create a database with `ORDERS` open orders of one shop, each with a different time of change."""
    path = data / "kalathi.db"
    prepared = prepare(path, 1)
    grow(path, prepared.codes[0], ORDERS)
    with sqlite3.connect(path) as database:
        database.execute("UPDATE orders SET updated_at = updated_at - rowid * 1000")


class Reader:
    """One caller with one keep-alive connection."""

    def __init__(self, address: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(address).netloc)
        self._cookie = ""

    def sign_in(self) -> None:
        """Sign in as the shop, through the form of the panel."""
        page = self._get("/sign-in", {})
        token = page.partition(b'name="form_token" value="')[2].partition(b'"')[0].decode()
        body = urlencode({"form_token": token, "token": TOKEN})
        headers = {"Cookie": self._cookie, "Content-Type": "application/x-www-form-urlencoded"}
        self._connection.request("POST", "/sign-in", body, headers)
        answer = self._connection.getresponse()
        answer.read()
        assert answer.status == 303
        self._cookie = (answer.getheader("Set-Cookie") or "").partition(";")[0]

    def page_millis(self, query: str = "") -> float:
        """Return the average time of the page with the list, in milliseconds."""
        return self._millis(f"/shop/orders{query}", {"Cookie": self._cookie})

    def call_millis(self, query: str = "") -> float:
        """Return the average time of the API's list call for the same rows, in milliseconds."""
        headers = {"Authorization": f"Bearer {TOKEN}", "Accept": "application/vnd.skroutz+json; version=3.0"}
        return self._millis(f"/merchants/ecommerce/orders?per={ROWS}{query.replace('?', '&')}", headers)

    def _millis(self, path: str, headers: dict[str, str]) -> float:
        started = time.perf_counter()
        for _ in range(TURNS):
            self._get(path, headers)
        return (time.perf_counter() - started) / TURNS * 1000

    def _get(self, path: str, headers: dict[str, str]) -> bytes:
        self._connection.request("GET", path, headers=headers)
        answer = self._connection.getresponse()
        body = answer.read()
        assert answer.status == 200, (path, answer.status)
        if not headers:
            self._cookie = (answer.getheader("Set-Cookie") or "").partition(";")[0]
        return body
