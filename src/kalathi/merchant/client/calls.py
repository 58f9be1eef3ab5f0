"""The calls of a shop, typed: structs of the contract in and out."""

from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self, TypeVar
from urllib.parse import quote

from kalathi.contract.codec import UnexpectedShapeError, UnreadableBodyError, decode, encode
from kalathi.contract.errors import ErrorEntry, ErrorEnvelope
from kalathi.contract.orders import Order, OrderBody, Success
from kalathi.contract.requests import AcceptRequest, RejectedLine, RejectRequest
from kalathi.merchant.client.failures import MarketplaceError, UnreachableError
from kalathi.merchant.client.transport import HttpAnswer, NetworkTransport, Transport

T = TypeVar("T")


# Answers that say to come back: a wrong token or vendor word until somebody mends the setup, a lost race, a rate limit.
_COME_BACK: Final = frozenset({401, 403, 406, 409, 429})
_LARGEST_DOWNLOAD_BYTES: Final = 20_000_000


class AsyncClient:
    """One shop's access to a marketplace.

    `base_url` is the marketplace's address without the contract's own path, such as `https://api.example`; `vendor`
    is the word in the Accept header. Every call raises MarketplaceError when it is refused and UnreachableError when
    it may be tried again.
    """

    def __init__(
        self,
        base_url: str,
        token: str,
        *,
        vendor: str = "skroutz",
        timeout_seconds: float = 30.0,
        transport: Transport | None = None,
    ) -> None:
        self._base = base_url.rstrip("/") + "/merchants/ecommerce"
        self._headers = {
            "Authorization": f"Bearer {token}",
            "Accept": f"application/vnd.{vendor}+json; version=3.0",
            "Content-Type": "application/json; charset=utf-8",
        }
        self._transport = transport or NetworkTransport(timeout_seconds)

    def __repr__(self) -> str:
        return f"AsyncClient({self._base!r})"  # Without the token.

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connections."""
        await self._transport.close()

    async def order(self, code: str) -> Order:
        """The order as it is now."""
        return (await self._call("GET", code, "", None, OrderBody)).order

    async def accept(self, code: str, pickup_location: str, pickup_window: int, number_of_parcels: int = 1) -> None:
        """Takes the order; the values come from its accept_options."""
        request = AcceptRequest(
            pickup_location=pickup_location, pickup_window=pickup_window, number_of_parcels=number_of_parcels
        )
        await self._call("POST", code, "/accept", encode(request), Success)

    async def reject_lines(self, code: str, lines: Sequence[RejectedLine]) -> None:
        """Rejects by line items; what is left may come back as a new order."""
        await self._call("POST", code, "/reject", encode(RejectRequest(line_items=list(lines))), Success)

    async def reject(self, code: str, reason: str) -> None:
        """Rejects the whole order with a free text."""
        await self._call("POST", code, "/reject", encode(RejectRequest(rejection_reason_other=reason)), Success)

    async def download(self, url: str) -> bytes:
        """A voucher or a file behind its link. Links need no token, and the token is not sent to them."""
        answer = await self._transport.send("GET", url, {}, None)
        if answer.status != 200:
            _raise(answer)
        if len(answer.body) > _LARGEST_DOWNLOAD_BYTES:
            raise UnreachableError("the file is too large")
        return answer.body

    async def _call(self, method: str, code: str, action: str, body: bytes | None, wanted: type[T]) -> T:
        url = f"{self._base}/orders/{quote(code, safe='')}{action}"
        answer = await self._transport.send(method, url, self._headers, body)
        if answer.status != 200:
            _raise(answer)
        try:
            return decode(answer.body, wanted)
        except (UnreadableBodyError, UnexpectedShapeError) as error:
            raise UnreachableError(f"the answer could not be read: {error}") from error


def _raise(answer: HttpAnswer) -> None:
    try:
        entries = decode(answer.body, ErrorEnvelope).errors
    except (UnreadableBodyError, UnexpectedShapeError):
        entries = [ErrorEntry(code="unknown", messages=[answer.body[:200].decode("utf-8", "replace")])]
    error = MarketplaceError(answer.status, entries)
    if answer.status in _COME_BACK or answer.status >= 500:
        raise UnreachableError(str(error))
    raise error
