"""The OpenAPI document: made from the route table, valid, committed, served, and readable by people."""

import json
import re
from pathlib import Path

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from kalathi.marketplace.api.openapi import document
from kalathi.marketplace.api.routes import ROUTES
from tests.market import open_market

pytestmark = pytest.mark.anyio

COMMITTED = Path(__file__).parents[2] / "docs" / "openapi.json"


def test_the_document_is_valid_openapi_3_1_by_an_independent_validator() -> None:
    made = json.loads(json.dumps(document("skroutz")))
    assert made["openapi"].startswith("3.1")
    assert list(OpenAPIV31SpecValidator(made).iter_errors()) == []


def test_the_committed_document_matches_the_code() -> None:
    assert json.loads(COMMITTED.read_text("utf-8")) == document("skroutz"), "run make docs"


def test_every_route_and_every_error_of_it_is_described() -> None:
    paths = document("skroutz")["paths"]
    assert {(route.method.lower(), route.path) for route in ROUTES} == {
        (method, path) for path, methods in paths.items() for method in methods
    }
    for methods in paths.values():
        for operation in methods.values():
            assert operation["summary"]
            assert {"500", "503"} <= set(operation["responses"])


async def test_the_document_and_the_page_are_served_and_load_nothing_from_elsewhere(tmp_path: Path) -> None:
    async with open_market(tmp_path, worker=False) as market:
        served = await market.call("GET", "/openapi.json")
        assert served.json == json.loads(COMMITTED.read_text("utf-8"))
        page = await market.call("GET", "/docs")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        policy = page.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'")
        assert "unsafe" not in policy
        assert "script-src" not in policy
        text = page.body.decode()
        # Examples have addresses as texts, but nothing leads to another host.
        assert not re.search(r"<script|(?:href|action|src)=.?https?://|src=|url[(]", text)
        for route in ROUTES:
            assert f"{route.method} {route.path}" in text
