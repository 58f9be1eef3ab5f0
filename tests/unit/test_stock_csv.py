"""Stock files as shops export them: readable rows count, and no product is dropped silently."""

import asyncio
import os
import time
from decimal import Decimal
from pathlib import Path

import pytest

from kalathi.merchant.stock import CsvStock, DecimalSign, Shelf, StockError, StockSetupError

pytestmark = pytest.mark.anyio


async def _read(
    folder: Path, content: str | bytes, *, encoding: str = "", decimal_sign: DecimalSign | None = None
) -> Shelf:
    path = folder / "stock.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return await CsvStock(path, encoding=encoding, decimal_sign=decimal_sign).read()


GREEK_ROWS = "SKU,quantity,name\n".replace("SKU", "shop_uid") + "A,5,Βιβλίο\nΒ,2,Καλώδιο\n"


@pytest.mark.parametrize(
    "content",
    [
        "shop_uid,quantity,price\nA,5,10.40\nB,2,\n",
        "shop_uid;quantity;price\nA;5;10,40\nB;2;\n",
        "shop_uid\tquantity\tprice\nA\t5\t10.40\nB\t2\t\n",
        "sep=;\nshop_uid;quantity;price\nA;5,00;10,40\nB;2,00;\n",
        '"sep=;"\r\nshop_uid;quantity;price\r\nA;5;10,40\r\nB;2;\r\n',
        "SEP=\t\nshop_uid\tquantity\tprice\nA\t5\t10.40\nB\t2\t\n",
        'SHOP_UID , "Quantity", Price \n A , 5 ,10.40\n"B","2",""\n',
        "Shop UID;QUANTITY;price\nA;5;10,40 €\nB;2;\n",
        "\ufeffshop_uid,quantity,price\nA,5,10.40\nB,2,\n",
        "\n\nshop_uid,quantity,price\n\nA,5,10.40\n,,\n\nB,2,\n\n",
        "name,price,quantity,shop_uid\nx,10.40,5,A\ny,,2,B\n",
        "shop_uid,quantity,price\rA,5,10.40\rB,2,\r",
        "shop_uid,quantity,price,,\nA,5,10.40,,\nB,2\n",
        "shop_uid,quantity,price\nA,5,10.40\nB,2,,,,\n",
        'shop_uid,name,quantity,price\nA,"24"" screen, black",5,10.40\nB,"two\nlines, of text",2,\n',
        'shop_uid,quantity,price,name\nA,5,10.40,24" screen\nB,2,,"a text\nof two lines"\n',
    ],
)
async def test_a_file_is_read_however_it_was_exported(tmp_path: Path, content: str) -> None:
    for text in (content.encode(), content.removeprefix("\ufeff").encode("utf-16")):
        assert await _read(tmp_path, text) == Shelf({"A": 5, "B": 2}, {"A": Decimal("10.40")})


async def test_a_configured_encoding_is_used_unless_a_byte_order_mark_differs(tmp_path: Path) -> None:
    assert (await _read(tmp_path, GREEK_ROWS.encode("cp1253"), encoding="cp1253")).pieces == {"A": 5, "Β": 2}
    assert (await _read(tmp_path, GREEK_ROWS.encode("utf-8-sig"), encoding="cp1253")).pieces == {"A": 5, "Β": 2}
    assert (await _read(tmp_path, GREEK_ROWS.encode("utf-16-le"), encoding="utf-16-le")).pieces == {"A": 5, "Β": 2}


async def test_another_encoding_without_the_setting_is_refused_with_line_byte_and_setting(tmp_path: Path) -> None:
    with pytest.raises(StockSetupError) as refused:
        await _read(tmp_path, GREEK_ROWS.encode("cp1253"))
    said = str(refused.value)
    assert "line 2: the byte 0xC2 (number 28 of the file) cannot be read as UTF-8" in said
    assert "--stock-encoding cp1253" in said
    with pytest.raises(StockSetupError, match=r"UTF-16 without a byte order mark\? Then give --stock-encoding"):
        await _read(tmp_path, GREEK_ROWS.encode("utf-16-le"))
    with pytest.raises(StockSetupError, match=r"0xD2 .* cannot be read as CP1253"):
        await _read(tmp_path, b"shop_uid,quantity\n\xd2,1\n", encoding="cp1253")
    for unknown in ("greek-please", "hex", "rot13"):
        with pytest.raises(StockSetupError, match="no such encoding"):
            CsvStock(tmp_path / "stock.csv", encoding=unknown)


async def test_a_shifted_row_makes_every_name_in_it_unreadable(tmp_path: Path) -> None:
    shelf = await _read(tmp_path, "name,shop_uid,quantity\nShirt,A,50\nShirt, blue M,A-M,0\nHat,H,3\n")
    assert shelf.pieces == {"A": 50, "H": 3}
    assert shelf.uid_of(["A-M", "A"]) == "A-M"
    assert "it has 4 cells" in shelf.unreadable["A-M"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("B,many", 'line 3: the quantity "many" is not a number'),
        ("B,1.5", "not a whole number of pieces"),
        ("B,1.000", "--stock-decimal"),
        ("B,", "there is no quantity"),
        ("B", "it has 1 cells, and the first line names 2"),
        ("B,5,00", "it has 3 cells, and the first line names 2; is there a comma in a number"),
        ("B,5\x00", "NUL"),
        ("B,2\nB,2", "it stands on lines 3, 4"),
        ("B,2\nB,3\n B ,4", "it stands on lines 3, 4, 5"),
        ("B,many\nB,4", "it stands on lines 3, 4"),
    ],
)
async def test_an_unreadable_row_makes_only_its_product_unreadable(tmp_path: Path, row: str, reason: str) -> None:
    shelf = await _read(tmp_path, f"shop_uid,quantity\nA,5\n{row}\nC,1\n")
    assert shelf.pieces == {"A": 5, "C": 1}
    # The uid of a row of too many cells may stand in any of them.
    assert next(iter(shelf.unreadable)) == "B"
    assert set(shelf.unreadable) <= {cell.strip("\0 ") for cell in row.split(",")}
    assert reason in shelf.unreadable["B"]
    assert str(tmp_path / "stock.csv") in shelf.unreadable["B"]


async def test_an_unreadable_price_is_reported_and_the_pieces_count(tmp_path: Path) -> None:
    shelf = await _read(tmp_path, "shop_uid,quantity,price\nA,5,cheap\nB,2,1.299\nC,1,\n")
    assert (shelf.pieces, shelf.prices, shelf.unreadable) == ({"A": 5, "B": 2, "C": 1}, {}, {})
    assert 'line 2: the price "cheap" is not a number' in shelf.unreadable_prices["A"]
    assert "--stock-decimal" in shelf.unreadable_prices["B"]
    assert list(shelf.unreadable_prices) == ["A", "B"]


async def test_the_setting_of_the_decimal_sign_holds_for_the_whole_file(tmp_path: Path) -> None:
    shelf = await _read(tmp_path, "shop_uid;quantity;price\nA;1.000;1.299\nB;5,000;3,5\n", decimal_sign=",")
    assert shelf == Shelf({"A": 1000, "B": 5}, {"A": Decimal("1299"), "B": Decimal("3.5")})


@pytest.mark.parametrize(
    ("content", "pieces", "unreadable", "lines"),
    [
        ('A,5,"Book\nB,2,x\nC,1,y\n', {}, {"A", "B", "C"}, "line 2 opens is not closed on it, and swallows"),
        ('A,5,"Book\nB,2,"Other"\nC,1,y\n', {"C": 1}, {"A", "B"}, "line 2 opens"),
        ('A,5,"Book\nB,2,Other"\nC,1,y\n', {"C": 1}, {"A", "B"}, "up to 3"),
        ('A,5,x\n"B,2,x\nC,1,y\n', {"A": 5}, {"B", "C"}, "line 3 opens"),
        ('A,5,x\nB,"2,x\nC,1,y\n', {"A": 5}, {"B", "C"}, "line 3 opens"),
        ('A,5,x\nB,2,"' + "z" * 200_000 + "\nC,1,y\n", {"A": 5, "C": 1}, {"B"}, "line 3 opens"),
        ('A,5,x\nB,2,"y\n' + "".join(f"P{n},{n},{'x' * 40}\n" for n in range(5000)), {"A": 5}, None, "line 3 opens"),
    ],
)  # fmt: skip
async def test_an_unclosed_quote_makes_the_enclosed_products_unreadable(
    tmp_path: Path, content: str, pieces: dict[str, int], unreadable: set[str] | None, lines: str
) -> None:
    shelf = await _read(tmp_path, f"shop_uid,quantity,name\n{content}")
    products = {line.partition(",")[0].strip('"') for line in content.splitlines()}
    assert set(shelf.pieces) | set(shelf.unreadable) == products, "none is silently missing"
    if unreadable is not None:
        assert shelf.pieces == pieces
        assert set(shelf.unreadable) == unreadable
    assert any(lines in reason for reason in shelf.unreadable.values())


@pytest.mark.parametrize(
    ("content", "unreadable"),
    [
        ('shop_uid;quantity\nSHOE;9\n"SHOE-41;1\nA;3\n"SHOE-42;0\nC;5\n', {"SHOE-41", "A", "SHOE-42"}),
        ('name;shop_uid;quantity\nx;SHOE;9\n"Cab;CAB;3\ny;A;3\n"Context;SHOE-42;0\nz;C;5\n', {"CAB", "A", "SHOE-42"}),
        ('shop_uid;quantity\nSHOE;9\n"SHOE-41;1\nSHOE-42;\n"B;1\nC;5\n', {"SHOE-41", "SHOE-42", "B"}),
        ('shop_uid;quantity;n\nSHOE;9;\n"SHOE-41;1;x\nSHOE-42;out of stock;q\n"B;1;\nC;5;\n', {"SHOE-42", "B"}),
        ('name;shop_uid;quantity\nx;SHOE;9\n"TV 32"";"SHOE-42";"0"\nz;C;5\n', {"SHOE-42"}),
        ('name;shop_uid;quantity\nx;SHOE;9\n"TV;SHOE-42";"0";x;y\nz;C;5\n', {"SHOE-42"}),
        ('name;shop_uid;quantity\nx;SHOE;9\nz;C;5\n"TV 32;SHOE-42;0\n', {"SHOE-42"}),
    ],
)
async def test_no_product_beside_a_broken_quote_is_silently_missing(
    tmp_path: Path, content: str, unreadable: set[str]
) -> None:
    shelf = await _read(tmp_path, content)
    assert shelf.pieces == {"SHOE": 9, "C": 5}
    assert set(shelf.unreadable) >= unreadable


@pytest.mark.parametrize(
    "content",
    [
        'shop_uid;quantity;name\nA;3;"first\nsecond; third"\nB;1;x\n',
        'name;shop_uid;quantity\n"first\nsecond; third; 5";A;3\nx;B;1\n',
        'shop_uid;quantity;name\nA;3;"say ""yes""\nand ""no"""\nB;1;x\n',
        'shop_uid;quantity;name\nA;3;TV 32" LED\nB;1;"TV 32" LED\n',
    ],
)
async def test_a_text_with_a_line_break_or_an_inch_sign_is_read(tmp_path: Path, content: str) -> None:
    shelf = await _read(tmp_path, content)
    assert (shelf.pieces, shelf.unreadable) == ({"A": 3, "B": 1}, {})


@pytest.mark.parametrize(
    ("content", "error", "told"),
    [
        (b"", StockError, "the file is empty"),
        (b"\n\n", StockError, "the file is empty"),
        (b"sep=;\n", StockError, "the file is empty"),
        (b"\0" * 4096, StockError, "not written to its end"),
        ("shop_uid,quantity\nA,1\nΒ".encode()[:-1], StockError, "ends within a letter"),
        (b"uid;quantity\nA;1\n", StockSetupError, 'must name the columns shop_uid and quantity.*"uid;quantity"'),
        (b"sep=;\nshop_uid,quantity\nA,1\n", StockSetupError, "must name the columns"),
        (b"A,5\nB,2\n", StockSetupError, "must name the columns"),
        (b"shop_uid,quantity,quantity\nA,1,2\n", StockSetupError, "names the column quantity more than once"),
        (b"\x89PNG\r\n\x1a\n\x00", StockSetupError, "NUL bytes between"),
    ],
)
async def test_a_file_without_stock_is_refused_with_the_reason(
    tmp_path: Path, content: bytes, error: type[StockError], told: str
) -> None:
    with pytest.raises(StockError, match=told) as refused:
        await _read(tmp_path, content)
    assert type(refused.value) is error


async def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(StockError, match=r"missing\.csv: No such file"):
        await CsvStock(tmp_path / "missing.csv").read()
    with pytest.raises(StockError, match="Is a directory"):
        await CsvStock(tmp_path).read()


async def test_half_a_last_line_is_never_a_number(tmp_path: Path) -> None:
    shelf = await _read(tmp_path, "shop_uid,quantity,price\nA,5,10.40\nB,1")
    assert shelf.pieces == {"A": 5}
    assert "is it half a line?" in shelf.unreadable["B"]


async def test_an_unterminated_last_line_counts_once_the_file_stops_growing(tmp_path: Path) -> None:
    path = tmp_path / "stock.csv"
    path.write_text("shop_uid,quantity\nA,5\nB,1")
    reading = asyncio.create_task(CsvStock(path).read())
    await asyncio.sleep(0.1)  # The reader must still wait by then.
    assert not reading.done(), "the file is that young"
    path.write_text("shop_uid,quantity\nA,5\nB,12\n")
    assert (await reading).pieces == {"A": 5, "B": 12}
    path.write_text("shop_uid,quantity\nA,5\nB,1")
    os.utime(path, (time.time() - 60, time.time() - 60))
    assert (await CsvStock(path).read()).pieces == {"A": 5, "B": 1}


async def test_a_file_is_read_again_only_if_it_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "stock.csv"
    stock = CsvStock(path)
    path.write_text("shop_uid,quantity\nA,5\n")
    os.utime(path, (1000, 1000))
    first = await stock.read()
    assert await stock.read() is first
    path.write_text("shop_uid,quantity\nA,5\n")
    assert await stock.read() is first, "the same content is the same shelf"
    for number in (1, 2, 3):
        # As long and, on a file system with coarse times, as old as the one before.
        path.write_text(f"shop_uid,quantity\nA,{number}\n")
        now = int(time.time())
        os.utime(path, (now, now))
        assert (await stock.read()).pieces == {"A": number}
    path.unlink()
    with pytest.raises(StockError):
        await stock.refresh()


async def test_a_burst_of_orders_reads_a_large_file_once_without_blocking(tmp_path: Path) -> None:
    path = tmp_path / "stock.csv"
    rows = "".join(f"SKU-{number},{number % 50},{number % 90}.90\n" for number in range(100_000))
    path.write_text(f"shop_uid,quantity,price\n{rows}")
    os.utime(path, (1000, 1000))
    stock = CsvStock(path)
    longest = 0.0

    async def tick() -> None:
        nonlocal longest
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.001)  # Measures how long the event loop is blocked.
            longest = max(longest, time.perf_counter() - before)

    ticking = asyncio.create_task(tick())
    begun = time.perf_counter()
    shelves = await asyncio.gather(*(stock.read() for _ in range(16)))
    print(f"100,000 rows in {time.perf_counter() - begun:.2f} s; the loop stood still for {longest * 1000:.0f} ms")
    ticking.cancel()
    assert all(shelf is shelves[0] for shelf in shelves)
    assert len(shelves[0].pieces) == 100_000


@pytest.mark.parametrize("row", ['P-M,5,P,"Book\nP-L,2,P,x\n', "P-M,5,P,\0\n", "P-M,many,P,x\n"])
async def test_an_unreadable_variation_still_belongs_to_its_product(tmp_path: Path, row: str) -> None:
    shelf = await _read(tmp_path, f"shop_uid,quantity,product_uid,name\n{row}Q,1,,x\n")
    assert shelf.products["P-M"] == "P"
    assert "P-M" in shelf.unreadable
