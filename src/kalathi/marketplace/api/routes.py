"""The route table: every call of the marketplace, once. Routing and the API's descriptions are generated from it."""

from typing import Final

from kalathi.marketplace.api import description, files, sandbox, watching
from kalathi.marketplace.api.merchant_routes import MERCHANT_ROUTES
from kalathi.marketplace.api.operator_routes import OPERATOR_ROUTES
from kalathi.marketplace.api.route import WAIT, Access, Route
from kalathi.marketplace.api.sandbox_routes import SANDBOX_ROUTES
from kalathi.marketplace.kernel.errors import ErrorCode

_E = ErrorCode

ROUTES: Final[tuple[Route, ...]] = (
    *MERCHANT_ROUTES,
    *OPERATOR_ROUTES,
    *SANDBOX_ROUTES,
    Route(Access.PUBLIC, "GET", "/ip_ranges.json", sandbox.show_ip_ranges, None, sandbox.IpRanges),
    Route(Access.PUBLIC, "GET", "/healthz", watching.show_alive, None, watching.Health),
    Route(
        Access.PUBLIC,
        "GET",
        "/readyz",
        watching.show_ready,
        None,
        watching.Health,
        (_E.UNAVAILABLE, _E.INVALID_PARAMETER),
        (WAIT,),
    ),
    Route(Access.MONITOR, "GET", "/metrics", watching.show_metrics, None, str),
    Route(Access.PUBLIC, "GET", "/openapi.json", description.show_openapi, None, dict),
    Route(Access.PUBLIC, "GET", "/docs", description.show_docs, None, str),
    Route(
        Access.PUBLIC,
        "GET",
        "/vouchers/{shop_id}/{link}.pdf",
        files.download_voucher,
        None,
        bytes,
        (_E.NOT_FOUND, _E.CONFLICT),
    ),
    Route(Access.PUBLIC, "GET", "/uploads/{shop_id}/{file}", files.download_upload, None, bytes, (_E.NOT_FOUND,)),
)
