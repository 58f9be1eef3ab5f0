"""Hostile addresses and forms get an error page, never a server error. Random forms print their seed."""

import random
from pathlib import Path
from urllib.parse import quote

import pytest

from kalathi.marketplace.panel.pages import Page, Who
from tests.market import OPERATOR_TOKEN, open_market
from tests.panel.visitor import Visitor
from tests.panel.world import World, fill_shop, pages_of

pytestmark = pytest.mark.anyio

# As they travel: percent signs of the encoding included.
VALUES = (
    *("%00", "a%00b", "%ED%A0%80", "%FF", "%25s", "%25%28x%29s", "%25", "..%2F", quote("'"), quote('"><script>')),
    *("9" * 400, "-1", "1e999", "NaN", quote("٣"), quote("²"), quote("😀") * 50, "0", "1.5", "null", "2026-99-99"),
    *(quote("2026-11-24T10:00:00+99:99"), quote("0001-01-01T00:00:00+14:00"), ".", "a.b.99999999999", "{{7*7}}"),
)
ASKED = (
    "state",
    "code",
    "page",
    "shop",
    "shop_id",
    "subject",
    "event_type",
    "since",
    "then",
    "language",
    "seen",
    "done",
)
FIELDS = (
    *("name", "domain", "webhook_url", "street_name", "shop_uid", "product_name", "unit_price", "quantity", "reason"),
    *("items[0][quantity]", "items[0][shop_uid]", "line_items[0][id]", "line_items[0][quantity]", "hours", "type"),
    *("line_items[0][product_uid]", "line_items[0][expected_quantity]", "line_items[0][actual_quantity]", "option"),
    *("comment", "proposed_part_url", "pickup_window", "pickup_location", "number_of_parcels", "supplier_id", "code"),
    *("expected_date", "first_name", "courier", "tracking_id", "step", "scenario", "trigger", "shop_id", "company"),
    *("rejection_reason_other", "reschedule_date", "payment_method", "commission_rate", "accepted", "which", "virtual"),
)
# These change the session; the sign-in tests cover them.
_LEFT_OUT = ("api_token", "sign-out")


def _somewhere(page: Page, world: World) -> str:
    return world.paths(page)[0]


async def test_no_address_or_form_causes_a_server_error(tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    async with open_market(tmp_path) as market:
        world = await fill_shop(market, "First")
        for who, token, forms in (
            (Who.SHOP, world.shop.token, "/shop/settings"),
            (Who.OPERATOR, OPERATOR_TOKEN, "/operator/shops"),
        ):
            visitor = Visitor(market)
            await visitor.sign_in(token)
            failed = []
            for page in pages_of(who):
                for value in VALUES:
                    query = "&".join(f"{name}={value}" for name in chance.sample(ASKED, 3))
                    for path in (f"{_somewhere(page, world)}?{query}", f"{_somewhere(page, world)}?state={value}"):
                        answer = await visitor.request("GET", path)
                        failed += [path] if answer.status >= 500 else []
            form_token = (await visitor.get(forms)).forms[0].values["form_token"]
            for page in pages_of(who, method="POST"):
                if page.file is not None or page.path.endswith(_LEFT_OUT):
                    continue
                for value in VALUES:
                    for names in (FIELDS, chance.sample(FIELDS, 4), ("line_items", "line_items[0][id]")):
                        sent = "&".join([f"form_token={form_token}", *(f"{name}={value}" for name in names)])
                        kind = {"Content-Type": "application/x-www-form-urlencoded"}
                        answer = await visitor.request("POST", _somewhere(page, world), sent.encode(), kind)
                        failed += [f"{page.path} {value} {names[:4]}"] if answer.status >= 500 else []
            assert failed == []


async def test_a_refusal_quotes_the_input_unchanged(tmp_path: Path) -> None:
    """A percent sign in a message is not a placeholder."""
    async with open_market(tmp_path) as market:
        world = await fill_shop(market, "First")
        visitor = Visitor(market)
        await visitor.sign_in(OPERATOR_TOKEN)
        page = await visitor.get(f"/operator/cart?shop={world.shop.id}")
        sent = {"items[0][shop_uid]": "100%s %(path)s {{ 7 * 7 }}", "items[0][quantity]": "1"}
        refused = await visitor.submit(page, "/operator/cart", sent)
        assert refused.status == 422
        assert "The shop does not sell 100%s %(path)s {{ 7 * 7 }}." in refused.text
