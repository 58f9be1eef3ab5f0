"""The options of `kalathi order reject`, and its body: lines, or a reason in words (docs/contract.md#section-3)."""

from collections.abc import Mapping
from typing import Any, Final

import click

from kalathi.contract.words import LIMITED_STOCK_REASON_ID, REJECTION_REASONS

_REASONS: Final = {reason.word: reason.id for reason in REJECTION_REASONS if not reason.requires_available_quantity}
_WORDS: Final = ", ".join(_REASONS)


class _LimitedLine(click.ParamType[Any]):
    """`LINE=AVAILABLE`: a line with fewer pieces than ordered."""

    name = "LINE=AVAILABLE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, Any]:
        """Return the line of the rejection."""
        line, separator, available = str(value).rpartition("=")
        if not separator or not (available.isascii() and available.isdigit()):
            self.fail(f"{value}: give LINE=AVAILABLE, such as MEM-64=1. Another reason is --line-reason.", param, ctx)
        return {"id": line, "reason_id": LIMITED_STOCK_REASON_ID, "available_quantity": int(available)}


class _RejectedLine(click.ParamType[Any]):
    """`LINE=REASON`: a line with another reason than limited stock."""

    name = "LINE=REASON"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, Any]:
        """Return the line of the rejection."""
        line, separator, word = str(value).rpartition("=")
        if not separator or word not in _REASONS:
            self.fail(f"{value}: give LINE=REASON, such as MEM-64=no_stock. Reasons: {_WORDS}.", param, ctx)
        return {"id": line, "reason_id": _REASONS[word]}


REJECT_OPTIONS: Final = (
    click.Option(
        ["limited", "--line"],
        type=_LimitedLine(),
        multiple=True,
        help="A line with fewer pieces than ordered: its id or shop_uid, and the available pieces. May be repeated.",
    ),
    click.Option(
        ["lines", "--line-reason"],
        type=_RejectedLine(),
        multiple=True,
        help=f"A line and its reason: {_WORDS}. May be repeated.",
    ),
    click.Option(["reason", "--reason"], help="A reason in words, for the whole order."),
)


def read_rejection(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body of a rejection. Raises click.UsageError unless either lines or a reason in words are given."""
    lines = [*given["limited"], *given["lines"]]
    if bool(lines) == bool(given["reason"]):
        raise click.UsageError(
            "Give --line or --line-reason for lines, or --reason for the whole order; not both.",
            click.get_current_context(silent=True),
        )
    return {"line_items": lines} if lines else {"rejection_reason_other": given["reason"]}
