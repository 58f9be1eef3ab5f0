"""Vouchers and uploads behind unguessable links: no token and no Accept header is needed (docs/decisions/0014)."""

from kalathi.marketplace.api.calls import Call
from kalathi.marketplace.couriers import store
from kalathi.marketplace.kernel.actors import API
from kalathi.marketplace.kernel.errors import DomainError, ErrorCode
from kalathi.marketplace.kernel.storage.changes import ChangeSet
from kalathi.marketplace.orders import commands
from kalathi.marketplace.orders import store as orders
from kalathi.marketplace.orders.facts import Facts
from kalathi.marketplace.orders.uploads import Upload, extension_of
from kalathi.marketplace.sandbox.demo_orders import DEMO_SHOP_ID, SAMPLE_LINK
from kalathi.marketplace.web.context import Context
from kalathi.marketplace.web.reply import PDF_HEADERS, SECRET_FILE, Reply


async def download_voucher(context: Context, call: Call) -> Reply:
    """Download the voucher as a PDF. If the shop is not enrolled in set-as-ready, this marks the order as ready
    (docs/contract.md#section-3).

    Raises NOT_FOUND.
    """
    shop_id, link = call.path["shop_id"], call.path["link"]
    if shop_id == DEMO_SHOP_ID and link == SAMPLE_LINK:
        return Reply(200, await context.sample.pdf(), PDF_HEADERS)

    def command(facts: Facts) -> tuple[ChangeSet, bytes]:
        voucher = store.voucher(facts.view, shop_id, link)
        if voucher is None:
            raise DomainError(ErrorCode.NOT_FOUND, "Voucher not found")
        found = orders.by_code(facts.view, voucher.code)
        recorded = found and commands.note_voucher_download(found, link, facts)
        return recorded.changes if recorded else ChangeSet(), voucher.pdf

    return Reply(200, await context.commands.acting_as(API).run(command), PDF_HEADERS)


async def download_upload(context: Context, call: Call) -> Reply:
    """Download the file behind an unguessable link. Browsers never show it as a page of this site. Raises NOT_FOUND."""
    name, _, extension = call.path["file"].rpartition(".")
    if call.path["shop_id"] == DEMO_SHOP_ID and call.path["file"] == f"{SAMPLE_LINK}.pdf":
        found: Upload | None = Upload("application/pdf", await context.sample.pdf())
    else:
        found = await context.database.read_point(lambda view: orders.upload(view, call.path["shop_id"], name))
    if found is None or extension_of(found.mime_type) != extension:
        raise DomainError(ErrorCode.NOT_FOUND, "File not found")
    headers = (
        (b"content-type", found.mime_type.encode()),
        (b"content-disposition", f'attachment; filename="document.{extension}"'.encode()),
        (b"content-security-policy", b"default-src 'none'; sandbox"),
        *SECRET_FILE,
    )
    return Reply(200, found.content, headers)
