"""`/openapi.json` and `/docs`."""

from typing import Final

from kalathi.marketplace.api.calls import Call
from kalathi.marketplace.api.docs_page import POLICY
from kalathi.marketplace.web.context import Context
from kalathi.marketplace.web.reply import Reply

PAGE_HEADERS: Final = (
    (b"content-type", b"text/html; charset=utf-8"),
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
)


async def show_openapi(context: Context, call: Call) -> Reply:
    """Show the OpenAPI 3.1 document of all calls."""
    return Reply(200, context.description.document)


async def show_docs(context: Context, call: Call) -> Reply:
    """Show all calls as an HTML page."""
    return Reply(200, context.description.page, PAGE_HEADERS)
