"""`kalathi simulate`: traffic for a running marketplace."""

import asyncio
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import click

from kalathi.cli.operating import address_and_token, fail, is_proxy_wanted, operator_options, show
from kalathi.terminal import REWRITE_LINE

_UNITS = {"s": 1, "m": 60, "h": 3600}


@click.command()
@click.option("--rate", type=click.FloatRange(0.01, 1000), default=5.0, show_default=True, help="Carts a second.")
@click.option("--shops", type=click.IntRange(1, 1000), default=10, show_default=True, help="Number of shops to create.")
@click.option("--seed", type=int, default=1, show_default=True, help="Seed for repeatable runs.")
@click.option("--for", "duration", default="60s", show_default=True, help="How long: 60s, 5m, 1h.")
@operator_options
def simulate(
    rate: float, shops: int, seed: int, duration: str, data: Path, url: str, token: str, as_json: bool
) -> None:
    """Generate traffic: customers buy, shops answer, couriers deliver. The same seed makes the same decisions.

    \b
    kalathi simulate --rate 5 --shops 10 --seed 1 --for 60s
    """
    match = re.fullmatch(r"(\d{1,6})([smh])", duration)
    if match is None:
        fail(f"--for {duration}: give a number with s, m or h, such as 60s.")
    seconds = int(match[1]) * _UNITS[match[2]]
    from kalathi.operator_calls import OperatorError
    from kalathi.simulation.operator import OperatorClient
    from kalathi.simulation.traffic import Traffic, show_counts

    found_url, found_token = address_and_token(data, url, token)

    def tell(counts: Counter[str]) -> None:
        if sys.stderr.isatty():
            click.echo(f"{REWRITE_LINE}{show_counts(counts)}", nl=False, err=True)

    async def run() -> Any:
        async with OperatorClient(found_url, found_token, uses_proxy=is_proxy_wanted()) as operator:
            traffic = Traffic(operator, found_url, seed, tell)
            await traffic.run(shops=shops, rate=rate, seconds=seconds)
            return traffic.counts

    try:
        counts = asyncio.run(run())
    except OperatorError as error:
        fail(str(error))
    except KeyboardInterrupt:
        fail("ended before its time.")
    show(as_json, counts, f"{show_counts(counts)} (seed {seed})")
