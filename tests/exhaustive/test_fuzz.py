"""Hostile and valid requests made from the OpenAPI document: no 500, no answer outside the schema, no error without the
envelope. The requests are generated; they are sent to the application in this process."""

import asyncio
import json
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote, urlencode

import jsonschema
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings

from kalathi.contract.codec import UnexpectedShapeError, decode
from kalathi.contract.errors import ErrorEnvelope
from kalathi.marketplace.api.openapi import document
from tests.market import ACCEPT, OPERATOR_TOKEN, HttpAnswer, Shop, open_market
from tests.virtual.returning import delivered, request_return
from tests.virtual.warehousing import announce, supplier

DOCUMENT = json.loads(json.dumps(document("skroutz")))
OPERATIONS: list[Any] = [
    cast(Any, result).ok() for result in schemathesis.openapi.from_dict(DOCUMENT).get_all_operations()
]
EXAMPLES = 25


def make_request(case: Any, known: dict[str, str]) -> tuple[str, bytes, dict[str, str]]:
    """Path, body and headers of a generated case; ids that are known replace most of the random ones."""
    parts = dict(case.path_parameters or {})
    for name, value in known.items():
        if name in parts and len(str(parts[name])) % 5 != 0:
            parts[name] = value
    path = case.path
    for name, value in parts.items():
        path = path.replace("{" + name + "}", quote(str(value), safe=""))
    query = {name: value for name, value in (case.query or {}).items() if value is not None}
    if query.get("wait"):
        # A valid value is up to a minute. Invalid ones are refused at once.
        query["wait"] = 0.01 if isinstance(query["wait"], int | float) and 0 <= query["wait"] <= 60 else query["wait"]
    path += "?" + urlencode(query, doseq=True) if query else ""
    headers = {str(name): str(value) for name, value in (case.headers or {}).items()}
    if isinstance(case.body, bytes):
        content = case.body
    elif type(case.body).__name__ == "NotSet":
        content = b""
    else:
        content = _encoded(case.body, case.media_type)
    if case.media_type:
        boundary = "; boundary=limit" if case.media_type.startswith("multipart") else ""
        headers["Content-Type"] = case.media_type + boundary
    return path, content, headers


def _encoded(body: Any, media_type: str) -> bytes:
    if media_type.startswith("multipart") and isinstance(body, dict):
        parts = [
            f'--limit\r\nContent-Disposition: form-data; name="{name}"; filename="f"\r\n\r\n'.encode("utf-8", "replace")
            + (value if isinstance(value, bytes) else str(value).encode("utf-8", "replace"))
            for name, value in body.items()
        ]
        return b"\r\n".join([*parts, b"--limit--\r\n"])
    return json.dumps(body, default=str).encode()


async def _codes(shop: Shop, path: str) -> dict[str, str]:
    """The codes that this call's path may name: of an order that is open, and of a return or goods if it is theirs."""
    if "/returns/{" in path:
        code = (await request_return(shop.market, await delivered(shop)))["return_code"]
        return {"code": code, "return_code": code}
    if path.endswith("/orders/{code}/returns"):
        return {"code": await delivered(shop)}
    if path.startswith("/merchants/products/"):
        # The first call makes the shop's products token.
        return {"id": (await shop.products("POST", "/batch", {"data": []})).json["id"]}
    if "/fbs/" in path or "/warehouse/" in path:
        supplier_id = await supplier(shop)
        return {"code": (await announce(shop, supplier_id, A=1)).json["code"], "id": supplier_id}
    return {"code": await shop.cart(A=1)}


def _token(shop: Shop, path: str) -> str:
    if path.startswith("/merchants/products"):
        return shop.products_token
    return shop.token if path.startswith("/merchants") else OPERATOR_TOKEN


def check_answer(operation: Any, answer: HttpAnswer) -> None:
    """Fail for an answer that the document does not describe."""
    described = DOCUMENT["paths"][operation.path][operation.method]["responses"]
    assert answer.status < 500, answer
    if answer.status in {404, 405} and str(answer.status) not in described:
        decode(answer.body, ErrorEnvelope)  # The generated path was none of this call.
        return
    assert str(answer.status) in described, answer
    if answer.status >= 400:
        assert decode(answer.body, ErrorEnvelope).errors[0].messages
    elif answer.json is not None:
        schema = described[str(answer.status)]["content"]["application/json"]["schema"]
        jsonschema.validate(answer.json, {**schema, "components": DOCUMENT["components"]})


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda op: op.label)
def test_every_answer_to_a_generated_request_is_documented(operation: Any, tmp_path: Path) -> None:
    async def run() -> None:
        # A clock move waits for all due jobs, so it needs a worker.
        worker = operation.label == "POST /marketplace/clock" or "/returns" in operation.path
        async with open_market(tmp_path, worker=worker) as market:
            shop = await market.shop(returns_webhook_url="http://shop/returns", returns_webhook_enabled=True)
            known = {"shop_id": shop.id, "kind": "creation", "name": "new_order"} | await _codes(shop, operation.path)
            token = _token(shop, operation.path)
            loop = asyncio.get_running_loop()

            def send(case: Any) -> HttpAnswer:
                path, content, headers = make_request(case, known)
                sent = {name: value for name, value in headers.items() if value.isascii() and value.isprintable()}
                sent |= {"Authorization": f"Bearer {token}", "Accept": ACCEPT}
                call = market.call(operation.method.upper(), path, content, sent)
                return asyncio.run_coroutine_threadsafe(call, loop).result(30)

            @settings(
                max_examples=EXAMPLES, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
            )
            @given(case=operation.as_strategy())
            def attempt(case: Any) -> None:
                check_answer(operation, send(case))

            await asyncio.to_thread(attempt)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("status", "body"),
    [(500, {"errors": []}), (200, {"orders": 1, "meta": {}}), (418, {}), (422, {"message": "no envelope"})],
)
def test_check_answer_fails_for_undocumented_answers(status: int, body: object) -> None:
    [operation] = [entry for entry in OPERATIONS if entry.label == "GET /merchants/ecommerce/orders"]
    answer = HttpAnswer(status, body, {}, json.dumps(body).encode())
    with pytest.raises((AssertionError, jsonschema.ValidationError, UnexpectedShapeError)):
        check_answer(operation, answer)
