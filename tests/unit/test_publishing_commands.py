"""`kalathi merchant stock` and `allow-price`, and the lines of a dry run."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from kalathi.cli import main
from kalathi.cli.merchant_publishing import render_rehearsal
from kalathi.contract.products import ProductUpdate
from kalathi.merchant.inbox import Inbox
from kalathi.merchant.publishing import Blocked, Count, Obstacle, Target
from kalathi.merchant.stock_rehearsal import Change, Rehearsal

AT = 1_795_600_000.0


def make_update(product_id: str, price: int = 1040, *, enabled: bool = True) -> ProductUpdate:
    """Four pieces of a product."""
    return ProductUpdate(product_id=product_id, quantity=4, enabled=enabled, price=price)


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[Inbox]:
    opened = Inbox(tmp_path / "merchant.db")
    targets = [
        Target(make_update(product_id), Count(source=7, held=2, buffer=1)) for product_id in ("A", "B", "C\x1b[31m")
    ]
    publications = opened.publications
    publications.begin(targets)
    publications.confirm(targets, "b1", AT, AT)
    publications.end_batch("b1", {"A": "success", "B": "Product not found.", "C\x1b[31m": "no_change"})
    publications.begin([Target(make_update("D"), Count(1, 0, 0))])
    publications.note_waiting_price("A", 104)
    yield opened
    opened.close()


def _run(folder: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["merchant", *words, "--data", str(folder)])


def test_stock_shows_how_each_number_was_made_and_the_answer_to_it(inbox: Inbox, tmp_path: Path) -> None:
    inbox.close()
    result = _run(tmp_path, "stock")
    assert result.exit_code == 0
    header, a, b, c, d = result.output.splitlines()
    assert header.split() == ["product", "source", "held", "buffer", "published", "price", "at", "answer"]
    assert a.split()[:6] == ["A", "7", "2", "1", "4", "10.40"]
    assert a.endswith("the price 1.04 waits for a person")
    assert b.endswith("Product not found.")
    assert "\x1b" not in c
    assert d.split() == ["D", "0", "0", "0", "not", "published", "yet"]


def test_stock_lists_the_failed_products_only(inbox: Inbox, tmp_path: Path) -> None:
    inbox.close()
    result = _run(tmp_path, "stock", "--failed")
    assert [line.split()[0] for line in result.output.splitlines()] == ["product", "B"]


def test_stock_answers_in_json_with_cents(inbox: Inbox, tmp_path: Path) -> None:
    inbox.close()
    shown = json.loads(_run(tmp_path, "stock", "B", "--json").stdout)
    assert shown["published"] == 3
    [product] = shown["products"]
    assert product["published"]["price"] == 1040
    assert (product["source"], product["held"], product["buffer"]) == (7, 2, 1)
    assert (product["answer"], product["is_confirmed"], product["published_at"]) == ("Product not found.", True, AT)


def test_stock_names_products_that_were_never_published(inbox: Inbox, tmp_path: Path) -> None:
    inbox.close()
    result = _run(tmp_path, "stock", "A", "X")
    assert result.exit_code == 1
    assert "X was never published" in result.output


def test_stock_without_any_publication_says_how_to_begin(tmp_path: Path) -> None:
    Inbox(tmp_path / "merchant.db").close()
    assert "--publish-stock" in _run(tmp_path, "stock").output
    assert _run(tmp_path, "stock", "--failed").output == "None.\n"


def test_a_waiting_price_is_allowed_once(inbox: Inbox, tmp_path: Path) -> None:
    inbox.close()
    assert json.loads(_run(tmp_path, "allow-price", "A", "B", "--json").stdout) == {"allowed": ["A"]}
    reopened = Inbox(tmp_path / "merchant.db")
    assert reopened.publications.of(["A"])["A"].allowed_price == 104
    reopened.close()
    assert _run(tmp_path, "allow-price", "B").output == "No such price waits.\n"


def test_all_waiting_prices_are_allowed(inbox: Inbox, tmp_path: Path) -> None:
    inbox.publications.note_waiting_price("B", 105)
    inbox.close()
    assert _run(tmp_path, "allow-price", "--all").output == "To be published: A, B.\n"


@pytest.mark.parametrize("words", [[], ["A", "--all"]])
def test_allow_price_needs_products_or_all(inbox: Inbox, tmp_path: Path, words: list[str]) -> None:
    inbox.close()
    result = _run(tmp_path, "allow-price", *words)
    assert result.exit_code == 1
    assert "give the products, or --all" in result.output


def test_a_dry_run_shows_changes_blocked_products_and_refusals() -> None:
    changes = [
        Change(None, make_update("A")),
        Change(make_update("B"), make_update("B", 999, enabled=False)),
    ]
    lines = render_rehearsal(
        Rehearsal(changes, [Blocked("C", Obstacle.NO_PRICE, "it has no price")], ["422: no\x1b"])
    ).splitlines()
    assert lines[0] == "would publish 2 products:"
    assert lines[2].split() == ["A", "-", "4", "at", "10.40"]
    assert " ".join(lines[3].split()) == "B 4 at 10.40 4 at 9.99, off sale"
    assert lines[4] == "would not publish C: it has no price"
    assert lines[5].startswith("the marketplace would refuse this: 422: no")
    assert "\x1b" not in lines[5]


def test_a_dry_run_without_changes_says_so() -> None:
    assert render_rehearsal(Rehearsal([], [], [])).startswith("would publish nothing")


def test_a_long_dry_run_is_cut() -> None:
    lines = render_rehearsal(Rehearsal([Change(None, make_update(f"P{n}")) for n in range(51)], [], [])).splitlines()
    assert lines[0] == "would publish 51 products:"
    assert lines[-2] == "and 1 more"
    assert "open orders" in lines[-1]
