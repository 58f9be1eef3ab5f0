"""What the documents of an order say: its voucher, and the delivery note of one from the warehouse."""

from datetime import datetime

from msgspec import UNSET

from kalathi.contract.orders import Customer
from kalathi.contract.words import PaymentMethod
from kalathi.marketplace.couriers.printing import Party
from kalathi.marketplace.couriers.tracking import tracking_codes
from kalathi.marketplace.couriers.vouchers import VoucherFacts
from kalathi.marketplace.kernel.clock import athens
from kalathi.marketplace.kernel.money import total
from kalathi.marketplace.orders.model import FoundOrder
from kalathi.marketplace.orders.terms import Terms
from kalathi.marketplace.warehouse.delivery_notes import NoteFacts, NoteLine, note_number


def voucher_facts(found: FoundOrder, now: datetime) -> VoucherFacts:
    """What the voucher of an accepted order says."""
    order, shop = found.order, found.shop
    location = shop.location(order.pickup_location_id or "")
    collects = order.payment_method is PaymentMethod.CASH_ON_DELIVERY
    return VoucherFacts(
        order_code=order.code,
        courier=str(order.courier),
        sender=Party(
            name=shop.name,
            lines=()
            if location is None
            else (
                f"{location.street_name} {location.street_number}",
                f"{location.zip} {location.city}, {location.region}",
            ),
        ),
        recipient=_recipient(order.recipient()),
        tracking_codes=tracking_codes(
            str(order.courier), order.code, order.number_of_parcels or 1, order.tracking_codes_issued
        ),
        collect=str(total(line.total_price for line in order.lines())) if collects else "",
        made_at=now,
    )


def _recipient(customer: Customer) -> Party:
    address = customer.address
    name = f"{customer.first_name} {customer.last_name}".strip()
    if address.pickup_from_collection_point and address.collection_point_address is not UNSET:
        return Party(name=name, lines=(address.collection_point_address,))
    street = f"{address.street_name} {address.street_number}".strip()
    lines = (
        f"{street}, {address.floor}" if address.floor else street,
        f"{address.zip} {address.city}, {address.region}",
        address.country_code,
    )
    return Party(name=name, lines=tuple(line for line in lines if line.strip(" ,")))


def note_facts(found: FoundOrder, terms: Terms, now: datetime) -> NoteFacts:
    """What the delivery note of an order from the warehouse says."""
    order, place = found.order, terms.warehouse_address
    return NoteFacts(
        number=note_number(order.code),
        order_code=order.code,
        sender=Party(
            name="Kalathi",
            lines=(f"{place.street_name} {place.street_number}", f"{place.zip} {place.city}, {place.region}"),
        ),
        on_behalf_of=found.shop.name,
        recipient=_recipient(order.recipient()),
        lines=tuple(
            NoteLine(
                shop_uid=line.shop_uid,
                product_name=line.product_name,
                quantity=line.quantity,
                serial_numbers=line.serial_numbers or "",
            )
            for line in order.lines()
        ),
        made_on=f"{athens(now):%d/%m/%Y}",
        made_at=now,
    )
