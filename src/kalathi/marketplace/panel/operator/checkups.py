"""The page of a shop's checkup: the report of the last run, live while it runs, and the progress of recipes."""

from typing import Any, TypeVar

import msgspec

from kalathi.marketplace.kernel.errors import DomainError, ErrorCode, refuse
from kalathi.marketplace.kernel.storage.database import View
from kalathi.marketplace.panel.operator.overview import mark_place
from kalathi.marketplace.panel.pages import Answer, See, Shown
from kalathi.marketplace.panel.refusals import NoSuchPage
from kalathi.marketplace.panel.visits import Visit
from kalathi.marketplace.sandbox import store
from kalathi.marketplace.sandbox.checkup_report import Report
from kalathi.marketplace.sandbox.recipes import Progress
from kalathi.marketplace.shops.commands import find_shop

T = TypeVar("T")


async def show_checkup(visit: Visit) -> Answer:
    """Show the report and the recipes of a shop."""
    _check_sandbox(visit)
    shop_id = visit.parts["shop_id"]

    def query(view: View) -> dict[str, Any]:
        shop = find_shop(view, shop_id)
        report = store.load_document(view, shop.id, store.CHECKUP)
        recipes = [_decode(document, Progress) for document in store.load_documents(view, shop.id, store.RECIPE)]
        return {
            "shop": shop,
            "report": None if report is None else _decode(report, Report),
            "recipes": [progress for progress in recipes if progress is not None],
        }

    content = await visit.context.database.read_list(query)
    can_start = visit.context.start_checkup is not None and visit.context.request_log is not None
    return Shown("operator/checkup.html", content | {"seen": mark_place(visit, "checkup"), "can_start": can_start})


async def start_checkup(visit: Visit) -> Answer:
    """Start a checkup of the shop's integration in the background. The page follows it."""
    _check_sandbox(visit)
    shop_id = visit.parts["shop_id"]
    start = visit.context.start_checkup
    if start is None:
        raise DomainError(ErrorCode.NOT_FOUND, NoSuchPage())
    shop = await visit.context.database.read(lambda view: find_shop(view, shop_id))
    await start(shop.id)
    return See(f"/operator/shops/{shop.id}/checkup", done="checkup")


def _decode(document: bytes, kind: type[T]) -> T | None:
    """Decode a stored document; None if another version of Kalathi wrote it in another form."""
    try:
        return msgspec.json.decode(document, type=kind)
    except msgspec.ValidationError:
        return None


def _check_sandbox(visit: Visit) -> None:
    if visit.context.terms.settings.mode != "sandbox":
        raise refuse(NoSuchPage())
