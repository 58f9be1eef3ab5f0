"""`kalathi merchant feed check`: the shop's XML feed, as a stream, compressed or not."""

import gzip
import io
import json
import random
import tracemalloc
import zipfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from kalathi.cli import main
from kalathi.contract.reading import ATHENS
from kalathi.merchant.feed.checking import WARNINGS, Fault, FeedChecker, Finding, check_feed, is_ean
from kalathi.merchant.feed.content import FeedContent, FeedError, open_feed
from kalathi.merchant.feed.parsing import FeedProduct, read_feed
from kalathi.merchant.stock import Shelf

NOW = datetime(2026, 11, 30, 12, tzinfo=ATHENS)
GOOD = {
    "id": "MEM-64",
    "name": "USB Stick 64GB",
    "price_with_vat": "10.40",
    "vat": "24.00",
    "quantity": "7",
    "ean": "4006381333931",
}


def _product(*inner: str, **members: str | None) -> str:
    texts = [f"<{name}><![CDATA[{text}]]></{name}>" for name, text in (GOOD | members).items() if text is not None]
    return f"<product>{''.join([*texts, *inner])}</product>\n"


def _feed(*products: str, created_at: str | None = "2026-11-30 09:30") -> bytes:
    start = "" if created_at is None else f"<created_at>{created_at}</created_at>"
    body = "".join(products)
    head = '<?xml version="1.0" encoding="UTF-8"?>'
    return f"{head}\n<mywebstore>{start}<products>\n{body}</products></mywebstore>".encode()


def _check(content: bytes, shelf: Shelf | None = None, *, size: int | None = None) -> list[Finding]:
    checker = FeedChecker(NOW, shelf)
    found = list(check_feed(read_feed([content]), checker))
    return found + checker.end(len(content) if size is None else size, is_compressed=False)


def _faults(content: bytes, shelf: Shelf | None = None) -> set[Fault]:
    return {finding.fault for finding in _check(content, shelf)}


def _variations(*quantities: str, ids: tuple[str, ...] = ("38", "39")) -> str:
    inner = "".join(
        f"<variation><variationid>{name}</variationid><size>{name}</size><quantity>{quantity}</quantity></variation>"
        for name, quantity in zip(ids, quantities, strict=True)
    )
    return f"<variations>{inner}</variations>"


def test_a_good_feed_has_no_findings() -> None:
    varied = _product(_variations("3", "4"), id="SHOE", ean=None, size="38,39")
    assert _check(_feed(_product(), varied), Shelf(pieces={"MEM-64": 7, "38": 3, "39": 4})) == []


@pytest.mark.parametrize(
    ("members", "fault"),
    [
        ({"id": None}, Fault.NO_ID),
        ({"id": " "}, Fault.NO_ID),
        ({"name": None}, Fault.NO_NAME),
        ({"quantity": None}, Fault.NO_QUANTITY),
        ({"quantity": "-1"}, Fault.BAD_QUANTITY),
        ({"quantity": "1.5"}, Fault.BAD_QUANTITY),
        ({"quantity": "10000000"}, Fault.BAD_QUANTITY),
        ({"price_with_vat": None}, Fault.NO_PRICE),
        ({"price_with_vat": "10,40"}, Fault.BAD_PRICE),
        ({"price_with_vat": "0.00"}, Fault.BAD_PRICE),
        ({"price_with_vat": "10.40 €"}, Fault.BAD_PRICE),
        ({"vat": None}, Fault.NO_VAT),
        ({"vat": "0,24"}, Fault.BAD_VAT),
        ({"vat": "124"}, Fault.BAD_VAT),
        ({"ean": "4006381333932"}, Fault.BAD_EAN),
        ({"ean": "123"}, Fault.BAD_EAN),
        ({"size": "38,39"}, Fault.SIZES_WITHOUT_VARIATIONS),
    ],
)
def test_each_fault_of_a_product_is_found_alone_and_with_its_line(members: dict[str, str | None], fault: Fault) -> None:
    [finding] = _check(_feed(_product(id="OTHER", ean=None), _product(**members)))
    assert (finding.fault, finding.line) == (fault, 4)
    assert finding.sentence


@pytest.mark.parametrize(
    ("content", "faults"),
    [
        (_feed(_product(), _product(ean=None)), {Fault.DUPLICATE_ID}),
        (_feed(_product(), _product(id="B")), {Fault.DUPLICATE_EAN}),
        (_feed(_product(_variations("3", "5"))), {Fault.QUANTITIES_DIFFER}),
        (_feed(_product(_variations("3", "x"), quantity="3")), {Fault.BAD_QUANTITY}),
        (_feed(_product(_variations("3", "4", ids=("38", "38")))), {Fault.DUPLICATE_VARIATION}),
        (_feed(_product(_variations("3", "4", ids=("38", "")))), {Fault.VARIATION_WITHOUT_ID}),
        (_feed(_product(_variations("3", "4"), size="38")), {Fault.SIZES_DIFFER}),
        (_feed(_product(), created_at=None), {Fault.NO_CREATED_AT}),
        (_feed(_product(), created_at="yesterday"), {Fault.BAD_CREATED_AT}),
        (_feed(_product(), created_at="2026-11-29 09:30"), {Fault.OLD}),
        (_feed(_product(), created_at="2026-11-29T13:00:00+02:00"), set()),
        (_feed(), {Fault.NO_PRODUCTS}),
    ],
)
def test_faults_between_products_and_of_the_file_are_found(content: bytes, faults: set[Fault]) -> None:
    assert _faults(content) == faults


def test_the_feed_is_compared_with_the_stock_source() -> None:
    shelf = Shelf(pieces={"MEM-64": 6, "LOST": 1, "38": 9}, unreadable={"ODD": "line 3"})
    varied = _product(_variations("3", "4"), id="SHOE", ean=None)
    found = {(finding.fault, finding.product) for finding in _check(_feed(_product(), varied), shelf)}
    assert found == {
        (Fault.STOCK_DIFFERS, "MEM-64"),
        (Fault.STOCK_DIFFERS, "SHOE"),
        (Fault.NOT_IN_STOCK, "SHOE"),
        (Fault.NOT_IN_FEED, "LOST"),
        (Fault.NOT_IN_FEED, "ODD"),
    }
    assert {fault for fault, _ in found} <= WARNINGS


def test_a_large_file_must_be_compressed() -> None:
    [finding] = _check(_feed(_product()), size=20 * 1024**2)
    assert finding.fault is Fault.NOT_COMPRESSED


def test_the_names_of_members_are_read_as_shops_write_them() -> None:
    other = "<Product><UniqueID>A</UniqueID><Name>n</Name><PriceWithVAT>1</PriceWithVAT><VAT>24</VAT>"
    assert _check(_feed(f"{other}<Quantity>1</Quantity></Product>")) == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not xml",
        _feed(_product())[:-20],
        b"<a>&amp</a>",
        b'<?xml version="1.0" encoding="no-such-code"?><a/>',
        b'<!DOCTYPE a [<!ENTITY b "bbbbbbbbbb"><!ENTITY c "&b;&b;&b;&b;">]><a>&c;</a>',
    ],
)
def test_a_file_that_is_no_feed_is_refused_with_a_sentence(content: bytes) -> None:
    with pytest.raises(FeedError):
        _check(content)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_feed_or_refused(content: bytes) -> None:
    try:
        _check(content)
        list(FeedContent(lambda: iter([content])).read())
    except FeedError as error:
        assert str(error)


@given(st.integers(1, 50))
def test_the_size_of_the_pieces_does_not_matter(size: int) -> None:
    content = _feed(_product(_variations("3", "4"), name="Αθήνα"))
    pieces = [content[start : start + size] for start in range(0, len(content), size)]
    assert list(read_feed(pieces)) == list(read_feed([content]))


def _zipped(content: bytes, name: str = "feed.xml") -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return target.getvalue()


def _gzipped_in_members(content: bytes) -> bytes:
    middle = len(content) // 2
    return gzip.compress(content[:middle]) + gzip.compress(content[middle:]) + b"\0" * 512


def _patch_zip(content: bytes, place: int, value: int) -> bytes:
    """Set a number of the headers: the flags (6) or the compression method (8) in front of the file, and those of the
    directory two bytes later."""
    patched = bytearray(content)
    start = content.index(b"PK\x01\x02") + 2
    for at in (place, start + place):
        patched[at : at + 2] = value.to_bytes(2, "little")
    return bytes(patched)


@pytest.mark.parametrize("compress", [bytes, gzip.compress, _gzipped_in_members, _zipped])
def test_a_compressed_file_is_read_like_a_plain_one(tmp_path: Path, compress: Any) -> None:
    plain = _feed(*(_product(id=f"P{number}", ean=None) for number in range(1000)))
    path = tmp_path / "feed"
    path.write_bytes(compress(plain))
    content = open_feed(str(path))
    assert sum(isinstance(entry, FeedProduct) for entry in read_feed(content.read())) == 1000
    assert (content.size, content.is_compressed) == (len(plain), compress is not bytes)


@pytest.mark.parametrize(
    "content",
    [
        gzip.compress(_feed(_product()))[:-30],
        b"\x1f\x8bxx",
        _zipped(b"x", "a.txt"),
        b"PK\x03\x04",
        _patch_zip(_zipped(b"x"), 6, 1),
        _patch_zip(_zipped(b"x"), 8, 99),
    ],
)
def test_a_broken_compressed_file_is_refused(content: bytes) -> None:
    with pytest.raises(FeedError):
        list(FeedContent(lambda: iter([content])).read())


def test_memory_does_not_grow_with_the_texts_of_the_feed() -> None:
    def pieces() -> Iterator[bytes]:
        whole = _feed(_product(id="@", ean=None, name="n" * 2000))
        start, product, end = (
            whole.partition(b"<product>")[0],
            _product(id="@", ean=None, name="n" * 2000),
            b"</products></mywebstore>",
        )
        yield start
        for number in range(20_000):
            yield product.replace("@", f"P{number}").encode()
        yield end

    tracemalloc.start()
    checker = FeedChecker(NOW)
    assert list(check_feed(read_feed(pieces()), checker)) == []
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert checker.products == 20_000
    # The feed has 44 MB; only the ids are kept.
    assert most < 8_000_000


@given(st.integers(0, 10**12 - 1))
def test_a_changed_digit_is_no_ean(number: int) -> None:
    body = f"{number:012}"
    digits = [int(digit) for digit in reversed(body)]
    check = -sum(digit * (1 if place % 2 else 3) for place, digit in enumerate(digits)) % 10
    assert is_ean(f"{body}{check}")
    place = random.Random(number).randrange(12)
    other = f"{body[:place]}{(int(body[place]) + 1) % 10}{body[place + 1 :]}{check}"
    assert not is_ean(other)


def test_elements_within_members_are_no_members_of_the_product() -> None:
    inner = "<category><id>shoes</id><quantity>x</quantity></category><product><id>inner</id></product>"
    products = [
        f"<product>{inner}{_product(id=f'P{number}', ean=None).removeprefix('<product>')}" for number in range(2)
    ]
    assert _check(_feed(*products)) == []


def test_a_product_with_very_many_variations_has_no_false_findings() -> None:
    variations = "".join(f"<variation><id>V{n}</id><quantity>1</quantity></variation>" for n in range(1200))
    found = _check(_feed(_product(f"<variations>{variations}</variations>", quantity="1200")))
    assert found == []


def test_the_command_ends_with_1_if_something_would_be_refused(tmp_path: Path) -> None:
    path, stock = tmp_path / "feed.xml", tmp_path / "stock.csv"
    created = datetime.now(ATHENS).strftime("%Y-%m-%d %H:%M")
    stock.write_text("shop_uid,quantity\nMEM-64,6\n")
    path.write_bytes(_feed(_product(), created_at=created))
    run = CliRunner().invoke(main, ["merchant", "feed", "check", str(path), "--stock", str(stock)])
    assert run.exit_code == 0, run.output
    assert "line 3, MEM-64: the feed has 7 of MEM-64, the stock source 6" in run.output
    assert "1 product in " in run.output
    path.write_bytes(_feed(*(_product(id=f"P{number}", ean=None, vat="x") for number in range(30)), created_at=created))
    run = CliRunner().invoke(main, ["merchant", "feed", "check", str(path)])
    assert run.exit_code == 1
    assert "Refused: bad vat (30)" in run.output
    assert "and 20 more" in run.output
    run = CliRunner().invoke(main, ["merchant", "feed", "check", str(path), "--json"])
    answer = json.loads(run.output)
    assert (run.exit_code, answer["counts"], answer["products"]) == (1, {"bad_vat": 30}, 30)
    assert answer["findings"][0]["product"] == "P0"
    missing = CliRunner().invoke(main, ["merchant", "feed", "check", str(tmp_path / "none.xml")])
    assert missing.exit_code == 1
    assert "cannot be read" in missing.output
