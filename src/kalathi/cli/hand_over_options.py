"""Flags of `kalathi merchant` that authenticate its calls to a shop's system at an http address."""

from typing import Final

import click


class HeaderLine(click.ParamType[str]):
    """A header, which may hold spaces: a variable holds one on each line."""

    name = "header"
    envvar_list_splitter = "\n"


HAND_OVER_OPTIONS: Final = (
    click.option(
        "--hand-over-header",
        envvar="KALATHI_HAND_OVER_HEADER",
        multiple=True,
        type=HeaderLine(),
        help="A header of each POST to an address of --hand-over-to, as `Name: value`; may be repeated.",
    ),
    click.option(
        "--hand-over-secret",
        envvar="KALATHI_HAND_OVER_SECRET",
        default="",
        help="A secret of Standard Webhooks (whsec_...) that signs each of these POSTs.",
    ),
)
