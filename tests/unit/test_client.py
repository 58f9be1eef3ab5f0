"""The shop's client: its requests, its retries, its reading of answers; with and without an event loop."""

import asyncio
import inspect
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from operator import attrgetter
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import kalathi.merchant as public
from kalathi.contract.codec import encode
from kalathi.contract.errors import ErrorEntry, ErrorEnvelope
from kalathi.contract.orders import Order, OrderBody, Success
from kalathi.contract.requests import PurchaseOrderRequest, RejectedLine, SupplierRequest
from kalathi.contract.words import OrderState
from kalathi.marketplace.web.reply import ERRORS
from kalathi.merchant import AsyncClient, Client, MarketplaceError, Retries, UnreachableError
from kalathi.merchant.client.failures import ERRORS_BY_CODE, marketplace_error
from kalathi.merchant.client.transport import HttpAnswer
from tests.sync_client import MODULES, make_sync

pytestmark = pytest.mark.anyio

EXAMPLES = Path(__file__).parents[1] / "data" / "examples"
OK = HttpAnswer(200, encode(Success()))
LOST = UnreachableError("no answer")


def refusal(status: int, code: str, message: str = "No.", **headers: str) -> HttpAnswer:
    """A refusal by the marketplace."""
    body = encode(ErrorEnvelope(errors=[ErrorEntry(code=code, messages=[message])]))
    return HttpAnswer(status, body, {name.replace("_", "-"): value for name, value in headers.items()})


PASSING = [
    *(LOST, HttpAnswer(200, b"<html>"), HttpAnswer(502, b"bad")),
    *(refusal(500, "internal_error"), refusal(503, "unavailable"), refusal(409, "conflict")),
]


def shown(state: OrderState) -> HttpAnswer:
    """An order in this state."""
    return HttpAnswer(200, encode(OrderBody(order=Order(code="o1", state=state, line_items=[]))))


_USUAL = Retries()


class Script:
    """A network that answers what was laid down, in order, to either kind of client; keeps what was asked."""

    def __init__(self, *answers: HttpAnswer | UnreachableError) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, str]] = []
        self.headers: list[Mapping[str, str]] = []
        self.bodies: list[Any] = []
        self.pauses: list[float] = []

    def _send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> HttpAnswer:
        self.asked.append((method, url.removeprefix("http://market/merchants/ecommerce")))
        self.headers.append(headers)
        is_json = "json" in headers.get("Content-Type", "") and body
        self.bodies.append(msgspec.json.decode(body) if is_json and body else body)
        answer = self.answers.pop(0)
        if isinstance(answer, UnreachableError):
            raise answer
        return answer


class Sync(Script):
    """Without an event loop."""

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> HttpAnswer:
        return self._send(method, url, headers, body)

    def close(self) -> None:
        pass

    def call(self, name: str, *arguments: Any, retries: Retries = _USUAL, **named: Any) -> Any:
        """Makes one call of a client over this network."""
        with Client(
            "http://market/",
            "secret",
            products_token="products",
            retries=retries,
            transport=self,
            sleep=self.pauses.append,
        ) as client:
            result = attrgetter(name)(client)(*arguments, **named)
            return list(result) if inspect.isgenerator(result) else result


class Async(Script):
    """With one."""

    async def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> HttpAnswer:
        return self._send(method, url, headers, body)

    async def close(self) -> None:
        pass

    def call(self, name: str, *arguments: Any, retries: Retries = _USUAL, **named: Any) -> Any:
        async def sleep(seconds: float) -> None:
            self.pauses.append(seconds)

        async def run() -> Any:
            async with AsyncClient(
                "http://market/", "secret", products_token="products", retries=retries, transport=self, sleep=sleep
            ) as client:
                result = attrgetter(name)(client)(*arguments, **named)
                if inspect.isasyncgen(result):
                    return [entry async for entry in result]
                return await result

        return asyncio.run(run())


KINDS: Sequence[type[Sync] | type[Async]] = (Sync, Async)
both = pytest.mark.parametrize("kind", KINDS, ids=["sync", "async"])
Kind = type[Sync] | type[Async]

LIST_META = {"pagination": {"total_results": 0, "total_pages": 0, "page": 1, "per": 100}}
TODAY = date(2026, 11, 30)
SINCE = datetime(2026, 11, 24, 8, tzinfo=UTC)
# Each call with its arguments, what it asks, and the body.
CALLS: list[tuple[str, tuple[Any, ...], dict[str, Any], tuple[str, str], Any]] = [
    ("accept", ("o/1", "loc", 7, 2), {}, ("POST", "/orders/o%2F1/accept"),
     {"pickup_location": "loc", "pickup_window": 7, "number_of_parcels": 2}),
    ("accept", ("o1", "loc"), {}, ("POST", "/orders/o1/accept"), {"pickup_location": "loc", "number_of_parcels": 1}),
    ("reject", ("o1", "closed"), {}, ("POST", "/orders/o1/reject"), {"rejection_reason_other": "closed"}),
    ("reject_lines", ("o1", [RejectedLine(id="l", reason_id=4, available_quantity=1)]), {},
     ("POST", "/orders/o1/reject"), {"line_items": [{"id": "l", "reason_id": 4, "available_quantity": 1}]}),
    ("reschedule_pickup", ("o1", TODAY), {}, ("POST", "/orders/o1/reschedule_pickup"),
     {"reschedule_date": "2026-11-30"}),
    ("relocate_pickup", ("o1", "loc"), {}, ("POST", "/orders/o1/relocate_pickup"), {"pickup_location": "loc"}),
    ("set_as_ready", ("o1",), {}, ("POST", "/orders/o1/set_as_ready"), b""),
    ("set_as_not_ready", ("o1",), {}, ("POST", "/orders/o1/set_as_not_ready"), b""),
    ("request_voucher", ("o1",), {}, ("POST", "/orders/o1/request_voucher"), b""),
    ("tracking_details", ("o1", [("acs", "1")]), {}, ("POST", "/orders/o1/tracking_details"),
     {"tracking_details": [{"courier": "acs", "tracking_code": "1"}]}),
    ("trigger_webhook", ("DEMO-OPEN", "creation"), {},
     ("POST", "/orders/DEMO-OPEN/trigger_webhook_request/creation"), b""),
    ("review", ("R-1", "approve"), {}, ("POST", "/returns/R-1/review"), {"option": "approve"}),
    ("review", ("R-1", "part_not_included", "no", "https://x"), {}, ("POST", "/returns/R-1/review"),
     {"option": "part_not_included", "comment": "no", "proposed_part_url": "https://x"}),
    ("create_supplier", (SupplierRequest(code="c", name="n", tax_number=None),), {}, ("POST", "/fbs/suppliers"),
     {"code": "c", "name": "n", "tax_number": None}),
    ("change_supplier", ("s1", SupplierRequest(city="c")), {}, ("PATCH", "/fbs/suppliers/s1"), {"city": "c"}),
]  # fmt: skip
READS: list[tuple[str, tuple[Any, ...], dict[str, Any], tuple[str, str], str]] = [
    ("order", ("o1",), {}, ("GET", "/orders/o1"), "api/orders/show"),
    ("order", ("o1",), {"action_options": True}, ("GET", "/orders/o1?action_options=1"), "api/orders/DEMO-OPEN"),
    ("return_request", ("R-1",), {}, ("GET", "/returns/R-1"), "api/returns/show"),
    ("warehouse_products", (2, 50), {}, ("GET", "/fbs/products?page=2&per=50"), "api/fbs/products_index"),
    ("purchase_orders", (), {}, ("GET", "/fbs/purchase_orders?page=1&per=100"), "api/fbs/purchase_orders_index"),
    ("purchase_order_lines", ("1-2-3",), {}, ("GET", "/fbs/purchase_orders/1-2-3/line_items?page=1&per=100"),
     "api/fbs/purchase_orders_show"),
    ("suppliers", (), {}, ("GET", "/fbs/suppliers?page=1&per=100"), "api/fbs/suppliers_index"),
]  # fmt: skip


@both
@pytest.mark.parametrize(("name", "arguments", "named", "asked", "body"), CALLS)
def test_every_action_sends_what_the_contract_says(
    kind: Kind, name: str, arguments: tuple[Any, ...], named: dict[str, Any], asked: tuple[str, str], body: Any
) -> None:
    network = kind(OK)
    assert network.call(name, *arguments, **named) is None
    assert network.asked == [asked]
    assert network.bodies == [body]
    assert network.headers[0]["Authorization"] == "Bearer secret"
    assert network.headers[0]["Accept"] == "application/vnd.skroutz+json; version=3.0"


@both
@pytest.mark.parametrize(("name", "arguments", "named", "asked", "recorded"), READS)
def test_every_read_decodes_its_recording(
    kind: Kind, name: str, arguments: tuple[Any, ...], named: dict[str, Any], asked: tuple[str, str], recorded: str
) -> None:
    network = kind(HttpAnswer(200, (EXAMPLES / f"{recorded}.json").read_bytes()))
    assert network.call(name, *arguments, **named) is not None
    assert network.asked == [asked]


@both
def test_lists_are_fetched_page_by_page(kind: Kind) -> None:
    def page(number: int, *codes: str) -> HttpAnswer:
        meta = {"pagination": {"total_results": 3, "total_pages": 2, "page": number, "per": 2}}
        orders = [{"code": code, "state": "open", "line_items": []} for code in codes]
        return HttpAnswer(200, msgspec.json.encode({"orders": orders, "meta": meta}))

    network = kind(page(1, "a", "b"), page(2, "c"))
    found = network.call("all_orders", state="open", updated_since=SINCE)
    assert [order.code for order in found] == ["a", "b", "c"]
    assert network.asked[1] == (
        "GET", "/orders?state=open&updated_since=2026-11-24T08%3A00%3A00%2B00%3A00&page=2&per=100"
    )  # fmt: skip
    lists = {"all_warehouse_products": "products", "all_suppliers": "suppliers", "all_return_requests": "returns"}
    for name, key in (lists | {"all_purchase_orders": "purchase_orders"}).items():
        network = kind(HttpAnswer(200, msgspec.json.encode({key: [], "meta": LIST_META})))
        assert network.call(name) == []


@both
def test_a_file_is_sent_as_a_form_and_a_purchase_order_gives_its_code(kind: Kind) -> None:
    network = kind(OK, OK, HttpAnswer(200, (EXAMPLES / "api/fbs/purchase_orders_create.json").read_bytes()))
    network.call("upload_invoice", "o1", b"%PDF \r\n--", 'a"\r\nb.pdf')
    network.call("upload_credit_invoice", "o1", b"%PDF")
    assert [url for _, url in network.asked] == ["/orders/o1/invoices", "/orders/o1/credit_invoices"]
    boundary = network.headers[0]["Content-Type"].partition("boundary=")[2]
    assert network.bodies[0].startswith(f"--{boundary}\r\n".encode())
    assert network.bodies[0].endswith(f"%PDF \r\n--\r\n--{boundary}--\r\n".encode())
    assert b'name="invoice_file"; filename="a%22%0D%0Ab.pdf"\r\n' in network.bodies[0]
    assert b'name="credit_invoice_file"' in network.bodies[1]
    request = PurchaseOrderRequest(expected_date="2026-11-30", supplier_id="s", line_items=[])
    assert network.call("create_purchase_order", request) == "220623-4078-5820"


@both
def test_a_link_is_fetched_without_the_token(kind: Kind) -> None:
    network = kind(LOST, HttpAnswer(200, b"%PDF"))
    assert network.call("download", "https://elsewhere/v.pdf") == b"%PDF"
    assert network.asked[0] == ("GET", "https://elsewhere/v.pdf")
    assert network.headers == [{}, {}]


@both
@pytest.mark.parametrize("failure", PASSING)
def test_reads_are_retried_with_growing_pauses_up_to_a_limit(
    kind: Kind, failure: HttpAnswer | UnreachableError
) -> None:
    network = kind(failure, failure, failure, shown(OrderState.OPEN))
    assert network.call("order", "o1").state == OrderState.OPEN
    assert len(network.asked) == 4
    first, second, third = network.pauses
    assert 0.25 <= first <= 0.5 <= second <= 1 <= third <= 2
    network = kind(*[failure] * 4)
    with pytest.raises((MarketplaceError, UnreachableError)):
        network.call("order", "o1")
    assert len(network.pauses) == 3


@both
@pytest.mark.parametrize(
    ("name", "arguments", "sentence"),
    [
        ("accept", ("o1", "loc", 7), "Order already accepted."),
        ("reject", ("o1", "closed"), "Order already rejected."),
        ("reject_lines", ("o1", [RejectedLine(id="l", reason_id=1)]), "Order already rejected."),
    ],
)
def test_after_a_lost_answer_an_already_done_refusal_is_success(
    kind: Kind, name: str, arguments: tuple[Any, ...], sentence: str
) -> None:
    done = refusal(422, "order_status", sentence)
    for lost in (LOST, refusal(502, "internal_error"), HttpAnswer(200, b"cut o")):
        network = kind(lost, done)
        assert network.call(name, *arguments) is None
        assert len(network.asked) == 2
    network = kind(done)
    with pytest.raises(public.OrderStatusError, match=sentence):
        network.call(name, *arguments)
    network = kind(LOST, refusal(422, "order_status", "Order already cancelled."))
    with pytest.raises(public.OrderStatusError, match="cancelled"):
        network.call(name, *arguments)
    network = kind(refusal(409, "conflict"), done)
    with pytest.raises(public.OrderStatusError, match=sentence):
        network.call(name, *arguments)  # The first call certainly did not succeed: another caller was faster.


@both
def test_accepting_an_already_accepted_express_order_succeeds(kind: Kind) -> None:
    express = refusal(422, "order_status", "Order is express")
    network = kind(express, shown(OrderState.ACCEPTED))
    assert network.call("accept", "o1", "loc", 7) is None
    for state in (OrderState.OPEN, OrderState.CANCELLED):
        network = kind(express, shown(state))
        with pytest.raises(public.OrderStatusError, match="express"):
            network.call("accept", "o1", "loc", 7)


@both
@pytest.mark.parametrize("name", ["set_as_ready", "set_as_not_ready", "request_voucher"])
def test_a_call_that_may_not_happen_twice_is_repeated_only_after_429(kind: Kind, name: str) -> None:
    for failure in (LOST, refusal(503, "unavailable"), refusal(409, "conflict")):
        network = kind(failure, OK)
        with pytest.raises((MarketplaceError, UnreachableError)):
            network.call(name, "o1")
        assert len(network.asked) == 1
    # A call answered with 429 was not processed, so it can be repeated.
    network = kind(refusal(429, "rate_limited", retry_after="7"), OK)
    network.call(name, "o1")
    assert network.pauses[0] >= 7


@both
def test_a_retry_after_is_waited_for_unless_it_is_too_long(kind: Kind) -> None:
    network = kind(refusal(503, "unavailable", retry_after="12"), shown(OrderState.OPEN))
    network.call("order", "o1")
    assert network.pauses == [12.0]
    network = kind(refusal(429, "rate_limited", retry_after="3600"))
    with pytest.raises(public.RateLimitedError) as refused:
        network.call("order", "o1")
    assert refused.value.retry_after_seconds == 3600
    network = kind(refusal(503, "unavailable", retry_after="Wed, 21 Oct 2026 07:28:00 GMT"), shown(OrderState.OPEN))
    network.call("order", "o1")
    assert network.pauses[0] <= 0.5


@both
@pytest.mark.parametrize(("status", "code"), [(401, "unauthorized"), (406, "not_acceptable"), (404, "order_error"),
                                              (422, "invalid_parameter")])  # fmt: skip
def test_a_permanent_error_is_raised_at_once_with_its_message(kind: Kind, status: int, code: str) -> None:
    network = kind(refusal(status, code, "Κάτι λείπει."))
    with pytest.raises(MarketplaceError, match="Κάτι λείπει") as refused:
        network.call("order", "o1")
    assert refused.value.messages == ["Κάτι λείπει."]
    assert type(refused.value) is ERRORS_BY_CODE[code]
    assert network.pauses == []


@both
def test_nothing_shows_the_token(kind: Kind) -> None:
    network = kind(refusal(401, "unauthorized"))
    with pytest.raises(MarketplaceError) as refused:
        network.call("order", "o1")
    client = Client("http://market", "secret", transport=Sync())
    aside = AsyncClient("http://market", "secret", transport=Async())
    assert "secret" not in repr(client) + repr(aside) + repr(refused.value) + str(refused.value)


def test_there_is_one_exception_class_for_each_code_that_a_shop_can_meet() -> None:
    """Left out: codes that only the operator can get, and codes of requests that our client never makes."""
    not_met = {"unreadable_body", "method_not_allowed", "body_too_large", "unsupported_media_type", "idempotency_key",
               "purchase_order_status", "return_webhook"}  # fmt: skip
    assert set(ERRORS_BY_CODE) == {answer.word for answer in ERRORS.values()} - not_met
    assert len(set(ERRORS_BY_CODE.values())) == len(ERRORS_BY_CODE)
    unknown = marketplace_error(418, [ErrorEntry(code="teapot", messages=["short"])], None)
    assert type(unknown) is MarketplaceError
    assert not marketplace_error(401, [ErrorEntry(code="purchase_order_error", messages=[])], None).may_pass


def _calls(kind: type) -> dict[str, list[str]]:
    return {
        name: list(inspect.signature(member).parameters)
        for name, member in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_")
    }


def test_the_client_without_an_event_loop_is_made_from_the_other_one() -> None:
    for source, target in MODULES.items():
        assert target.read_text("utf-8") == make_sync(source.read_text("utf-8"), target), "run make client"


def test_both_clients_have_the_same_listed_calls() -> None:
    assert _calls(Client) == _calls(AsyncClient)
    assert sorted(_calls(Client)) == [
        *(
            "accept",
            "all_orders",
            "all_purchase_orders",
            "all_return_requests",
            "all_suppliers",
            "all_warehouse_products",
        ),
        *("change_supplier", "close", "create_purchase_order", "create_supplier", "download", "order"),
        *("order_codes", "orders"),
        *("purchase_order_lines", "purchase_orders", "read_order", "read_orders"),
        *("read_return", "reject", "reject_lines"),
        *("relocate_pickup",),
        *("request_voucher", "reschedule_pickup", "return_request", "return_requests", "review", "set_as_not_ready"),
        *("set_as_ready", "suppliers", "tracking_details", "trigger_webhook", "upload_credit_invoice"),
        "upload_invoice",
        "warehouse_products",
    ]
    assert set(public.__all__) >= {"AsyncClient", "Client", "Retries", "MarketplaceError", "UnreachableError"}
    assert all(hasattr(public, name) for name in public.__all__)
    assert {kind.__name__ for kind in ERRORS_BY_CODE.values()} <= set(public.__all__)
    typed = Path(public.__file__).parents[1] / "py.typed"
    assert typed.exists()


@given(status=st.integers(100, 599), body=st.binary(max_size=60), after=st.text(max_size=6))
def test_any_invalid_answer_raises_an_error_of_the_client(status: int, body: bytes, after: str) -> None:
    network = Sync(*[HttpAnswer(status, body, {"retry-after": after})] * 4)
    with pytest.raises((MarketplaceError, UnreachableError)):
        network.call("order", "o1")


def test_pauses_are_random() -> None:
    def pauses(chance: Callable[[], float]) -> list[float]:
        network = Sync(LOST, LOST, LOST, shown(OrderState.OPEN))
        client = Client("http://market", "t", transport=network, sleep=network.pauses.append)
        client._flows._chance = chance
        client.order("o1")
        return network.pauses

    assert pauses(lambda: 0.0) == [0.25, 0.5, 1.0]
    assert pauses(lambda: 1.0) == [0.5, 1.0, 2.0]
