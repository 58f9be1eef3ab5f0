"""The thirteen demo orders (docs/contract.md#section-5). Every shop's token can use them, in production mode too, and
they never change.

A demo order is a normal order that is not stored. The machine decides a call on it as on any other order, at the demo
order's fixed time, and the change set is dropped.
"""

from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from kalathi.contract.codec import encode
from kalathi.contract.orders import (
    Address,
    Customer,
    Fees,
    InvoiceAddress,
    InvoiceDetails,
    LineItem,
    OrderReturn,
    PickupWindow,
    RejectionInfo,
    Replacement,
    Size,
    VatExclusionRepresentative,
)
from kalathi.contract.words import IDENTITY_DOCUMENTS, OrderState, PaymentMethod
from kalathi.marketplace.kernel.money import commission_of, total
from kalathi.marketplace.orders.model import FoundOrder, Order
from kalathi.marketplace.shops.model import Location, Shop

DEMO_SHOP_ID: Final = "DEMO"
# The name of the link under which every document of a demo order is the same sample PDF.
SAMPLE_LINK: Final = "sample"
TRACKING_CODES: Final = ("123456789",)
_RATE: Final = Decimal("8.34")

_PLACES: Final = (
    Location(
        id="Y5jVmgKmeX", street_name="Πανεπιστημίου", street_number="2", zip="12345", city="Αθήνα", region="Αττική"
    ),
    Location(id="3XlV8ebjxm", street_name="Σταδίου", street_number="1", zip="12345", city="Αθήνα", region="Αττική"),
)
_SHOP: Final = Shop(id=DEMO_SHOP_ID, name="Demo", domain="demo.example", locations=_PLACES)
_STORE: Final = replace(_SHOP, id=f"{DEMO_SHOP_ID}-STORE", locations=_PLACES[:1])

_ADDRESS: Final = Address(
    street_name="Πανεπιστημίου",
    street_number="4",
    floor="1ος όροφος",
    zip="12345",
    city="Αθήνα",
    region="Αττικής",
    country_code="GR",
)
_CUSTOMER: Final = Customer(id="user1234", first_name="John", last_name="Doe", address=_ADDRESS)
_COMPANYS_CUSTOMER: Final = replace(_CUSTOMER, phone="2109999999", mobile="(+30) 6999999999")
_COMPANY: Final = InvoiceDetails(
    company="ACME",
    profession="Internet Services",
    vat_number="111119191",
    doy="ΙΒ Αθηνών",
    address=InvoiceAddress(street_name="Πανεπιστημίου", street_number="4", zip="12345", city="Αθήνα", region="Αττικής"),
)


def _line(line: LineItem) -> LineItem:
    total_price = line.unit_price * line.quantity
    return replace(line, total_price=total_price, commission=commission_of(total_price, line.commission_rate))


_SWIMSUIT: Final = _line(
    LineItem(
        id="Y5jVmgKmeX",
        shop_uid="405753",
        shop_variation_uid="40575312-14",
        product_name="Adidas Performance Badge of Sport Swimsuit PS/GS",
        quantity=2,
        size=Size(
            label="Ηλικία",
            value="14 χρονών",
            shop_value="12-14",
            shop_variation_uid="40575312-14",
            ean="1234567890321",
        ),
        unit_price=Decimal("17.99"),
        commission_rate=_RATE,
        ean="1234567890123",
        tags=["plus_deal", "price_optimizer"],
    )
)
_PHONE: Final = _line(
    LineItem(
        id="3XlV8ebjxm",
        shop_uid="10",
        product_name="Smartphone 123",
        quantity=2,
        unit_price=Decimal("100.00"),
        commission_rate=_RATE,
        tags=["coupon_deal"],
    )
)
_LENSES: Final = _line(
    LineItem(
        id="ZvEKMxbxr1",
        shop_uid="768",
        product_name="AIR OPTIX COLORS ΜΗΝΙΑΙΟΙ",
        quantity=2,
        unit_price=Decimal("25.50"),
        commission_rate=_RATE,
        extra_info="Χρώμα: Πράσινο\nΒαθμοί SPH: -6.50",
        tags=["two_plus_deal"],
    )
)
_ONE_SWIMSUIT: Final = _line(
    LineItem(
        id="Y5jVmgKmeX",
        shop_uid="405753",
        product_name="Adidas Performance Badge of Sport Swimsuit",
        quantity=1,
        unit_price=Decimal("17.99"),
        commission_rate=_RATE,
        ean="1234567890123",
    )
)
_THREE: Final = (_SWIMSUIT, _PHONE, _LENSES)
_WITH_SERIALS: Final = (_SWIMSUIT, replace(_PHONE, serial_numbers="SN12345,SN56789"), _LENSES)

_CLOSED: Final = RejectionInfo(reason="Το κατάστημά μας είναι κλειστό για προσωπικούς λόγους", actor="merchant")
_FEES: Final = Fees(
    handling_fee=Decimal("1.50"),
    skroutz_coins_fee=Decimal("2.00"),
    installments_fee=Decimal("3.50"),
    plus_user_fee=Decimal("1.00"),
)
# The lines of the order with returns have their own ids, which are also the ids of the returns.
_RETURNED: Final = (
    replace(_SWIMSUIT, id="KmdDmkl0xb"),
    replace(_PHONE, id="xWMlznlYJR"),
    replace(_LENSES, id="RN4rJ9l8KE"),
)
_RETURNS: Final = (
    OrderReturn(return_uuid=_RETURNED[0].id, tracking_ids=["9WDEE48L66D7Y"]),
    OrderReturn(return_uuid=_RETURNED[1].id, tracking_ids=["94GO8X0Q2PD6J", "94GO8X0Q2PD6K"]),
)
_ACCEPTED: Final[dict[str, Any]] = {
    "state": OrderState.ACCEPTED,
    "pickup_location_id": _PLACES[0].id,
    "pickup_window": PickupWindow(
        start=datetime.fromisoformat("2021-06-24T15:00:00+03:00"),
        end=datetime.fromisoformat("2021-06-24T18:00:00+03:00"),
    ),
    "pickup_address": _PLACES[0].label(),
    "number_of_parcels": 1,
}


class DemoOrders:
    """The demo orders of one marketplace. Their links lead to its sample document."""

    def __init__(self, public_url: str) -> None:
        voucher = f"{public_url}/vouchers/{DEMO_SHOP_ID}/{SAMPLE_LINK}.pdf"
        document = f"{public_url}/uploads/{DEMO_SHOP_ID}/{SAMPLE_LINK}.pdf"
        self._orders = {order.code: order for order in _orders(voucher, document)}
        self._found = {
            code: FoundOrder(encode(order), 1, _STORE if order.store_pickup else _SHOP)
            for code, order in self._orders.items()
        }

    def find(self, code: str) -> FoundOrder | None:
        """The demo order of this code, or None."""
        return self._found.get(code)

    def codes(self) -> list[str]:
        """Return the codes of all demo orders."""
        return list(self._found)


def stands_at(found: FoundOrder) -> datetime:
    """Return a demo order's fixed time. It is the time of its placing, so that an open one can be answered."""
    return found.order.created_at


def _orders(voucher: str, document: str) -> list[Order]:
    carried = {"courier_voucher": voucher, "courier_tracking_codes": TRACKING_CODES}
    return [
        _order("OPEN", _THREE),
        _order("ACCEPTED", _THREE, **_ACCEPTED, **carried, uploaded_invoice_file=document),
        _order("REJECTED", _THREE, state=OrderState.REJECTED, rejection_info=_CLOSED),
        *_companies_orders(),
        *_warehouse_orders(document),
        _order("STORE-PICKUP", (_SWIMSUIT,), store_pickup=True, courier=None, dispatch_until=None),
        _order("FEES", (replace(_ONE_SWIMSUIT, tags=["cc_installments"]),), **_ACCEPTED, **carried, fees=_FEES),
        _order(
            "REPLACEMENT",
            (_ONE_SWIMSUIT,),
            **_ACCEPTED,
            comments="",
            replacements=(Replacement(code="DEMO-REPLACEMENT-1", type="from_service"),),
        ),
        _order("REPLACED", (_ONE_SWIMSUIT,), comments="", replaced="DEMO-REPLACED-1"),
        _order(
            "RETURN",
            _RETURNED,
            **_ACCEPTED | {"number_of_parcels": 2, "pickup_address": "Αλέκου Παναγούλη 91, Τ.Κ 14234, Νέα Ιωνία"},
            **carried,
            uploaded_invoice_file=document,
            returns=_RETURNS,
        ),
    ]


def _companies_orders() -> list[Order]:
    two_swimsuits = _line(replace(_ONE_SWIMSUIT, quantity=2))
    one_phone = _line(replace(_PHONE, quantity=1, commission_rate=Decimal("9.28"), tags=UNSET))
    without_vat = tuple(replace(line, price_includes_vat=False) for line in (two_swimsuits, one_phone))
    by_39a = replace(
        _COMPANY,
        vat_exclusion_requested=True,
        vat_exclusion_representative=VatExclusionRepresentative(
            id_type=IDENTITY_DOCUMENTS[1], id_number="12345", otp="123456"
        ),
    )
    by_vies = replace(_COMPANY, company="ACME EU", vat_number="DE111119191", vat_exclusion_requested=True)
    lines_39a = (_SWIMSUIT, replace(_PHONE, price_includes_vat=False), _LENSES)
    return [
        _make_invoice_order("INVOICE", _THREE, "invoice", _COMPANY),
        _make_invoice_order("INVOICE39A", lines_39a, "invoice_39a", by_39a, commission=Decimal(0)),
        _make_invoice_order("INVOICE-VIES", without_vat, "invoice_vies", by_vies, **_ACCEPTED),
    ]


def _warehouse_orders(document: str) -> list[Order]:
    stored: dict[str, Any] = {
        "fulfilled_by_skroutz": True,
        "courier_tracking_codes": TRACKING_CODES,
        "fees": Fees(fbs_fee=Decimal("1.20")),
    }
    note = {"fbs_delivery_note": "ΤΛΑΠΟ0454022", "fbs_delivery_note_url": document}
    return [
        _order("FBS", _WITH_SERIALS, state=OrderState.ACCEPTED, **stored),
        _order("FBS-DISPATCHED", _WITH_SERIALS, state=OrderState.DISPATCHED, **stored, **note),
    ]


def _order(name: str, lines: tuple[LineItem, ...], **facts: Any) -> Order:
    usual: dict[str, Any] = {
        "customer": msgspec.Raw(encode(_CUSTOMER)),
        "comments": "Παράδοση στο γραφείο",
        "state": OrderState.OPEN,
        "courier": "CourierCenter",
        "dispatch_until": _at("2021-06-28T13:08:30+03:00"),
        "commission": total(line.commission for line in lines),
    }
    return Order(
        code=f"DEMO-{name}",
        shop_id=DEMO_SHOP_ID,
        cart_id=DEMO_SHOP_ID,
        payment_method=PaymentMethod.CARD,
        line_items=msgspec.Raw(encode(list(lines))),
        created_at=_at("2021-06-24T13:08:30+03:00"),
        expires_at=_at("2021-06-25T13:08:30+03:00"),
        **(usual | facts),
    )


def _make_invoice_order(
    name: str, lines: tuple[LineItem, ...], document: str, details: InvoiceDetails, **facts: Any
) -> Order:
    return _order(
        name,
        lines,
        customer=msgspec.Raw(encode(_COMPANYS_CUSTOMER)),
        invoice=True,
        invoice_document=document,
        invoice_details=details,
        **facts,
    )


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text)
