"""Compare sent bodies with recorded ones."""

from collections.abc import Collection
from typing import Any, Final

# The contract decides where it and a recording differ: the documented name is sent.
RENAMED: Final = {"replaced_suborder": "replaced"}


def has_the_shape(sent: Any, recorded: Any, at: str) -> None:
    """Every recorded member is there with the same JSON type; null stays null, and text stays text."""
    if isinstance(recorded, dict):
        assert isinstance(sent, dict), at
        for recorded_name, entry in recorded.items():
            name = RENAMED.get(recorded_name, recorded_name)
            if name == "invoice_details" and entry is None:
                assert name not in sent, "the contract omits it where no invoice was asked for"
                continue
            assert name in sent, f"{at}.{name} is missing"
            has_the_shape(sent[name], entry, f"{at}.{name}")
    elif isinstance(recorded, list):
        assert isinstance(sent, list), at
        assert bool(sent) == bool(recorded), at
        for entry in recorded[:1]:
            has_the_shape(sent[0], entry, f"{at}[0]")
    elif isinstance(recorded, int | float) and not isinstance(recorded, bool):
        assert isinstance(sent, int | float), at
        assert not isinstance(sent, bool), at
    else:
        assert type(sent) is type(recorded), f"{at}: {sent!r} for {recorded!r}"


def has_the_values(sent: Any, recorded: Any, at: str, *, apart_from: Collection[str]) -> None:
    """The same for values: whatever was recorded is sent, apart from members that each order draws for itself."""
    if isinstance(recorded, dict):
        for name, entry in recorded.items():
            if name not in apart_from:
                has_the_values(sent[name], entry, f"{at}.{name}", apart_from=apart_from)
    elif isinstance(recorded, list):
        assert len(sent) == len(recorded), at
        for number, (left, right) in enumerate(zip(sent, recorded, strict=True)):
            has_the_values(left, right, f"{at}[{number}]", apart_from=apart_from)
    else:
        assert sent == recorded, at
