"""The table of all tools."""

from typing import Any, Final

from kalathi.mcp_server.pages import READ_PAGE, SEARCH_PAGES
from kalathi.mcp_server.tool import Tool, tool_of_route

_SHOP: Final = "/marketplace/shops/{shop_id}"
_NO_FAULTS: Final[dict[str, Any]] = {"rules": []}

TOOLS: Final[tuple[Tool, ...]] = (
    tool_of_route("list_shops", "GET", "/marketplace/shops"),
    tool_of_route("show_shop", "GET", _SHOP),
    tool_of_route("list_listings", "GET", f"{_SHOP}/listings"),
    tool_of_route("list_orders", "GET", "/marketplace/orders"),
    tool_of_route("show_order", "GET", "/marketplace/orders/{code}"),
    tool_of_route("list_returns", "GET", "/marketplace/returns"),
    tool_of_route("show_return", "GET", "/marketplace/returns/{code}"),
    tool_of_route("list_deliveries", "GET", "/marketplace/deliveries"),
    tool_of_route("show_delivery", "GET", "/marketplace/deliveries/{id}"),
    tool_of_route("list_requests", "GET", "/marketplace/requests"),
    tool_of_route("show_request", "GET", "/marketplace/requests/{id}"),
    tool_of_route("show_traffic", "GET", "/marketplace/traffic"),
    tool_of_route("list_scenarios", "GET", "/marketplace/scenarios"),
    tool_of_route("show_scenario", "GET", "/marketplace/scenarios/{name}"),
    tool_of_route("show_faults", "GET", "/marketplace/faults"),
    tool_of_route("show_shop_faults", "GET", f"{_SHOP}/faults"),
    tool_of_route("show_clock", "GET", "/marketplace/clock"),
    SEARCH_PAGES,
    READ_PAGE,
    tool_of_route("play_scenario", "POST", "/marketplace/scenarios/{name}", writes=True),
    tool_of_route("move_clock", "POST", "/marketplace/clock", writes=True),
    tool_of_route("set_faults", "PUT", "/marketplace/faults", writes=True),
    tool_of_route("set_shop_faults", "PUT", f"{_SHOP}/faults", writes=True),
    tool_of_route(
        "clear_faults",
        "PUT",
        "/marketplace/faults",
        fixed_body=_NO_FAULTS,
        description="Remove the fault rules of the marketplace. Rules of single shops stay.",
        writes=True,
    ),
    tool_of_route("clear_shop_faults", "DELETE", f"{_SHOP}/faults", writes=True),
    tool_of_route("resend_delivery", "POST", "/marketplace/deliveries/{id}/resend", writes=True, adds=True),
)
