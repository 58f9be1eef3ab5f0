"""`kalathi demo`: both use cases, narrated as they happen."""

import asyncio
import sys

import click

from kalathi.cli.operating import fail
from kalathi.cli.output import OUTPUT
from kalathi.extras import Extra, explain, find_missing
from kalathi.system.signals import raise_interrupt_at_end


@click.command()
@click.option("--once", is_flag=True, help="End after both use cases; exit status 0 only if both ended as expected.")
@click.option("--seed", default=1, show_default=True, help="Seed of the traffic that goes on without --once.")
def demo(once: bool, seed: int) -> None:
    """Play both use cases between a real marketplace and two real shops, and narrate each step.

    \b
    kalathi demo --once        ends by itself
    kalathi demo               goes on with traffic until Ctrl-C
    """
    from kalathi.operator_calls import OperatorError
    from kalathi.simulation.demo import Demo, fresh_folder
    from kalathi.simulation.processes import ProcessFailedError

    # Its processes would fail one by one, each with a log of its own.
    if find_missing(Extra.SERVER):
        fail(explain(Extra.SERVER))
    OUTPUT.stay(until_reader_leaves=not once)
    # A service manager's SIGTERM ends it like Ctrl-C: the processes that it has started end with it.
    raise_interrupt_at_end()
    try:
        good = asyncio.run(Demo(fresh_folder()).run(once=once, seed=seed))
    except KeyboardInterrupt:
        click.echo("Ended.")
        sys.exit(130 if once else 0)
    except (OperatorError, ProcessFailedError) as error:
        fail(str(error))
    if not good:
        sys.exit(1)
