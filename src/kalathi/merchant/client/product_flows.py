"""The calls of the Products API (docs/contract.md#section-10): build each request, and return the useful part of the
answer."""

from collections.abc import Sequence
from urllib.parse import quote

from msgspec import Struct

from kalathi.contract.codec import encode
from kalathi.contract.products import BatchResults, ProductBatch, ProductUpdate, ValidatedBatch
from kalathi.merchant.client.core import Call, Flow, RequestCore
from kalathi.merchant.client.failures import UnreadableAnswerError


class _AcceptedBatch(Struct, frozen=True, kw_only=True):
    """The answer to a batch. Without an id, its results cannot be read."""

    success: bool = True
    id: str = ""


class ProductFlows(RequestCore):
    """The calls, one method each. All are safe to repeat: a batch sets values, and does not add to them."""

    def send(self, products: Sequence[ProductUpdate]) -> Flow[str]:
        """Send a batch and return its id; empty if the answer has none."""
        accepted = yield from self.call(_post("/batch", products), _AcceptedBatch)
        if not accepted.success:
            raise UnreadableAnswerError("the marketplace answered 200, and that the batch was not a success")
        return accepted.id

    def validate(self, products: Sequence[ProductUpdate]) -> Flow[None]:
        """Have a batch checked."""
        yield from self.call(_post("/batch/validations", products), ValidatedBatch)

    def status(self, batch_id: str) -> Flow[BatchResults]:
        """The results of a batch."""
        call = Call("GET", f"/batch/{quote(batch_id, safe='')}/status", repeats=True)
        return (yield from self.call(call, BatchResults))


def _post(path: str, products: Sequence[ProductUpdate]) -> Call:
    return Call("POST", path, encode(ProductBatch(data=list(products))), repeats=True)
