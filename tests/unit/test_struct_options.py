"""Options are made from the structs of bodies, one for each member."""

from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Literal

import click
import msgspec
import pytest
from click.testing import CliRunner
from msgspec import UNSET, Meta, Struct, UnsetType

from kalathi.cli.struct_options import Entry, make_options, read_body
from kalathi.marketplace.orders.model import NewCart
from kalathi.marketplace.returns.model import NewReturnLine


class _Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class _Place(Struct, kw_only=True):
    street: str = ""
    zips: tuple[str, ...] = ()


class _Customer(Struct, kw_only=True):
    name: str = ""
    is_company: bool = False
    place: _Place = msgspec.field(default_factory=_Place)


class _Line(Struct, kw_only=True):
    id: str
    quantity: Annotated[int, Meta(ge=1)]
    comment: str | UnsetType = UNSET
    photos: tuple[str, ...] = ()


class _Body(Struct, kw_only=True):
    reason: Annotated[str, Meta(description="The reason.")]
    hours: Annotated[int, Meta(ge=1, le=9, description="Hours.")] | UnsetType = UNSET
    price: Annotated[Decimal, Meta(description="Euros.")] = Decimal(24)
    colour: _Colour | None = None
    tags: tuple[Literal["a", "b"], ...] = ()
    ships_on: date | None = None
    accepted: bool = True
    express: bool = False
    webhook_url: str | None | UnsetType = UNSET
    location: Annotated[str | int | None, Meta(description="An id.")] = None
    lines: list[_Line] | None = None
    customer: _Customer | UnsetType = UNSET


def _read(*arguments: str) -> tuple[int, Any, str]:
    """Return the exit status, the body and the output of a command with these arguments."""
    bodies: list[Any] = []

    def run(**given: Any) -> None:
        bodies.append(read_body(_Body, given))

    command = click.Command("test", params=list(make_options(_Body)), callback=run)
    result = CliRunner().invoke(command, list(arguments))
    return result.exit_code, bodies[0] if bodies else None, result.output


@pytest.mark.parametrize(
    ("arguments", "body"),
    [
        ([], {}),
        (["--hours", "9"], {"hours": 9}),
        (["--price", "10.40"], {"price": Decimal("10.40")}),
        (["--colour", "blue"], {"colour": "blue"}),
        (["--tags", "a", "--tags", "b"], {"tags": ("a", "b")}),
        (["--ships-on", "2026-12-01"], {"ships_on": "2026-12-01"}),
        (["--no-accepted"], {"accepted": False}),
        (["--express"], {"express": True}),
        (["--webhook-url", "http://x/"], {"webhook_url": "http://x/"}),
        (["--no-webhook-url"], {"webhook_url": None}),
        (["--location", "12"], {"location": "12"}),
        (["--lines", "MEM-64=2"], {"lines": ({"id": "MEM-64", "quantity": 2},)}),
        (["--lines", "A=B=2"], {"lines": ({"id": "A=B", "quantity": 2},)}),
        (
            ["--lines", "A=1,comment=one, two,photos=x,photos=y"],
            {"lines": ({"id": "A", "quantity": 1, "comment": "one, two", "photos": ("x", "y")},)},
        ),
        (["--set", "customer.name=Άννα=Β"], {"customer": {"name": "Άννα=Β"}}),
        (["--set", "customer.is_company=yes"], {"customer": {"is_company": True}}),
        (
            [
                "--set",
                "customer.place.street=Ερμού",
                "--set",
                "customer.place.zips=1",
                "--set",
                "customer.place.zips=2",
            ],
            {"customer": {"place": {"street": "Ερμού", "zips": ["1", "2"]}}},
        ),
    ],
)
def test_an_option_sets_the_member_of_its_name(arguments: list[str], body: dict[str, Any]) -> None:
    status, read, output = _read("--reason", "r", *arguments)
    assert status == 0, output
    assert read == {"reason": "r"} | body
    assert msgspec.convert(read, _Body, strict=False).reason == "r"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "Missing option '--reason'"),
        (["--reason", "r", "--hours", "10"], "not in the range 1<=x<=9"),
        (["--reason", "r", "--price", "NaN"], "not a number such as 10.40"),
        (["--reason", "r", "--colour", "green"], "not one of 'red', 'blue'"),
        (["--reason", "r", "--ships-on", "tomorrow"], "not a day such as 2026-12-01"),
        (["--reason", "r", "--lines", "A=0"], "Give ID=QUANTITY"),
        (["--reason", "r", "--lines", "A"], "Give ID=QUANTITY"),
        (["--reason", "r", "--set", "customer.nme=1"], "there is no nme; there are name, is_company, place"),
        (["--reason", "r", "--set", "reason.nme=1"], "the part before it has no members"),
        (["--reason", "r", "--set", "customer.place=1"], "it has the members street, zips"),
        (["--reason", "r", "--set", "customer"], "give PATH=VALUE"),
    ],
)
def test_a_wrong_value_is_refused_with_the_expected_form(arguments: list[str], sentence: str) -> None:
    status, body, output = _read(*arguments)
    assert (status, body) == (2, None)
    assert sentence in " ".join(output.split())


def test_the_help_has_each_members_type_range_sentence_and_default() -> None:
    _, _, output = _read("--help")
    shown = " ".join(output.split())
    for part in (
        "--reason TEXT The reason. [required]",
        "--hours INTEGER RANGE Hours. [1<=x<=9]",
        "--price NUMBER Euros. [default: 24]",
        "--colour [red|blue]",
        "--accepted / --no-accepted",
        "--express ",
        "--ships-on YYYY-MM-DD",
        "--location TEXT An id.",
        "--lines ID=QUANTITY May be repeated.",
        "--set PATH=VALUE Set a member of customer",
    ):
        assert part in shown
    assert "--no-express" not in shown


def test_an_object_of_a_list_takes_defaults_for_members_that_are_not_named() -> None:
    entry = Entry(NewReturnLine, key=("id", "quantity"), defaults={"quantity": 1})
    assert entry.convert("MEM-64", None, None) == {"id": "MEM-64", "quantity": 1}
    assert entry.convert("MEM-64=3", None, None) == {"id": "MEM-64", "quantity": 3}


def test_every_member_of_a_cart_has_an_option_or_a_path() -> None:
    named = {option.name for option in make_options(NewCart)}
    assert named == {*NewCart.__struct_fields__, "settings"} - {"customer", "invoice_details", "fees"}
