"""A sample webhook for a shop's URL: that of a demo order or of the demo return. It is sent like any webhook, but it is
not retried and not in the delivery log."""

from typing import Final, NamedTuple

from kalathi.contract.signatures import sign_headers
from kalathi.marketplace.kernel.clock import real_millis
from kalathi.marketplace.kernel.errors import refuse
from kalathi.marketplace.kernel.ids import opaque_id
from kalathi.marketplace.orders.refusals import OrderNotFound
from kalathi.marketplace.sandbox import return_triggers, triggers
from kalathi.marketplace.shops import store
from kalathi.marketplace.shops.model import Shop
from kalathi.marketplace.web.context import Context

_SENT_ORDER: Final = "DEMO-OPEN"


class SampleWebhook(NamedTuple):
    """The body of a sample webhook, and the headers of its signatures."""

    body: bytes
    headers: dict[str, str]


async def render_sample(context: Context, shop: Shop, *, is_return: bool) -> SampleWebhook:
    """Render the sample, signed with the shop's secrets. Raises ORDER_NOT_FOUND in production without demo orders."""
    now = context.clock.now()
    if is_return:
        body = return_triggers.sample_body(context.terms.settings, now)
    else:
        found = context.demo.find(_SENT_ORDER)
        if found is None:
            raise refuse(OrderNotFound())
        body = triggers.sample_body(found, context.terms, now)
    live = await context.database.read(lambda view: list(store.signing_secrets(view, shop.id).values()))
    return SampleWebhook(body, sign_headers(live, f"test-{opaque_id()}", real_millis() // 1000, body))
