"""The demo return (docs/contract.md#section-5). Every shop's token can read it, in production mode too, and it never
changes.

Its state is `returning`, so the machine refuses a review of it.
"""

from datetime import UTC, datetime
from typing import Final

from kalathi.contract.returns import ReturningAddress, ReturnLineItem
from kalathi.contract.words import Courier, ReturnReason, ReturnState
from kalathi.marketplace.returns.model import FoundReturn, Return
from kalathi.marketplace.shops.model import Shop

DEMO_RETURN_CODE: Final = "DEMO-RETURN"
DEMO_RETURN: Final = Return(
    return_code=DEMO_RETURN_CODE,
    return_uuid="demoreturn",
    shop_id="DEMO",
    order_code="DEMO-OPEN",
    state=ReturnState.RETURNING,
    created_at=datetime(2026, 1, 1, 10, 0, tzinfo=UTC),
    courier_tracking_ids=("DEMO-RET-TRACK-1", "DEMO-RET-TRACK-2"),
    courier=Courier.ACS,
    returning_address=ReturningAddress(
        street_name="Demo Shop", street_number="7", zip="18531", city="Piraeus", region="Attica", country_code="GR"
    ),
    return_line_items=(
        ReturnLineItem(
            id="demo-rli-1",
            ean="1234567890123",
            product_name="Demo return item",
            returning_quantity=1,
            return_reason=ReturnReason.DAMAGED_PRODUCT,
            user_comment="Demo customer comment about the return",
            user_photos=[
                "https://demo.scdn.gr/ds/ecommerce/return_request_line_item_images/demo-img-1.jpeg",
                "https://demo.scdn.gr/ds/ecommerce/return_request_line_item_images/demo-img-2.jpeg",
            ],
        ),
    ),
)


def demo_return(code: str, shop: Shop) -> FoundReturn | None:
    """Return the demo return, as a return of this shop, if the code is the demo return's; else None."""
    return FoundReturn(DEMO_RETURN, 1, shop) if code == DEMO_RETURN_CODE else None
