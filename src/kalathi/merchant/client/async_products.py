"""Stock and prices of a shop's products, with an event loop.

The marketplace accepts a batch at once, and changes the products later. The status of a batch has the results.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence
from itertools import islice
from typing import Any, Final, Protocol, TypeVar

from kalathi.contract.products import MOST_PRODUCTS, BatchResults, BatchStatus, ProductResult, ProductUpdate
from kalathi.merchant.client.core import Flow
from kalathi.merchant.client.failures import ShopStateError
from kalathi.merchant.client.product_flows import ProductFlows

T = TypeVar("T")

# A scan of an XML feed takes minutes.
_SCAN_PAUSE_SECONDS: Final = 60.0
_FIRST_PAUSE_SECONDS: Final = 1.0
_LONGEST_PAUSE_SECONDS: Final = 30.0


class _Runner(Protocol):
    def __call__(self, flow: Flow[T]) -> Coroutine[Any, Any, T]:
        """Make the calls of a flow."""
        ...


class AsyncProducts:
    """The Products API. Every call raises what the client's calls raise; ProductFormatError names the products of a
    batch that the marketplace cannot read, and ShopStateError says that it takes no batches now."""

    def __init__(self, flows: ProductFlows, run: _Runner, sleep: Callable[[float], Awaitable[None]]) -> None:
        self._flows = flows
        self._run = run
        self._sleep = sleep

    async def batch(self, products: Sequence[ProductUpdate]) -> str:
        """Send up to 500 products, and return the id of the batch. The products change later."""
        return await self._run(self._flows.send(products))

    async def validate(self, products: Sequence[ProductUpdate]) -> None:
        """Have up to 500 products checked, and change nothing."""
        await self._run(self._flows.validate(products))

    async def status(self, batch_id: str) -> BatchResults:
        """Return the results of a batch. They are in progress until the status is `completed`."""
        return await self._run(self._flows.status(batch_id))

    async def publish(
        self, products: Iterable[ProductUpdate], *, waits_for_scans: bool = True
    ) -> AsyncIterator[ProductResult]:
        """Send any number of products in batches of 500. Wait for each batch, and yield the result of each product.

        With `waits_for_scans`, wait while the marketplace scans the shop's XML feed, and then send the same products
        again, even if their numbers have changed in the meantime. Otherwise ShopStateError is raised. Products of a
        later batch are read from the iterable only when the batch before is completed.
        """
        remaining = iter(products)
        while some := list(islice(remaining, MOST_PRODUCTS)):
            batch_id = await self._send(some, waits_for_scans=waits_for_scans)
            for result in (await self.wait(batch_id)).results:
                yield result

    async def wait(self, batch_id: str) -> BatchResults:
        """Read the status of a batch with growing pauses until it is completed. There is no time limit."""
        pause_seconds = _FIRST_PAUSE_SECONDS
        while True:
            found = await self.status(batch_id)
            if found.status == BatchStatus.COMPLETED:
                return found
            await self._sleep(pause_seconds)
            pause_seconds = min(2 * pause_seconds, _LONGEST_PAUSE_SECONDS)

    async def _send(self, products: Sequence[ProductUpdate], *, waits_for_scans: bool) -> str:
        while True:
            try:
                return await self.batch(products)
            except ShopStateError as error:
                if not (waits_for_scans and error.is_scanning):
                    raise
            await self._sleep(_SCAN_PAUSE_SECONDS)
