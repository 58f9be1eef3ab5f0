"""The two shops of the demo, their products and stock, and the customers."""

from typing import Any, Final, NamedTuple


class DemoShop(NamedTuple):
    """A shop with its listings (the quantities that the marketplace knows) and its shelf (the real quantities)."""

    name: str
    domain: str
    location: dict[str, str]
    listings: list[dict[str, Any]]
    shelf: dict[str, int]


BOOKS: Final = DemoShop(
    name="Βιβλία Αθηνά",
    domain="athina.example",
    location={
        "street_name": "Σταδίου",
        "street_number": "1",
        "zip": "10562",
        "city": "Αθήνα",
        "region": "Αττική",
    },
    listings=[
        {
            "shop_uid": "BOOK-ODYSSEY",
            "product_name": "Ομήρου Οδύσσεια",
            "unit_price": 18.90,
            "commission_rate": 9.28,
            "quantity": 500,
            "ean": "9789601234567",
        },
        {
            "shop_uid": "PEN-BLUE",
            "product_name": "Στυλό μπλε, 10 τεμάχια",
            "unit_price": 4.35,
            "commission_rate": 8.34,
            "quantity": 500,
        },
    ],
    shelf={"BOOK-ODYSSEY": 400, "PEN-BLUE": 400},
)

ELECTRONICS: Final = DemoShop(
    name="Ηλεκτρονικά Ερμής",
    domain="ermis.example",
    location={
        "street_name": "Τσιμισκή",
        "street_number": "45",
        "zip": "54623",
        "city": "Θεσσαλονίκη",
        "region": "Θεσσαλονίκη",
    },
    listings=[
        {
            "shop_uid": "MEM-64",
            "product_name": "USB Stick 64GB",
            "unit_price": 10.40,
            "commission_rate": 8.34,
            "quantity": 500,
        },
        {
            "shop_uid": "CABLE-C",
            "product_name": "Καλώδιο USB-C 2 m",
            "unit_price": 7.99,
            "commission_rate": 8.34,
            "quantity": 500,
        },
    ],
    # The listing says 500 sticks, but there is only one on the shelf.
    shelf={"MEM-64": 1, "CABLE-C": 400},
)

CUSTOMERS: Final[tuple[dict[str, Any], ...]] = (
    {
        "first_name": "Ελένη",
        "last_name": "Παπαδοπούλου",
        "address": {
            "street_name": "Ερμού",
            "street_number": "12",
            "floor": "2ος όροφος",
            "zip": "10563",
            "city": "Αθήνα",
            "region": "Αττική",
            "country_code": "GR",
        },
    },
    {
        "first_name": "Γιώργος",
        "last_name": "Οικονόμου",
        "address": {
            "street_name": "Αγίου Δημητρίου",
            "street_number": "7",
            "floor": "ισόγειο",
            "zip": "54632",
            "city": "Θεσσαλονίκη",
            "region": "Θεσσαλονίκη",
            "country_code": "GR",
        },
    },
)
