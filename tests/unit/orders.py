"""Orders and facts for tests of the machine."""

from datetime import UTC, datetime
from decimal import Decimal

import msgspec

from kalathi.contract.codec import encode
from kalathi.contract.orders import Customer, LineItem
from kalathi.contract.requests import AcceptRequest
from kalathi.contract.words import Courier, OrderState, PaymentMethod
from kalathi.marketplace.couriers.windows import WindowSchedule
from kalathi.marketplace.kernel.settings import Settings
from kalathi.marketplace.orders.answer_checks import Offer
from kalathi.marketplace.orders.lines import OrderedLine
from kalathi.marketplace.orders.machine import Placement, place
from kalathi.marketplace.orders.model import Order, OrderFacts
from kalathi.marketplace.shops.model import Location

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
SETTINGS = Settings()
LOCATION = Location(
    id="YlpD0KROym", street_name="Σταδίου", street_number="1", zip="10562", city="Αθήνα", region="Αττική"
)
OFFER = Offer((LOCATION,), WindowSchedule("09-12,12-15,15-18", 3), [1, 2, 3])


FACTS = OrderFacts(
    shop_id="shop",
    cart_id="cart",
    courier=Courier.SKROUTZ_LAST_MILE,
    customer=msgspec.Raw(encode(Customer(first_name="Ελένη"))),
    payment_method=PaymentMethod.CARD,
)


def good_accept(now: datetime = NOW) -> AcceptRequest:
    """An accept of the first options."""
    return AcceptRequest(pickup_location=LOCATION.id, pickup_window=OFFER.schedule.offer_windows(now)[0].id)


def placement(*lines: tuple[str, str, int]) -> Placement:
    """Lines as (shop_uid, unit price, quantity)."""
    return Placement(
        code="261124-0000001",
        facts=FACTS,
        lines=[
            OrderedLine(
                LineItem(id="", shop_uid=uid, unit_price=Decimal(price), commission_rate=Decimal("8.34")), quantity
            )
            for uid, price, quantity in lines
        ],
        line_ids=[f"line{number}" for number in range(len(lines))],
    )


def open_order(*lines: tuple[str, str, int]) -> Order:
    """A fresh order; by default of two pieces of A and one of B."""
    return place(placement(*(lines or (("A", "10.40", 2), ("B", "25.00", 1)))), SETTINGS, NOW).order


def order_in(state: OrderState) -> Order:
    """An order whose state was simply set: for the table's illegal moves."""
    return msgspec.structs.replace(open_order(), state=state)
