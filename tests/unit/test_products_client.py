"""The client's calls of the Products API (docs/contract.md#section-10), with and without an event loop."""

import msgspec
import pytest

from kalathi.contract.products import MOST_PRODUCTS, BatchResults, ProductUpdate, VariationUpdate
from kalathi.merchant import BatchSizeError, ProductFormatError, ShopStateError
from kalathi.merchant.client.transport import HttpAnswer
from tests.unit.test_client import LOST, Kind, both, refusal

ACCEPTED = HttpAnswer(200, b'{"success": true, "id": "6a1b3c5d7e9f0a2b4c6d8e0f"}')
SCANNING = "We are currently scanning your XML. Please try again later."
UPDATE = ProductUpdate(product_id="A", quantity=7, enabled=True, price=1040)
ON_THE_WIRE = {"product_id": "A", "quantity": 7, "enabled": True, "price": 1040}


def _status(word: str, *products: str) -> HttpAnswer:
    results = [{"product_id": product, "status": "success", "message": None} for product in products]
    return HttpAnswer(200, msgspec.json.encode({"id": "6a", "status": word, "results": results}))


@both
def test_a_batch_goes_to_its_own_path_with_its_own_token(kind: Kind) -> None:
    network = kind(ACCEPTED)
    size = VariationUpdate(variation_id="38", quantity=1, enabled=True, price=1040)
    with_sizes = msgspec.structs.replace(UPDATE, variations=[size])
    assert network.call("products.batch", [UPDATE, with_sizes]) == "6a1b3c5d7e9f0a2b4c6d8e0f"
    assert network.asked == [("POST", "http://market/merchants/products/batch")]
    assert network.headers[0]["Authorization"] == "Bearer products"
    sizes = {"variations": [{"variation_id": "38", "quantity": 1, "enabled": True, "price": 1040}]}
    assert network.bodies == [{"data": [ON_THE_WIRE, ON_THE_WIRE | sizes]}]


@both
def test_a_batch_whose_answer_was_lost_is_sent_again(kind: Kind) -> None:
    network = kind(LOST, ACCEPTED)
    assert network.call("products.batch", [UPDATE]) == "6a1b3c5d7e9f0a2b4c6d8e0f"
    assert network.bodies[0] == network.bodies[1]


@both
def test_a_validation_changes_nothing_and_names_the_products(kind: Kind) -> None:
    network = kind(HttpAnswer(200, b'{"success": true, "message": "All validations passed successfully."}'))
    network.call("products.validate", [UPDATE])
    assert network.asked == [("POST", "http://market/merchants/products/batch/validations")]
    message = "Product A: Field 'price' has invalid type"
    with pytest.raises(ProductFormatError) as caught:
        kind(refusal(400, "invalid_format", message)).call("products.validate", [UPDATE])
    assert caught.value.messages == [message]
    with pytest.raises(BatchSizeError):
        kind(refusal(400, "invalid_batch_size")).call("products.batch", [UPDATE])


@both
def test_a_scan_is_told_apart_from_a_shop_that_takes_no_batches(kind: Kind) -> None:
    for message, is_scanning in ((SCANNING, True), ("The shop is not active.", False)):
        network = kind(refusal(422, "invalid_shop_state", message))
        with pytest.raises(ShopStateError) as caught:
            network.call("products.batch", [UPDATE])
        assert caught.value.is_scanning is is_scanning
        assert len(network.asked) == 1


@both
def test_a_status_survives_new_words_and_missing_members(kind: Kind) -> None:
    body = b'{"id": 7, "status": "queued", "results": [{"product_id": "A", "status": "later"}, {"status": "x"}]}'
    network = kind(HttpAnswer(200, body))
    found: BatchResults = network.call("products.status", "6a/1")
    assert network.asked == [("GET", "http://market/merchants/products/batch/6a%2F1/status")]
    assert (found.id, found.status, found.created_at) == ("7", "queued", None)
    assert [(entry.product_id, entry.status, entry.message) for entry in found.results] == [("A", "later", None)]


@both
def test_publish_splits_waits_and_yields_every_result(kind: Kind) -> None:
    products = [msgspec.structs.replace(UPDATE, product_id=f"P{number}") for number in range(MOST_PRODUCTS + 1)]
    first = [product.product_id for product in products[:-1]]
    network = kind(
        refusal(422, "invalid_shop_state", SCANNING),
        *(ACCEPTED, _status("in_progress", *first), _status("completed", *first)),
        *(ACCEPTED, _status("completed", "P500")),
    )
    results = network.call("products.publish", iter(products))
    assert [result.product_id for result in results] == [product.product_id for product in products]
    assert [len(body["data"]) for body in network.bodies if body] == [500, 500, 1]
    # A scan lasts for minutes; a batch takes seconds.
    assert network.pauses == [60, 1]


@both
def test_publish_can_leave_a_scan_to_its_caller(kind: Kind) -> None:
    network = kind(refusal(422, "invalid_shop_state", SCANNING))
    with pytest.raises(ShopStateError):
        network.call("products.publish", [UPDATE], waits_for_scans=False)
