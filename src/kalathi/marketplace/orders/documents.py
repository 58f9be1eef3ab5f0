"""The content of an order's documents: its voucher, and the delivery note of an order from the warehouse."""

from collections.abc import Iterable
from datetime import datetime

from msgspec import UNSET

from kalathi.contract.orders import Customer
from kalathi.contract.words import PaymentMethod
from kalathi.marketplace.couriers.letters import printable, shorten, unreadable_letters
from kalathi.marketplace.couriers.printing import Party
from kalathi.marketplace.couriers.tracking import tracking_codes
from kalathi.marketplace.couriers.vouchers import VoucherFacts
from kalathi.marketplace.kernel.clock import athens
from kalathi.marketplace.kernel.money import total
from kalathi.marketplace.orders.model import FoundOrder, Order
from kalathi.marketplace.orders.terms import Terms
from kalathi.marketplace.warehouse.delivery_notes import NoteFacts, NoteLine, note_number


def voucher_facts(found: FoundOrder, now: datetime) -> VoucherFacts:
    """Return the content of an accepted order's voucher."""
    order, shop = found.order, found.shop
    location = shop.location(order.pickup_location_id or "")
    collects = order.payment_method is PaymentMethod.CASH_ON_DELIVERY
    return VoucherFacts(
        order_code=order.code,
        courier=str(order.courier),
        sender=_party(
            shop.name,
            # The shop has changed or removed the location since.
            (order.pickup_address or "",)
            if location is None or location.label() != order.pickup_address
            else (
                f"{location.street_name} {location.street_number}",
                f"{location.zip} {location.city}, {location.region}",
            ),
        ),
        recipient=recipient_of(order),
        tracking_codes=tracking_codes(
            str(order.courier), order.code, order.number_of_parcels or 1, order.tracking_codes_issued
        ),
        collect=str(total(line.total_price for line in order.lines())) if collects else "",
        made_at=now,
    )


def recipient_of(order: Order) -> Party:
    """Return the recipient in printable form, for documents."""
    return _recipient(order.recipient())


def unreadable_address(order: Order) -> str:
    """Return the letters of the recipient's name and address that a label cannot print. If there are any, a person
    must write the address by hand."""
    recipient = recipient_of(order)
    return unreadable_letters(recipient.name, *recipient.lines)


def _party(name: str, lines: Iterable[str]) -> Party:
    return Party(name=shorten(printable(name)), lines=tuple(line for text in lines if (line := printable(text))))


def _recipient(customer: Customer) -> Party:
    address = customer.address
    name = f"{customer.first_name} {customer.last_name}".strip()
    if address.pickup_from_collection_point and address.collection_point_address is not UNSET:
        return _party(name, (address.collection_point_address,))
    street = f"{address.street_name} {address.street_number}".strip()
    lines = (
        f"{street}, {address.floor}" if address.floor else street,
        f"{address.zip} {address.city}, {address.region}",
        address.country_code,
    )
    return _party(name, (line for line in lines if line.strip(" ,")))


def note_facts(found: FoundOrder, terms: Terms, now: datetime) -> NoteFacts:
    """Return the content of the delivery note of an order from the warehouse."""
    order, place = found.order, terms.warehouse_address
    return NoteFacts(
        number=note_number(order.code),
        order_code=order.code,
        sender=Party(
            name="Kalathi",
            lines=(f"{place.street_name} {place.street_number}", f"{place.zip} {place.city}, {place.region}"),
        ),
        on_behalf_of=printable(found.shop.name),
        recipient=recipient_of(order),
        lines=tuple(
            NoteLine(
                shop_uid=printable(line.shop_uid),
                product_name=printable(line.product_name),
                quantity=line.quantity,
                serial_numbers=printable(line.serial_numbers or ""),
            )
            for line in order.lines()
        ),
        made_on=f"{athens(now):%d/%m/%Y}",
        made_at=now,
    )
