"""A whole marketplace in this process: real database, real worker, a clock and a network of the test's own."""

import asyncio
import json
import os
import sqlite3
import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, closing, contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import psycopg

from kalathi.marketplace.app import DATABASE_FILE, Marketplace, open_marketplace
from kalathi.marketplace.kernel.clock import to_millis
from kalathi.marketplace.kernel.settings import Settings
from kalathi.marketplace.kernel.storage.changes import ChangeSet, Insert, Value
from kalathi.marketplace.kernel.storage.migrating import migrate_sqlite
from kalathi.marketplace.sandbox.declared import NOTHING_DECLARED, Declaration
from kalathi.marketplace.web.faults import CUT_OFF
from kalathi.marketplace.webhooks.answer import NO_HEADERS, Answer, SendError
from tests.databases import emptied, fresh_postgres

# As long as production demands it.
OPERATOR_TOKEN = "operator-of-the-marketplaces-of-tests"
ACCEPT = "application/vnd.skroutz+json; version=3.0"
# A Tuesday, ten in the morning in Athens; no public holiday is near.
NOON = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)

LOCATION = {"street_name": "Σταδίου", "street_number": "1", "zip": "10562", "city": "Αθήνα", "region": "Αττική"}
CUSTOMER: dict[str, Any] = {
    "first_name": "Ελένη",
    "last_name": "Παπαδοπούλου",
    "address": {
        "street_name": "Ερμού",
        "street_number": "12",
        "floor": "2",
        "zip": "10563",
        "city": "Αθήνα",
        "region": "Αττική",
        "country_code": "GR",
    },
}


class HttpAnswer(NamedTuple):
    """What a call got."""

    status: int
    json: Any
    headers: dict[str, str]
    body: bytes


class FakeTime:
    """Real time that stands still unless a test moves it; business time is counted from it."""

    def __init__(self, start: datetime = NOON) -> None:
        self.millis = to_millis(start)

    def __call__(self) -> int:
        return self.millis


class FakeNetwork:
    """Shops' endpoints: record each POST; answer 200, or the answers that the test has set for the URL, in order."""

    def __init__(self) -> None:
        self.posts: list[tuple[str, dict[str, Any]]] = []
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.statuses: dict[str, list[int | SendError]] = defaultdict(list)
        self.gates: dict[str, asyncio.Event] = {}
        self.in_flight: dict[str, int] = defaultdict(int)
        self.most_in_flight: dict[str, int] = defaultdict(int)

    async def post(self, url: str, body: bytes, headers: Mapping[str, str] = NO_HEADERS) -> Answer:
        """One delivery."""
        self.in_flight[url] += 1
        self.most_in_flight[url] = max(self.most_in_flight[url], self.in_flight[url])
        self.posts.append((url, json.loads(body)))
        self.bodies.append(body)
        self.headers.append(dict(headers))
        if url in self.gates:
            await self.gates[url].wait()
        self.in_flight[url] -= 1
        planned = self.statuses[url].pop(0) if self.statuses[url] else 200
        if isinstance(planned, SendError):
            return Answer(url, None, planned, b"", 1)
        return Answer(url, planned, SendError.NONE, b"answer", 1)

    async def close(self) -> None:
        """Nothing to close."""

    def events(self, url: str) -> list[tuple[str, str]]:
        """Event type and state of each webhook of a URL, in order."""
        return [(body["event_type"], body["order"]["state"]) for at, body in self.posts if at == url]


class Market:
    """Calls the ASGI application as a client would."""

    def __init__(self, marketplace: Marketplace, network: FakeNetwork, time: FakeTime) -> None:
        self.marketplace = marketplace
        self.network = network
        self.time = time
        self.server = ("market", 80)

    async def call(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        *,
        client: str = "test",
    ) -> HttpAnswer:
        """One request; a body that is not bytes is sent as JSON. A header that comes twice is one of two lines."""
        content = b"" if body is None else body if isinstance(body, bytes) else msgspec.json.encode(body)
        sent: list[dict[str, Any]] = []
        name, _, query = path.partition("?")
        scope: dict[str, Any] = {
            "type": "http",
            "method": method,
            "path": name,
            "raw_path": name.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "scheme": "http",
            "server": self.server,
            "client": (client, 1),
            "http_version": "1.1",
            "headers": [(key.lower().encode(), value.encode("latin-1")) for key, value in (headers or {}).items()],
        }
        left = asyncio.Event()
        chunks = [content[at : at + 65536] for at in range(0, len(content), 65536)] or [b""]

        async def receive() -> dict[str, Any]:
            if not chunks:
                await left.wait()
                return {"type": "http.disconnect"}
            chunk = chunks.pop(0)
            return {"type": "http.request", "body": chunk, "more_body": bool(chunks)}

        async def send(message: Any) -> None:
            sent.append(message)

        cut_off: list[bool] = []

        def cut() -> None:
            cut_off.append(True)
            left.set()

        scope["extensions"] = {CUT_OFF: cut}

        await self.marketplace.asgi(scope, receive, send)
        if cut_off:
            raise ConnectionResetError(path)
        answered = b"".join(message.get("body", b"") for message in sent[1:])
        found: dict[str, str] = {}
        for key, value in sent[0]["headers"]:
            name = key.decode()
            found[name] = f"{found[name]}\n{value.decode()}" if name in found else value.decode()
        is_json = found.get("content-type", "").startswith("application/json")
        return HttpAnswer(sent[0]["status"], json.loads(answered) if is_json else None, found, answered)

    async def operate(self, method: str, path: str, body: object = None, *, status: int = 200) -> Any:
        """A call of the operator's API that must answer as expected."""
        answer = await self.call(method, path, body, {"Authorization": f"Bearer {OPERATOR_TOKEN}"})
        assert answer.status == status, answer
        return answer.json

    async def shop(
        self,
        name: str = "Demo shop",
        *,
        quantity: int = 100,
        url: str | None = "http://shop/",
        listing: Mapping[str, object] | None = None,
        **facts: object,
    ) -> "Shop":
        """A shop with the listings A (10.40) and B (25.00); `listing` adds to A, `facts` to the shop."""
        new = {"name": name, "domain": "shop.example", "webhook_url": url, "locations": [LOCATION], **facts}
        answer = await self.operate("POST", "/marketplace/shops", new, status=201)
        listings: list[dict[str, Any]] = [
            {"shop_uid": uid, "product_name": f"Προϊόν {uid}", "unit_price": price, "commission_rate": 8.34}
            | {"quantity": quantity}
            for uid, price in (("A", 10.4), ("B", 25))
        ]
        listings[0] |= listing or {}
        shop = Shop(self, answer["shop"], answer["api_token"], listings)
        await shop.count({})
        return shop

    async def order(self, code: str) -> Any:
        """The operator's view of an order."""
        return await self.operate("GET", f"/marketplace/orders/{code}")

    async def advance(self, seconds: int) -> Any:
        """Move business time; return when all due jobs are done."""
        return await self.operate("POST", "/marketplace/clock", {"advance_seconds": seconds})

    async def fix_codes(self) -> None:
        """Give the installation a key of codes that is the same each time. Call it before the first order."""
        row: dict[str, Value] = {"name": "order_codes", "value": b"the key of the codes of the docs"}
        await self.marketplace.database.commit(ChangeSet(Insert("secrets", row)))

    async def settle(self) -> None:
        """Wait until no job is due, without moving time."""
        await self.advance(0)


class Shop:
    """A shop as its own system calls the marketplace."""

    def __init__(self, market: Market, facts: dict[str, Any], token: str, listings: list[dict[str, Any]]) -> None:
        self.market = market
        self.listings = listings
        self.id: str = facts["id"]
        self.location_id: str = facts["locations"][0]["id"]
        self.token = token
        self.products_token = ""

    async def call(self, method: str, path: str, body: object = None, **headers: str) -> HttpAnswer:
        """A call of the merchants' API."""
        usual = {"Authorization": f"Bearer {self.token}", "Accept": ACCEPT, **headers}
        return await self.market.call(method, f"/merchants/ecommerce{path}", body, usual)

    async def products(self, method: str, path: str, body: object = None, **headers: str) -> HttpAnswer:
        """A call of the Products API, with a token of its own that the first call makes."""
        if not self.products_token:
            path_of_token = f"/marketplace/shops/{self.id}/products_token"
            self.products_token = (await self.market.operate("POST", path_of_token, status=201))["products_token"]
        usual = {"Authorization": f"Bearer {self.products_token}", "Accept": ACCEPT, **headers}
        return await self.market.call(method, f"/merchants/products{path}", body, usual)

    async def publish(self, *data: Mapping[str, object]) -> dict[str, Any]:
        """Send a batch, and return its completed status."""
        answer = await self.products("POST", "/batch", {"data": data})
        assert answer.status == 200, answer
        await self.market.advance(1)
        status: dict[str, Any] = (await self.products("GET", f"/batch/{answer.json['id']}/status")).json
        return status

    async def cart(self, **wanted: int) -> str:
        """A customer buys pieces by listing: `cart(A=2, B=1)`. Gives the order's code."""
        return await self.place(wanted)

    async def place(self, wanted: Mapping[str, int], **facts: object) -> str:
        """The same, with further fields of the cart."""
        items = [{"shop_id": self.id, "shop_uid": uid, "quantity": quantity} for uid, quantity in wanted.items()]
        cart = {"customer": CUSTOMER, "items": items, "payment_method": "card", **facts}
        answer = await self.market.operate("POST", "/marketplace/carts", cart, status=201)
        code: str = answer["orders"][0]["code"]
        return code

    async def show(self, code: str) -> Any:
        """GET of an order."""
        return (await self.call("GET", f"/orders/{code}")).json["order"]

    async def accept(self, code: str, **different: object) -> HttpAnswer:
        """Accepts with the first options, or with different values."""
        options = (await self.show(code)).get("accept_options")
        window = options["pickup_window"][0]["id"] if options and options["pickup_window"] else 1
        body = {"pickup_location": self.location_id, "pickup_window": window, "number_of_parcels": 1, **different}
        return await self.call("POST", f"/orders/{code}/accept", body)

    async def accepted(self, wanted: Mapping[str, int] | None = None, **facts: object) -> str:
        """An order that was placed and accepted and has its voucher."""
        code = await self.place(wanted or {"A": 1}, **facts)
        answer = await self.accept(code)
        assert answer.json == {"success": True}, answer
        await self.market.advance(2)
        return code

    async def upload(self, code: str, action: str, field: str, content: bytes, name: str = "document") -> HttpAnswer:
        """A file as a browser or a client library sends it."""
        body = (
            f'--limit\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        ).encode()
        headers = {"Content-Type": 'multipart/form-data; boundary="limit"'}
        return await self.call("POST", f"/orders/{code}/{action}", body + content + b"\r\n--limit--\r\n", **headers)

    async def sent_updates(self, code: str) -> list[tuple[str, set[str]]]:
        """The state and the names of the changes of each update of an order that was sent, in order."""
        await self.market.settle()
        return [
            (body["order"]["state"], set(body["changes"]))
            for _, body in self.market.network.posts
            if body["order"]["code"] == code and body["event_type"] == "order_updated"
        ]

    async def count(self, quantities: Mapping[str, int]) -> None:
        """Sends the listings, with the quantities that were counted."""
        for listing in self.listings:
            listing["quantity"] = quantities.get(listing["shop_uid"], listing["quantity"])
        await self.market.operate("PUT", f"/marketplace/shops/{self.id}/listings", self.listings)

    async def stock(self) -> dict[str, int]:
        """The quantities of the listings."""
        answer = await self.market.operate("GET", f"/marketplace/shops/{self.id}/listings")
        return {entry["shop_uid"]: entry["quantity"] for entry in answer["listings"]}


def _database_of(folder: Path) -> str:
    """The folder's own file, or its own database of the server when the run is to be on PostgreSQL."""
    if os.environ.get("KALATHI_TEST_DATABASE") != "postgresql":
        file = folder / DATABASE_FILE
        if not file.exists():
            folder.mkdir(parents=True, exist_ok=True)
            file.write_bytes(tables_without_rows())
        return ""
    if folder not in _POSTGRES:
        # A test may open its market again, and some have two; databases of the tests before are done with.
        done_with = _POSTGRES.pop(next(iter(_POSTGRES))) if len(_POSTGRES) >= 4 else None
        _POSTGRES[folder] = emptied(done_with) if done_with else fresh_postgres()
    return _POSTGRES[folder]


_POSTGRES: dict[Path, str] = {}


@cache
def tables_without_rows() -> bytes:
    """A file of SQLite as a first start makes it. To make it takes longer than most tests, so one serves all."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / DATABASE_FILE
        migrate_sqlite(file)
        return file.read_bytes()


@asynccontextmanager
async def open_market(
    folder: Path,
    *,
    settings: Settings | None = None,
    worker: bool = True,
    network: FakeNetwork | None = None,
    time: FakeTime | None = None,
    keeps_token: bool = True,
    declared: Declaration = NOTHING_DECLARED,
    start_checkup: Callable[[str], Awaitable[None]] | None = None,
) -> AsyncIterator[Market]:
    """A marketplace over the database in `folder`; open it twice to restart it. Without `keeps_token` the operator's
    token is the setting's."""
    network = network or FakeNetwork()
    time = time or FakeTime()
    chosen = msgspec.structs.replace(settings or Settings(), data=folder, database=_database_of(folder))
    if keeps_token:
        chosen = msgspec.structs.replace(chosen, operator_token=OPERATOR_TOKEN)
    marketplace = await open_marketplace(
        chosen, "http://market", declared=declared, real=time, sender=network, start_checkup=start_checkup
    )
    if worker:
        marketplace.start()
    try:
        yield Market(marketplace, network, time)
    finally:
        await marketplace.stop()


@contextmanager
def hold_commits(folder: Path) -> Iterator[None]:
    """Hold the write lock: requests run meanwhile, but none can commit."""
    url = _database_of(folder)
    if url:
        with psycopg.connect(url) as connection:
            connection.execute("LOCK TABLE idempotency_keys IN EXCLUSIVE MODE")
            yield
            connection.rollback()
    else:
        with closing(sqlite3.connect(folder / DATABASE_FILE, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield
            connection.execute("ROLLBACK")


Predicate = Callable[[], bool]


async def until(condition: Predicate) -> None:
    """Waits for a condition; the limit only turns a hanging test into a failing one."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.002)
