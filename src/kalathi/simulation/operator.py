"""A client of the operator's API for programs with an event loop."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote

import msgspec
import niquests

from kalathi.contract.codec import encode
from kalathi.merchant.client.network import environment
from kalathi.operator_calls import add_query, find_wait, read_refusal, report_stranger, report_unreachable

_SECONDS: Final = 30.0
_PART_BYTES: Final = 65_536


class OperatorClient:
    """Plain JSON in and out, with the operator's token."""

    def __init__(self, url: str, token: str, *, uses_proxy: bool = False) -> None:
        """With `uses_proxy`, calls to another machine use the proxy of the environment."""
        self.url = url.rstrip("/")
        self._uses_proxy = uses_proxy
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._session = niquests.AsyncSession(disable_http3=True)
        self._session.trust_env = False  # Otherwise the library reads `.netrc`.

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, object] | None = None,
        seconds: float = _SECONDS,
    ) -> dict[str, Any]:
        """Run any call of the operator's API and return its answer. Members of the query that are None are left out.
        `seconds` is the time limit, to which a `wait` of the query is added. Raises OperatorError."""
        return await self._call(method, add_query(path, query), body, seconds=seconds + find_wait(query))

    async def add_shop(self, shop: dict[str, Any]) -> tuple[str, str]:
        """Create a shop. Return its id and its API token."""
        answer = await self._call("POST", "/marketplace/shops", shop)
        return answer["shop"]["id"], answer["api_token"]

    async def shops(self) -> list[dict[str, Any]]:
        """Every shop."""
        shops: list[dict[str, Any]] = (await self._call("GET", "/marketplace/shops"))["shops"]
        return shops

    async def change_shop(self, shop_id: str, changes: dict[str, Any]) -> None:
        """Change the named settings."""
        await self._call("PATCH", f"/marketplace/shops/{shop_id}", changes)

    async def renew_token(self, shop_id: str) -> str:
        """Replace the shop's API token and return the new one. The old token stops working immediately."""
        token: str = (await self._call("POST", f"/marketplace/shops/{shop_id}/api_token"))["api_token"]
        return token

    async def listings(self, shop_id: str) -> list[dict[str, Any]]:
        """The shop's listings, with their stock."""
        path = f"/marketplace/shops/{quote(shop_id, safe='')}/listings"
        listings: list[dict[str, Any]] = (await self._call("GET", path))["listings"]
        return listings

    async def put_listings(self, shop_id: str, listings: Sequence[dict[str, Any]]) -> None:
        """Add or replace listings."""
        await self._call("PUT", f"/marketplace/shops/{shop_id}/listings", listings)

    async def place_cart(self, cart: dict[str, Any]) -> tuple[str, list[dict[str, Any]]]:
        """Place a cart. Return its id and summaries of its orders."""
        answer = await self._call("POST", "/marketplace/carts", cart)
        return answer["cart"]["id"], answer["orders"]

    async def order(self, code: str) -> dict[str, Any]:
        """An order, its cart, timeline and deliveries."""
        return await self._call("GET", f"/marketplace/orders/{quote(code, safe='')}")

    async def show_return(self, code: str) -> dict[str, Any]:
        """Show a return, the deadline and the decision of its review, its timeline and deliveries."""
        return await self._call("GET", f"/marketplace/returns/{quote(code, safe='')}")

    async def deliveries(self, subject: str) -> list[dict[str, Any]]:
        """The webhooks of an order or a return in the delivery log, oldest first."""
        path = f"/marketplace/deliveries?subject={quote(subject, safe='')}&per=100"
        return list(reversed((await self._call("GET", path))["deliveries"]))

    async def delivery(self, name: str) -> dict[str, Any]:
        """One webhook of the delivery log with its attempts."""
        return await self._call("GET", f"/marketplace/deliveries/{quote(name, safe='')}")

    async def order_codes(self) -> list[str]:
        """The newest orders' codes."""
        return [order["code"] for order in (await self._call("GET", "/marketplace/orders"))["orders"]]

    async def operate(self, code: str, word: str) -> None:
        """Run an operation of a customer, support or a courier on an order, without a body."""
        await self._call("POST", f"/marketplace/orders/{code}/{word}")

    async def clock(self, move: dict[str, Any] | None) -> dict[str, Any]:
        """Return business time. If `move` is given, move the clock first."""
        return await self._call("GET" if move is None else "POST", "/marketplace/clock", move, seconds=600)

    async def scenarios(self) -> list[dict[str, Any]]:
        """The scenarios that can be played."""
        entries: list[dict[str, Any]] = (await self._call("GET", "/marketplace/scenarios"))["scenarios"]
        return entries

    async def scenario(self, name: str) -> dict[str, Any]:
        """The document of a scenario, with the value at each path that can be set."""
        return await self._call("GET", f"/marketplace/scenarios/{quote(name, safe='')}")

    async def play(self, scenario: str, shop_id: str, values: dict[str, Any]) -> dict[str, Any]:
        """Play a scenario. `values` replaces values of its document, by their paths."""
        body = {"shop_id": shop_id, "set": values}
        return await self._call("POST", f"/marketplace/scenarios/{quote(scenario, safe='')}", body, seconds=600)

    async def faults(self, shop_id: str | None = None) -> dict[str, Any]:
        """The fault rules of the marketplace, or the shop's own."""
        return await self._call("GET", _faults_path(shop_id))

    async def replace_rules(
        self, seed: int, rules: Sequence[dict[str, Any]], *, rough: bool = False, shop_id: str | None = None
    ) -> dict[str, Any]:
        """Set the fault rules of the marketplace, or the shop's own."""
        body = {"seed": seed, "rules": rules, "rough": rough}
        return await self._call("PUT", _faults_path(shop_id), body)

    async def download(self, path: str, target: Path) -> int:
        """Write the answer to a GET into a file while it arrives, and return the number of bytes. Raises
        OperatorError."""
        try:
            answer = await self._session.get(
                self.url + path, headers=self._headers, timeout=_SECONDS, allow_redirects=False, stream=True
            )
            if answer.status_code != HTTPStatus.OK:
                raise read_refusal(await answer.content or b"", answer.status_code)
            number = 0
            with target.open("wb") as file:
                async for part in await answer.iter_content(_PART_BYTES):
                    number += file.write(part)
        except niquests.RequestException as error:
            raise report_unreachable(self.url, error) from None
        return number

    async def _call(self, method: str, path: str, body: Any = None, *, seconds: float = _SECONDS) -> dict[str, Any]:
        content = None if body is None else encode(body)
        try:
            response = await self._session.request(
                method,
                self.url + path,
                headers=self._headers,
                data=content,
                timeout=seconds,
                allow_redirects=False,
                **environment(self.url, uses_proxy=self._uses_proxy),
            )
        except niquests.RequestException as error:
            raise report_unreachable(self.url, error) from None
        answer = response.content or b""
        if response.status_code not in {200, 201}:
            raise read_refusal(answer, response.status_code)
        try:
            decoded: dict[str, Any] = msgspec.json.decode(answer)
        except msgspec.DecodeError:
            raise report_stranger(self.url) from None
        return decoded


def _faults_path(shop_id: str | None) -> str:
    return "/marketplace/faults" if shop_id is None else f"/marketplace/shops/{quote(shop_id, safe='')}/faults"
