"""Flags of `kalathi merchant` for the commands that it runs: `lp`, a print command, a hand-over."""

from typing import Final

import click

_SECONDS: Final = click.FloatRange(min=0, min_open=True, max=86_400)

COMMAND_OPTIONS: Final = (
    click.option(
        "--printer-options",
        envvar="KALATHI_PRINTER_OPTIONS",
        default="",
        help="Options of lp for the queue of --printer, with spaces between: media=a6 fit-to-page.",
    ),
    click.option(
        "--print-seconds",
        envvar="KALATHI_PRINT_SECONDS",
        type=_SECONDS,
        default=60.0,
        show_default=True,
        help="Time limit of lp and of the print command. At the limit it is ended, and status asks for the label.",
    ),
    click.option(
        "--hand-over-seconds",
        envvar="KALATHI_HAND_OVER_SECONDS",
        type=_SECONDS,
        default=60.0,
        show_default=True,
        help="Time limit of each hand-over. At the limit its command is ended, and the hand-over is retried.",
    ),
    click.option(
        "--use-proxy",
        envvar="KALATHI_USE_PROXY",
        is_flag=True,
        help="Call other machines through the proxy of the environment (HTTPS_PROXY, HTTP_PROXY, NO_PROXY).",
    ),
)
