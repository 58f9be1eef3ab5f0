"""Pickup windows, tracking codes, and vouchers that are rendered and read back."""

import unicodedata
from datetime import UTC, datetime, timedelta

import pypdfium2
import pytest
import typst
import zxingcpp
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from kalathi.contract.codec import decode
from kalathi.contract.orders import Address, Customer, WindowOption
from kalathi.contract.words import Courier
from kalathi.marketplace.couriers.letters import printable, unreadable_letters
from kalathi.marketplace.couriers.printing import DocumentPrinter, Party
from kalathi.marketplace.couriers.tracking import tracking_codes
from kalathi.marketplace.couriers.vouchers import VoucherFacts, render_voucher
from kalathi.marketplace.couriers.windows import WindowSchedule, parse_hours
from kalathi.marketplace.orders.documents import _recipient

SCHEDULE = WindowSchedule("09-12,12-15,15-18", 3)
A6_POINTS = (297.64, 419.53)


def _labels(moment: datetime) -> list[str]:
    return [window.label() for window in SCHEDULE.offer_windows(moment)]


def test_today_is_offered_until_its_last_window_has_begun() -> None:
    morning = datetime(2026, 11, 24, 6, 59, tzinfo=UTC)  # 08:59 in Athens
    assert _labels(morning)[0] == "09:00 - 12:00, Τρί 24/11/26"
    assert _labels(morning + timedelta(minutes=1))[0] == "12:00 - 15:00, Τρί 24/11/26"
    afternoon = datetime(2026, 11, 24, 13, 0, tzinfo=UTC)
    assert _labels(afternoon)[0] == "09:00 - 12:00, Τετ 25/11/26"
    assert len(_labels(afternoon)) == 9


def test_weekends_and_holidays_are_left_out() -> None:
    days = {label[15:] for label in _labels(datetime(2026, 12, 23, 20, 0, tzinfo=UTC))}
    assert days == {"Πέμ 24/12/26", "Δευ 28/12/26", "Τρί 29/12/26"}


@given(st.datetimes(datetime(2026, 1, 1), datetime(2028, 1, 1), timezones=st.just(UTC)), st.integers(0, 80))
def test_an_offered_id_is_valid_until_its_window_begins(moment: datetime, hours: int) -> None:
    later = moment + timedelta(hours=hours)
    for window in SCHEDULE.offer_windows(moment):
        found = SCHEDULE.find(window.id, later)
        assert (found == window) is (window.on_the_wire().start > later.replace(microsecond=0))


def test_options_carry_the_same_ids_and_labels_and_are_made_once_an_hour() -> None:
    moment = datetime(2026, 11, 24, 8, 5, tzinfo=UTC)
    options = decode(SCHEDULE.options(moment), list[WindowOption])
    assert [(option.id, option.label) for option in options] == [
        (window.id, window.label()) for window in SCHEDULE.offer_windows(moment)
    ]
    assert SCHEDULE.options(moment) is SCHEDULE.options(moment + timedelta(minutes=50))


def test_a_window_is_shown_in_athens_time_over_a_change_of_clocks() -> None:
    schedule = WindowSchedule("09-12", 1)
    [window] = schedule.offer_windows(datetime(2026, 10, 23, 20, 0, tzinfo=UTC))
    assert window.on_the_wire().start.isoformat() == "2026-10-26T09:00:00+02:00"


@pytest.mark.parametrize("hours", ["", "9", "12-09", "09-12,11-13", "09-25", "a-b", "09-12;12-15"])
def test_invalid_pickup_hours_are_refused(hours: str) -> None:
    with pytest.raises(ValueError, match="pickup_hours"):
        parse_hours(hours)


@pytest.mark.parametrize("courier", list(Courier))
def test_each_parcel_has_a_tracking_code_and_each_courier_a_prefix(courier: Courier) -> None:
    codes = tracking_codes(courier, "261124-5130474", 3)
    assert len(set(codes)) == 3
    assert all(code.isalnum() and "2611245130474" in code for code in codes)
    others = {tracking_codes(other, "261124-5130474", 1)[0] for other in Courier}
    assert len(others) == len(Courier)


def test_a_courier_used_only_by_a_shop_has_a_code_too() -> None:
    assert tracking_codes("GLS", "261124-5130474", 1) == ("GLS261124513047401",)
    assert tracking_codes("Ταχύς κούριερ", "261124-5130474", 1)[0].startswith("ΤΑΧ")


def _facts(**different: object) -> VoucherFacts:
    values = {
        "order_code": "261124-5130474",
        "courier": "Skroutz Last Mile",
        "sender": Party(name="Βιβλία Αθηνά", lines=("Σταδίου 1", "10562 Αθήνα, Αττική")),
        "recipient": Party(name="Ελένη Παπαδοπούλου", lines=("Ερμού 12, 2ος όροφος", "10563 Αθήνα, Αττική")),
        "tracking_codes": ("SLM261124513047401", "SLM261124513047402"),
        "made_at": datetime(2026, 11, 24, tzinfo=UTC),
    }
    return VoucherFacts(**(values | different))  # type: ignore[arg-type]  # the test's own names


def _page(pdf: bytes, number: int, dpi: int) -> Image.Image:
    document = pypdfium2.PdfDocument(pdf)
    try:
        image: Image.Image = document[number].render(scale=dpi / 72).to_pil()
        return image
    finally:
        document.close()


def _texts(pdf: bytes) -> list[str]:
    document = pypdfium2.PdfDocument(pdf)
    try:
        return [page.get_textpage().get_text_range() for page in document]
    finally:
        document.close()


@pytest.mark.parametrize("dpi", [100, 203, 300])
def test_the_barcode_of_each_parcel_is_read_back_from_the_rendered_page(dpi: int) -> None:
    pdf = render_voucher(DocumentPrinter(), _facts())
    for number, code in enumerate(_facts().tracking_codes):
        [barcode] = zxingcpp.read_barcodes(_page(pdf, number, dpi))
        assert (barcode.text, barcode.format) == (code, zxingcpp.BarcodeFormat.Code128)


def test_a_voucher_is_a6_and_names_shop_recipient_order_and_parcel() -> None:
    pdf = render_voucher(DocumentPrinter(), _facts(collect="20.80"))
    document = pypdfium2.PdfDocument(pdf)
    assert all(abs(a - b) < 0.1 for a, b in zip(document[0].get_size(), A6_POINTS, strict=True))
    document.close()
    first, second = _texts(pdf)
    for text in ("Βιβλία Αθηνά", "Σταδίου 1", "Ελένη Παπαδοπούλου", "2ος όροφος", "261124-5130474", "20.80"):
        assert text in first
    assert "Δέμα 1 από 2" in first
    assert "Δέμα 2 από 2" in second
    assert "SLM261124513047402" in second


HOSTILE = [
    '#panic("x")',
    '#read("/etc/passwd")',
    "$x$ *bold* _it_ `raw` <label> @ref \\ ] [ // */",
    "Ω" * 500,
    "日本語 🎁 العربية",
    "\u202e\u0000\u0007",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_of_a_customer_can_change_the_label(text: str) -> None:
    printer = DocumentPrinter()
    pdf = render_voucher(printer, _facts(recipient=Party(name=text, lines=(text, text, text))))
    assert len(_texts(pdf)) == 2, "a long text does not spill onto another page"
    [barcode] = zxingcpp.read_barcodes(_page(pdf, 0, 203))
    assert barcode.text == "SLM261124513047401"


LONG = {
    "name": "Αλεξάνδρα-Ειρήνη " * 12,
    "street": "Λεωφόρος Ελευθερίου Βενιζέλου και Μεγάλου Αλεξάνδρου " * 4,
    "place": "Αγία Παρασκευή του Όρους της Ηπείρου " * 5,
}


@pytest.mark.parametrize("letter", ["Ω", "W", "1"])
def test_a_word_longer_than_the_label_is_wrapped(letter: str) -> None:
    recipient = _recipient_of(letter * 59, letter * 90, letter * 70)
    with pypdfium2.PdfDocument(render_voucher(DocumentPrinter(), _facts(recipient=recipient))) as document:
        text = document[0].get_textpage()
        whole = text.get_text_range()
        assert whole.count(letter) >= 59 + 90 + 70
        boxes = [
            text.get_charbox(at) for at in range(len(whole.replace("\r\n", "\n\n"))) if whole[at : at + 1] == letter
        ]
        # The frame ends 6 mm, 17 points, before the edge of an A6 page.
        assert max(right for _, _, right, _ in boxes) < 297.64 - 16


def _recipient_of(name: str, street: str, place: str) -> Party:
    address = Address(street_name=street, street_number="12Β", zip="153 41", city=place, region="Αττική")
    return _recipient(Customer(id="c", first_name=name, last_name="", address=address))


@pytest.mark.parametrize("shown", [(), ("name",), ("street",), ("place",), ("name", "street", "place")])
def test_a_long_address_is_shown_whole_and_only_the_name_is_shortened(shown: tuple[str, ...]) -> None:
    short = {"name": "Ελένη Π.", "street": "Ερμού", "place": "Αθήνα"}
    recipient = _recipient_of(**{part: LONG[part] if part in shown else short[part] for part in short})
    with pypdfium2.PdfDocument(render_voucher(DocumentPrinter(), _facts(recipient=recipient))) as document:
        text = document[0].get_textpage()
        whole = " ".join(text.get_text_range().split())
        for line in recipient.lines:
            assert line.replace(" ", "") in whole.replace(" ", ""), "what is clipped is text all the same, see below"
        start, end = _at(text, "Παραλήπτης"), _at(text, "Παραγγελία")
        boxes = [text.get_charbox(index) for index in range(start, end) if text.get_text_range(index, 1).strip()]
        # In points from the bottom of the page: the frame, which cuts off what is below it, ends 22 above the code.
        lowest = min(bottom for _, bottom, _, _ in boxes)
        _, _, _, top_of_order = text.get_charbox(end)
        assert lowest > top_of_order + 22
    assert len(recipient.name) <= 60
    assert recipient.name.endswith("…") is ("name" in shown)


def _at(text: pypdfium2.PdfTextPage, word: str) -> int:
    return int(text.get_text_range().replace("\r\n", "\n\n").index(word))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Ερμού\u202e21\u202c", "Ερμού21"),
        ("a\x00b\x07c\x1b[31m", "abc[31m"),
        ("\u200bΕλένη\u00ad \ufeff Π.", "Ελένη Π."),
        ("line\nbreak\tand  spaces", "line break and spaces"),
        ("Ε\u0301ρση", "Έρση"),
        ("\ue000\U000f0000x", "x"),
    ],
)
def test_control_and_direction_characters_are_left_out(text: str, shown: str) -> None:
    assert printable(text) == shown
    party = _recipient_of(text, text, text)
    assert party.name == shown
    assert all("\u202e" not in line and "\x00" not in line for line in party.lines)


@pytest.mark.parametrize(
    ("text", "letters"),
    [
        ("Ἀθῆναι, Ł\u00f3d\u017a, Київ, Nguyễn, €5 № 7 – «α» ’", ""),
        ("王小明 王", "王小明"),
        ("สมชาย", "สมชาย"),
        ("محمد", "محد"),
        ("山田 ひらがな", "山田ひらがな"),
        ("Όροφος 2 😀", "😀"),
    ],
)
def test_letters_that_no_label_can_show_are_named(text: str, letters: str) -> None:
    assert unreadable_letters(printable(text)) == letters


def test_every_letter_counted_as_readable_is_in_the_fonts() -> None:
    compiler = typst.Compiler(ignore_system_fonts=True)
    page = b'#set page(width: 14pt, height: 16pt, margin: 1pt)\n#set text(font: "Libertinus Serif", size: 8pt)\n#'

    def drawn(letter: str) -> bytes:
        picture = compiler.compile(page + b"sys.inputs.data", format="png", sys_inputs={"data": letter}, ppi=72)
        assert isinstance(picture, bytes)
        return picture

    boxes = {drawn(letter) for letter in ("\u3400", "\U0001f600", "\u0e2a", "\u4e00")}
    assert len(boxes) == 1, "what no font has looks alike"
    for number in range(0x20, 0x2123):
        letter = chr(number)
        if unreadable_letters(letter) or unicodedata.category(letter) in {"Cn", "Cc", "Cf", "Zs", "Zl", "Zp"}:
            continue
        assert drawn(letter) not in boxes, hex(number)


def test_the_same_facts_make_the_same_bytes() -> None:
    printer = DocumentPrinter()
    assert render_voucher(printer, _facts()) == render_voucher(printer, _facts())
