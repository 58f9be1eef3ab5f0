"""The route table, the errors and the settings are each one fact in one place, and the docs show them."""

from pathlib import Path

import pytest

from kalathi.contract.codec import decode
from kalathi.contract.errors import ErrorEnvelope
from kalathi.marketplace.api.reply import ERRORS, error_reply
from kalathi.marketplace.api.routes import ROUTES, Access
from kalathi.marketplace.kernel.changes import StorageError
from kalathi.marketplace.kernel.errors import DomainError, ErrorCode
from kalathi.marketplace.kernel.settings import setting_fields
from kalathi.marketplace.orders.diagram import mermaid, redrawn

DOCS = Path(__file__).parents[2] / "docs"


def _page(name: str) -> str:
    return (DOCS / name).read_text("utf-8")


def test_every_error_code_has_its_status_and_word_and_is_documented() -> None:
    assert set(ERRORS) == set(ErrorCode)
    page = _page("api.md")
    for answer in ERRORS.values():
        assert f"| {answer.status} | `{answer.word}` |" in page


@pytest.mark.parametrize("code", list(ErrorCode))
def test_a_refusal_keeps_its_sentences_in_the_envelope(code: ErrorCode) -> None:
    reply = error_reply(DomainError(code, "One.", "Two."))
    assert reply.status == ERRORS[code].status
    [entry] = decode(reply.body, ErrorEnvelope).errors
    assert (entry.code, entry.messages) == (ERRORS[code].word, ["One.", "Two."])


def test_what_cannot_be_written_is_503_and_a_bug_is_500_and_neither_shows_its_text() -> None:
    for error, status in ((StorageError("disk full at /secret"), 503), (RuntimeError("secret"), 500)):
        reply = error_reply(error)
        assert reply.status == status
        assert b"secret" not in reply.body
        assert decode(reply.body, ErrorEnvelope).errors[0].messages


def test_every_route_is_documented_and_no_two_are_the_same() -> None:
    page = _page("api.md")
    keys = [(route.method, route.path) for route in ROUTES]
    assert len(set(keys)) == len(keys)
    for method, path in keys:
        assert f"`{method} {path}`" in page, (method, path)


def test_every_handler_says_what_it_does() -> None:
    for route in ROUTES:
        if route.access is Access.MERCHANT:
            assert route.handler.__doc__


def test_every_setting_is_documented_with_its_variable_and_default() -> None:
    page = _page("settings.md")
    for field in setting_fields():
        default = f"`{field.default}`" if str(field.default) else "empty"
        assert f"| `{field.flag}` | `{field.variable}` | {default} | {field.description} |" in page, field.name


def test_the_state_diagram_of_the_docs_is_drawn_from_the_machines_table() -> None:
    page = _page("orders.md")
    assert mermaid() in page
    assert redrawn(page) == page
    assert "open --> accepted: accept" in mermaid()
