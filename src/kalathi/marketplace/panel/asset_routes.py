"""The routes of the assets: scripts, the style sheet, and the icon."""

from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from kalathi.marketplace.panel.rendering import assets, assets_version

_FOR_EVER: Final = "public, max-age=31536000, immutable"


async def _show_asset(request: Request) -> Response:
    """Serve an asset. Browsers may cache it only under the URL of the current version."""
    found = assets().get(request.path_params["name"])
    if found is None:
        raise HTTPException(404)
    is_current = request.path_params["version"] == assets_version()
    headers = {"cache-control": _FOR_EVER if is_current else "no-store", "x-content-type-options": "nosniff"}
    return Response(found.content, 200, headers, found.media_type)


async def _show_icon(_request: Request) -> Response:
    """Serve the icon for documents without a page around them, such as a voucher in its own tab."""
    icon = assets()["basket.svg"]
    return Response(icon.content, 200, {"cache-control": "public, max-age=86400"}, icon.media_type)


ASSET_ROUTES: Final = (
    Route("/assets/{version}/{name}", _show_asset, methods=["GET"]),
    Route("/favicon.ico", _show_icon, methods=["GET"]),
)
