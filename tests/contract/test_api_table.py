"""The route table, the errors and the settings are each one fact in one place, and the docs show them."""

import re
from pathlib import Path

import pytest

from kalathi.connections import Refusal
from kalathi.contract.codec import decode
from kalathi.contract.errors import ErrorEnvelope
from kalathi.marketplace.api.route import Access
from kalathi.marketplace.api.routes import ROUTES
from kalathi.marketplace.kernel.errors import DomainError, ErrorCode
from kalathi.marketplace.kernel.storage.changes import StorageError
from kalathi.marketplace.web.reply import ERRORS, INTERNAL_ERROR, ErrorAnswer, error_reply
from tests import exchanges, pages
from tests.clusters import CITUS

DOCS = Path(__file__).parents[2] / "docs"


def _page(name: str) -> str:
    return (DOCS / name).read_text("utf-8")


def test_every_error_code_has_an_answer_and_is_documented() -> None:
    assert set(ERRORS) == set(ErrorCode)
    page = _page("errors.md")
    # The server refuses these requests before they reach the application.
    of_the_server = {ErrorAnswer(refusal.value[0], refusal.value[1]) for refusal in Refusal} - set(ERRORS.values())
    for answer in [*ERRORS.values(), INTERNAL_ERROR, *of_the_server]:
        [row] = [line for line in page.splitlines() if line.startswith(f"| {answer.status} | `{answer.word}` |")]
        _, _, _, cause, what_to_do, _ = row.split("|")
        assert cause.strip(), answer
        assert what_to_do.strip(), answer
    rows = [line for line in page.splitlines() if line.startswith("| ")]
    assert len(rows) == len(["the head", INTERNAL_ERROR]) + len({*ERRORS.values()}) + len(of_the_server)


@pytest.mark.parametrize("code", list(ErrorCode))
def test_the_envelope_carries_a_refusals_messages(code: ErrorCode) -> None:
    reply = error_reply(DomainError(code, "One.", "Two."))
    assert reply.status == ERRORS[code].status
    [entry] = decode(reply.body, ErrorEnvelope).errors
    assert (entry.code, entry.messages) == (ERRORS[code].word, ["One.", "Two."])


def test_storage_errors_are_503_bugs_are_500_and_both_hide_details() -> None:
    for error, status in ((StorageError("disk full at /secret"), 503), (RuntimeError("secret"), 500)):
        reply = error_reply(error)
        assert reply.status == status
        assert b"secret" not in reply.body
        assert decode(reply.body, ErrorEnvelope).errors[0].messages


def test_no_two_routes_are_the_same() -> None:
    keys = [(route.method, route.path) for route in ROUTES]
    assert len(set(keys)) == len(keys)


def test_every_handler_has_a_docstring() -> None:
    for route in ROUTES:
        assert route.handler.__doc__, route.path


@pytest.mark.skipif(bool(CITUS), reason="on a cluster, the codes of orders depend on the nodes of their shops")
def test_generated_parts_of_the_docs_match_the_code() -> None:
    drawn = pages.pages()
    assert {path.name for path in drawn} >= {"api.md", "settings.md", "orders.md"}
    for path, content in drawn.items():
        assert path.read_text("utf-8") == content, f"{path.name}: run make docs"
    assert "open --> accepted: accept" in _page("orders.md")


def test_every_json_call_has_an_example_in_the_docs() -> None:
    text = "".join(path.read_text("utf-8") for path in (DOCS / "calls").glob("*.md"))
    asked = [tuple(line.split(" ")) for line in re.findall(r"^(?:GET|POST|PUT|PATCH|DELETE) /\S+$", text, re.MULTILINE)]
    for route in ROUTES:
        if route.access in {Access.PUBLIC, Access.MONITOR} and route.path != "/ip_ranges.json":
            continue  # Files and the description itself.
        pattern = re.compile(re.sub(r"\{\w+\}", r"[^/?]+", route.path))
        assert any(method == route.method and pattern.fullmatch(path.partition("?")[0]) for method, path in asked), (
            f"{route.method} {route.path} is on no page"
        )


def test_every_recorded_exchange_is_on_a_page() -> None:
    text = "".join(path.read_text("utf-8") for path in (DOCS / "calls").glob("*.md"))
    assert set(re.findall(r"drawn: exchange ([\w ]+) -->", text)) == set(exchanges.parts())
