"""A shop's integration that does everything right, small enough to break in one place.

It takes every webhook as a reason to read the order with its token, and brings its own order up to date. Each test of
a broken receiver overrides one method (tests/checkup/broken).
"""

import json
import threading
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

API = "/merchants/ecommerce"
PRODUCTS = "/merchants/products"
ACCEPT = "application/vnd.skroutz+json; version=3.0"
CLOSED = {"cancelled", "expired", "rejected"}
LEFT = {"dispatched", "delivered", "partially_delivered", "for_return", "returned", "partially_returned"}
LIMITED_STOCK = 4
NO_STOCK = 1
TRIES = 4


@dataclass
class Answer:
    """An answer of the marketplace. `status` is 0 if the connection was lost."""

    status: int
    content: dict[str, Any]
    retry_after: float = 0.0

    @property
    def code(self) -> str:
        """The first error's code."""
        errors = self.content.get("errors") or [{}]
        return str(errors[0].get("code", ""))


def wait_a_while(seconds: float) -> None:
    """Wait as a real shop does between two tries, not for a result."""
    threading.Event().wait(seconds)


class Client:
    """The merchants' API."""

    def __init__(self, url: str, token: str, products_token: str = "") -> None:
        self.url = url
        self.token = token
        self.products_token = products_token

    def call(
        self, method: str, path: str, body: object = None, *, kind: str = "application/json", accept: str = ACCEPT
    ) -> Answer:
        """Make one call."""
        content = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        base, token = (PRODUCTS, self.products_token) if path.startswith("/batch") else (API, self.token)
        request = urllib.request.Request(self.url + base + path, content, method=method)
        request.add_header("Authorization", f"Bearer {token}")
        request.add_header("Accept", accept)
        request.add_header("Content-Type", kind)
        try:
            with urllib.request.urlopen(request, timeout=8) as response:
                return Answer(response.status, json.loads(response.read()))
        except urllib.error.HTTPError as error:
            retry_after = float(error.headers.get("Retry-After") or 0)
            with error:
                return Answer(error.code, json.loads(error.read() or b"{}"), retry_after)
        except (OSError, ValueError):
            return Answer(0, {})


@dataclass
class ShopOrder:
    """An order in the shop's own system."""

    code: str
    state: str
    total: float
    customer: str
    tracking_codes: list[str] = field(default_factory=list)
    held: dict[str, int] = field(default_factory=dict)
    has_left: bool = False
    is_ready: bool = False


class ModelShop:
    """A correct integration with synchronous handlers, and its own system: orders and stock."""

    success = 200
    does_invoices = True

    def __init__(self, client: Client, stock: Mapping[str, int]) -> None:
        self.client = client
        self.stock = dict(stock)
        self.orders: list[ShopOrder] = []
        self.returns: dict[str, str] = {}
        self._lock = threading.Lock()
        # Products whose number is not published yet, and the batches whose results are not read yet.
        self._changed: dict[str, None] = {}
        self._open_batches: list[str] = []
        self._is_stopping = threading.Event()
        self._publishing: threading.Thread | None = None
        self._code_locks: defaultdict[str, threading.RLock] = defaultdict(threading.RLock)

    # Webhooks

    def receive(self, event: dict[str, Any]) -> int:
        """Handle a webhook, and return the status of the answer."""
        kind = event.get("event_type")
        if kind in {"new_order", "order_updated"}:
            self.on_order(kind, event)
        elif kind in {"merchant_return_created", "merchant_return_updated"}:
            self.on_return(event)
        return self.success

    def on_order(self, kind: str, event: dict[str, Any]) -> None:
        """Take an event of an order as a reason to read the order."""
        self.take(str(event["order"]["code"]))

    def on_return(self, event: dict[str, Any]) -> None:
        """Read the return, and review it if it waits for that."""
        code = event["return"]["return_code"]
        with self.lock(code):
            answer = self.client.call("GET", f"/returns/{code}")
            if answer.status != 200:
                return
            returned = answer.content["return"]
            self.returns[code] = returned["state"]
            if returned["state"] == "pending_merchant_review" and returned.get("review_options"):
                self.review(code, returned)

    def review(self, code: str, returned: dict[str, Any]) -> None:
        """Approve a return."""
        self.client.call("POST", f"/returns/{code}/review", {"option": "approve"})

    # Orders

    @contextmanager
    def lock(self, code: str) -> Iterator[None]:
        """Handle one event of an order or a return at a time."""
        with self._code_locks[code]:
            yield

    def take(self, code: str) -> None:
        """Read an order, and bring the shop up to date. An order that the marketplace does not know is ignored."""
        with self.lock(code):
            answer = self.client.call("GET", f"/orders/{code}")
            if answer.status == 404:
                return
            if answer.status != 200:
                raise ConnectionError(f"GET {code}: {answer.status}")
            order = answer.content["order"]
            mine = self.find(code) or self.add(order)
            self.update(mine, order)
            if order["state"] == "open" and not order["express"]:
                self.answer(mine, order)
            elif order["state"] == "accepted":
                self.prepare(mine, order)

    def find(self, code: str) -> ShopOrder | None:
        """Return the shop's order with this code."""
        return next((mine for mine in self.orders if mine.code == code), None)

    def add(self, order: dict[str, Any]) -> ShopOrder:
        """Add an order to the shop's system."""
        mine = ShopOrder(order["code"], order["state"], self.total_of(order), self.customer_of(order))
        with self._lock:
            self.orders.append(mine)
        return mine

    def total_of(self, order: dict[str, Any]) -> float:
        """Return the amount that the shop invoices: the prices of the lines as they are."""
        return sum(float(line["total_price"]) for line in order["line_items"])

    def customer_of(self, order: dict[str, Any]) -> str:
        """Return the customer's name."""
        return f"{order['customer']['first_name']} {order['customer']['last_name']}"

    def update(self, mine: ShopOrder, order: dict[str, Any]) -> None:
        """Take over the order's state and tracking codes."""
        mine.state = order["state"]
        mine.has_left |= order["state"] in LEFT
        mine.tracking_codes = self.tracking_codes_of(mine, order)
        if mine.state == "accepted" and not mine.held:
            self.hold(mine, order)
        if mine.state in CLOSED:
            self.close(mine)

    def tracking_codes_of(self, mine: ShopOrder, order: dict[str, Any]) -> list[str]:
        """Return the codes that the shop shows: those of the latest voucher."""
        return list(order["courier_tracking_codes"])

    def close(self, mine: ShopOrder) -> None:
        """Close an order that is not sent. Pieces that the courier has are not on the shelf."""
        if not mine.has_left:
            self.release(mine)

    # Stock

    def uid_of(self, line: dict[str, Any]) -> str:
        """Return the uid by which the shop knows a line's product: that of the variation first."""
        size = line.get("size") or {}
        return str(size.get("shop_variation_uid") or line.get("shop_variation_uid") or line["shop_uid"])

    def hold(self, mine: ShopOrder, order: dict[str, Any]) -> None:
        """Take the pieces of an order out of the stock, once."""
        if mine.held:
            return
        with self._lock:
            for line in order["line_items"]:
                uid = self.uid_of(line)
                self.stock[uid] = self.stock.get(uid, 0) - line["quantity"]
                mine.held[uid] = mine.held.get(uid, 0) + line["quantity"]
        self.publish(mine.held)

    def release(self, mine: ShopOrder) -> None:
        """Put the pieces of an order back."""
        with self._lock:
            released, mine.held = mine.held, {}
            for uid, quantity in released.items():
                self.stock[uid] += quantity
        self.publish(released)

    # Published stock

    price = 1040

    def publish(self, uids: Iterable[str]) -> None:
        """Have the numbers of these products published soon."""
        if not self.client.products_token:
            return
        with self._lock:
            self._changed.update(dict.fromkeys(uids))
            if self._publishing is None:
                self._publishing = threading.Thread(target=self._run_publishing, daemon=True)
                self._publishing.start()

    def _run_publishing(self) -> None:
        while not self._is_stopping.wait(0.05):
            with self._lock:
                changed, self._changed = self._changed, {}
            if changed and not self.send_batch(list(changed)):
                with self._lock:
                    self._changed = changed | self._changed
                self._is_stopping.wait(self.scan_pause)
            for batch_id in list(self._open_batches):
                if not self._is_stopping.is_set() and self.read_results(batch_id):
                    self._open_batches.remove(batch_id)

    scan_pause = 0.5

    def send_batch(self, uids: list[str]) -> bool:
        """Send the newest numbers. Return whether the marketplace has accepted them."""
        answer = self.client.call("POST", "/batch", {"data": [self.entry_of(uid) for uid in uids]})
        if answer.status == 200:
            self._open_batches.append(answer.content["id"])
        return answer.status == 200

    def entry_of(self, uid: str) -> dict[str, Any]:
        """Return a product as a batch has it."""
        pieces = max(self.stock.get(uid, 0), 0)
        return {"product_id": uid, "quantity": pieces, "enabled": True, "price": self.price}

    def read_results(self, batch_id: str) -> bool:
        """Read the status of a batch. Return whether it is completed."""
        answer = self.client.call("GET", f"/batch/{batch_id}/status")
        return answer.status == 200 and answer.content["status"] == "completed"

    # Answers

    def answer(self, mine: ShopOrder, order: dict[str, Any]) -> None:
        """Accept or reject an open order."""
        missing = [line for line in order["line_items"] if self.stock.get(self.uid_of(line), 0) < line["quantity"]]
        if missing:
            self.reject(mine, missing)
            return
        options = order["accept_options"]
        body: dict[str, Any] = {"pickup_location": options["pickup_location"][0]["id"], "number_of_parcels": 1}
        if options["pickup_window"]:
            body["pickup_window"] = options["pickup_window"][0]["id"]
        self.hold(mine, order)
        if not self.accept(mine, body):
            self.release(mine)
            self.look_again(mine)

    def accept(self, mine: ShopOrder, body: dict[str, Any]) -> bool:
        """Accept an order, and try again after a temporary failure. Return whether it is accepted."""
        for _ in range(TRIES):
            answer = self.client.call("POST", f"/orders/{mine.code}/accept", body)
            if answer.status == 200:
                mine.state = "accepted"
                return True
            if answer.status not in {0, 429, 500, 502, 503}:
                return False
            self.pause(answer)
            if answer.status == 0 and self.is_accepted(mine):
                return True
        raise ConnectionError(f"{mine.code} could not be accepted.")

    def pause(self, answer: Answer) -> None:
        """Wait before the next try."""
        # A real program waits longer after a 503. Here only Retry-After of 429 is kept to.
        wait_a_while(answer.retry_after if answer.status == 429 else 0.05)

    def is_accepted(self, mine: ShopOrder) -> bool:
        """Whether the marketplace has accepted the order, for example by a call whose answer was lost."""
        shown = self.client.call("GET", f"/orders/{mine.code}")
        if shown.status == 200 and shown.content["order"]["state"] == "accepted":
            mine.state = "accepted"
            return True
        return False

    def look_again(self, mine: ShopOrder) -> None:
        """Take over the state of an order that cannot be accepted."""
        answer = self.client.call("GET", f"/orders/{mine.code}")
        if answer.status == 200:
            self.update(mine, answer.content["order"])

    def reject(self, mine: ShopOrder, missing: list[dict[str, Any]]) -> None:
        """Reject the lines that the shop cannot send."""
        body = {"line_items": [self.rejection_of(line) for line in missing]}
        if self.client.call("POST", f"/orders/{mine.code}/reject", body).status == 200:
            mine.state = "rejected"

    def rejection_of(self, line: dict[str, Any]) -> dict[str, Any]:
        """Return the rejection of a line, with the number of pieces that there are."""
        available = max(0, self.stock.get(self.uid_of(line), 0))
        if not available:
            return {"id": line["id"], "reason_id": NO_STOCK}
        return {"id": line["id"], "reason_id": LIMITED_STOCK, "available_quantity": available}

    # After the acceptance

    def prepare(self, mine: ShopOrder, order: dict[str, Any]) -> None:
        """Do the work of an accepted order: invoice, tracking details, readiness."""
        if order["invoice"] and not order["uploaded_invoice_file"]:
            self.upload_invoice(mine)
        if order.get("fulfillment_mode") == "fbm" and not mine.tracking_codes:
            self.send_tracking(mine)
        if order["set_as_ready_required"] and not order["is_ready_for_dispatch"] and order["courier_voucher"]:
            self.set_as_ready(mine)

    def upload_invoice(self, mine: ShopOrder) -> None:
        """Upload an invoice as multipart/form-data."""
        boundary = "a-boundary"
        body = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="invoice_file"; filename="invoice.pdf"\r\n'
            "Content-Type: application/pdf\r\n\r\n%PDF-1.4\n%%EOF\n\r\n"
            f"--{boundary}--\r\n"
        ).encode()
        kind = f"multipart/form-data; boundary={boundary}"
        self.client.call("POST", f"/orders/{mine.code}/invoices", body, kind=kind)

    def send_tracking(self, mine: ShopOrder) -> None:
        """Report the parcel of an order that the shop sends itself."""
        details = {"tracking_details": [{"courier": "acs", "tracking_code": "224085551"}]}
        if self.client.call("POST", f"/orders/{mine.code}/tracking_details", details).status == 200:
            mine.tracking_codes = ["224085551"]

    def set_as_ready(self, mine: ShopOrder) -> None:
        """Mark the parcel as ready."""
        if not mine.is_ready:
            mine.is_ready = self.client.call("POST", f"/orders/{mine.code}/set_as_ready").status == 200

    # The probe

    def probe(self, code: str, uids: list[str]) -> dict[str, Any]:
        """Return an order and the stock of the shop's own system."""
        found = [mine for mine in self.orders if mine.code == code]
        answer: dict[str, Any] = {"orders": len(found), "stock": {uid: self.stock.get(uid, 0) for uid in uids}}
        if found:
            last = found[-1]
            answer |= {"state": last.state, "total": last.total, "customer": last.customer}
            answer["tracking_codes"] = last.tracking_codes
        return answer

    def stop(self) -> None:
        """End the shop's own threads."""
        self._is_stopping.set()
        if self._publishing is not None:
            self._publishing.join(10)


class Handler(BaseHTTPRequestHandler):
    """POST is a webhook, GET the probe."""

    protocol_version = "HTTP/1.1"
    shop: ModelShop

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            status = self.shop.receive(json.loads(body))
        except Exception:  # noqa: BLE001  (any failure of a handler is a 500, as in every web framework)
            status = 500
        self.answer(status, b"")

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        shown = self.shop.probe(query.get("order", [""])[0], query.get("sku", []))
        self.answer(200, json.dumps(shown).encode())

    def answer(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the name that the library uses)
        """Print nothing."""


class _Server(ThreadingHTTPServer):
    # The end does not wait for connections without a request, which a client may keep for seconds.
    daemon_threads = True
    request_queue_size = 64


@contextmanager
def serve(shop: ModelShop) -> Iterator[str]:
    """Serve a shop on a free port, and yield its URL."""
    handler = type("ShopHandler", (Handler,), {"shop": shop})
    with _Server(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
            shop.stop()
