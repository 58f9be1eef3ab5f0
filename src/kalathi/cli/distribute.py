"""`kalathi distribute`: spread a marketplace's database over several servers."""

import sys
import time
from typing import TYPE_CHECKING, Any

import click

from kalathi.cli.database_option import database_option, report_database_errors
from kalathi.cli.operating import fail
from kalathi.cli.output import echo_json

if TYPE_CHECKING:
    from kalathi.marketplace.kernel.storage.spread.distributing import Plan, TablePlan


@click.command()
@database_option
@click.option("--dry-run", is_flag=True, help="Show the nodes, the tables and their sizes, and change nothing.")
@click.option(
    "--shards",
    type=click.IntRange(1, 1024),
    default=32,
    show_default=True,
    help="The number of parts of the shops; at least as many as there will ever be nodes.",
)
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
def distribute(database: str, dry_run: bool, shards: int, as_json: bool) -> None:
    """Spread a PostgreSQL database over the nodes of a Citus cluster, by shop.

    Stop every process of Kalathi first. --database names the coordinator. Tables are moved one after the other; after
    an interruption, run the command again. docs/scale.md says when this pays, and how to prepare the servers.

    \b
    kalathi distribute --database postgresql://kalathi@coordinator.example/kalathi --dry-run
    kalathi distribute --database postgresql://kalathi@coordinator.example/kalathi
    """
    from kalathi.marketplace.kernel.storage.opening import is_postgres

    if not is_postgres(database):
        fail("only a PostgreSQL database can be spread over nodes. Name it: --database postgresql://user@host/name")
    # Only this command needs the driver of PostgreSQL.
    from kalathi.marketplace.kernel.storage.migrating import HEAD
    from kalathi.marketplace.kernel.storage.spread.distributing import distribute as spread
    from kalathi.marketplace.kernel.storage.spread.distributing import make_plan

    url = database.replace("postgres://", "postgresql://", 1)
    progress = _Progress()
    with report_database_errors(database):
        if dry_run:
            plan = make_plan(url, HEAD)
        else:
            plan = spread(url, HEAD, shards=shards, begun=progress.begin, ended=progress.end)
    if as_json:
        echo_json(_as_json(plan))
    elif dry_run:
        _show_plan(plan)
    elif plan.remaining:
        nodes = sum(node.has_shards for node in plan.nodes)
        click.echo(f"Spread {len(plan.remaining)} tables over {nodes} nodes. Start Kalathi again.")
    else:
        click.echo("All tables are spread already.")


class _Progress:
    """A line for each table on standard error, in a terminal only."""

    def __init__(self) -> None:
        self._is_shown = sys.stderr.isatty()
        self._began_at = 0.0

    def begin(self, plan: "TablePlan") -> None:
        self._began_at = time.monotonic()
        if self._is_shown:
            click.echo(f"{plan.table:20} {_size(plan.size):>9}  ", nl=False, err=True)

    def end(self, _plan: "TablePlan") -> None:
        if self._is_shown:
            click.echo(f"{time.monotonic() - self._began_at:6.1f} s", err=True)


def _show_plan(plan: "Plan") -> None:
    for node in plan.nodes:
        use = "coordinator" if node.group == 0 else "shops" if node.has_shards else "no shops"
        click.echo(f"{node.host}:{node.port:<6} {use}{'' if node.is_active else ', does not answer'}")
    click.echo()
    for table in plan.tables:
        where = f"by {table.column}" if table.column else str(table.target)
        state = "moved" if table.is_done else ""
        click.echo(f"{table.table:20} {where:16} {table.rows:>12,} rows {_size(table.size):>9}  {state}".rstrip())
    size = sum(table.size for table in plan.remaining)
    click.echo()
    click.echo(f"{len(plan.remaining)} of {len(plan.tables)} tables would be moved, {_size(size)}.")


def _size(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


def _as_json(plan: "Plan") -> dict[str, Any]:
    return {
        "nodes": [node._asdict() for node in plan.nodes],
        "tables": [table._asdict() for table in plan.tables],
    }
