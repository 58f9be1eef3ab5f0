"""The receipt of purchase orders at the marketplace's warehouse."""

from typing import Any

from kalathi.marketplace.kernel.storage.changes import ChangeSet
from kalathi.marketplace.kernel.storage.database import View
from kalathi.marketplace.panel.forms import read_as
from kalathi.marketplace.panel.pages import Answer, See, Shown
from kalathi.marketplace.panel.visits import Visit
from kalathi.marketplace.shops import commands as shop_commands
from kalathi.marketplace.warehouse import commands
from kalathi.marketplace.warehouse.model import Receive


async def show_purchase_order(visit: Visit) -> Answer:
    """Show a purchase order, and the form for the received quantities."""

    def query(view: View) -> dict[str, Any]:
        found = commands.any_purchase_order(view, visit.parts["code"])
        return {"order": found.purchase_order, "shop": shop_commands.find_shop(view, found.shop_id)}

    content = await visit.context.database.read(query)
    more = {"problems": visit.problems, "given": visit.form.given}
    return Shown("operator/purchase_order.html", content | more)


async def receive(visit: Visit) -> Answer:
    """Receive the goods in the counted quantities. Raises PURCHASE_ORDER_STATUS, INVALID_PARAMETER."""
    code, counted = visit.parts["code"], read_as(visit.form.nested(), Receive)

    def command(view: View) -> tuple[ChangeSet, None]:
        return commands.receive_goods(view, code, counted, visit.context.clock.now())[0], None

    await visit.context.database.run(command)
    return See(f"/operator/purchase-orders/{code}", done="received")
