"""`kalathi merchant status | replay | settle | reprint | day`: commands that work while the connector runs."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kalathi.cli.operating import fail, show
from kalathi.cli.output import echo_json
from kalathi.cli.sharing import SharingCommand
from kalathi.terminal import in_one_line, style

if TYPE_CHECKING:
    from kalathi.merchant.inbox import Inbox
    from kalathi.merchant.overview import MergedVouchers, Status

data_option = click.option(
    "--data",
    envvar="KALATHI_MERCHANT_DATA",
    type=click.Path(path_type=Path),
    default=Path("kalathi-merchant"),
    show_default=True,
    help="Folder of the connector's inbox.",
)

json_option = click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")


@click.command(cls=SharingCommand)
@data_option
@json_option
def status(data: Path, *, as_json: bool) -> None:
    """Show the queue, the last events, the deadlines, and a sentence for each thing that needs a person.

    Ends with 0; with --json, `needs_a_person` is empty if there is nothing to do.
    """
    from msgspec import json

    from kalathi.contract.reading import ATHENS
    from kalathi.merchant.overview import status_of
    from kalathi.system.locks import is_locked

    with open_inbox(data) as inbox:
        is_running = is_locked(data / "merchant.db.lock")
        found = status_of(inbox, datetime.now(ATHENS), is_running=is_running)
    if as_json:
        click.echo(json.encode(found))
    else:
        _show(found)


@click.command(cls=SharingCommand)
@click.argument("code", required=False)
@data_option
@click.option("--all", "everything", is_flag=True, help="Everything that waits for a person.")
@json_option
def replay(code: str | None, data: Path, *, everything: bool, as_json: bool) -> None:
    """Process an order or a return again by its CODE, or everything that waits for a person. The connector does it
    within seconds.

    \b
    kalathi merchant replay 261124-2152744
    kalathi merchant replay --all
    """
    from kalathi.merchant.overview import plan_again

    if (code is None) is not everything:
        fail("give the code of an order or a return, or --all.")
    with open_inbox(data) as inbox:
        count = plan_again(inbox, code)
    text = f"To be processed again: {count}." if count else "Nothing waits for a person."
    show(as_json, {"planned": count}, text)


@click.command(cls=SharingCommand)
@click.argument("code", required=False)
@data_option
@click.option("--events", "all_events", is_flag=True, help="The webhooks that could not be read.")
@json_option
def settle(code: str | None, data: Path, *, all_events: bool, as_json: bool) -> None:
    """Remove a problem that you have solved from `status`: you threw away the earlier label of the order CODE, its
    parcel is back and counted, or you dealt with the unreadable webhooks.

    All other problems disappear from `status` when their cause is gone.

    \b
    kalathi merchant settle 261124-2152744
    kalathi merchant settle --events
    """
    from kalathi.merchant.overview import settle as settle_label

    if (code is None) is not all_events:
        fail("give the code of an order, or --events.")
    with open_inbox(data) as inbox:
        if code is None:
            count = inbox.events.settle_unreadable()
            show(as_json, {"settled_webhooks": count}, f"Settled: {count} unreadable webhooks.")
        elif settle_label(inbox, code):
            show(as_json, {"settled": code}, f"Settled: {code}.")
        else:
            fail(
                f"{code} has no earlier label to throw away and no parcel on its way back. All other problems of"
                " an order disappear when their cause is gone."
            )


@click.command(cls=SharingCommand)
@click.argument("code")
@data_option
@json_option
def reprint(code: str, data: Path, *, as_json: bool) -> None:
    """Print the voucher of the order CODE once more; the connector does it within seconds."""
    from kalathi.merchant.overview import print_again

    with open_inbox(data) as inbox:
        is_accepted = print_again(inbox, code)
    if not is_accepted:
        fail(f"this connector has no accepted order {code}. To fetch its state: kalathi merchant replay {code}")
    show(as_json, {"reprinted": code}, f"The voucher of {code} is printed again.")


@click.command(cls=SharingCommand)
@data_option
@click.option("--date", type=click.DateTime(["%Y-%m-%d"]), help="A day other than today, such as 2026-11-24.")
@click.option("--out", type=click.Path(path_type=Path), help="The file to write; default: ./vouchers-<date>.pdf.")
@json_option
def day(data: Path, date: datetime | None, out: Path | None, *, as_json: bool) -> None:
    """Merge the vouchers printed on one day into one PDF, in the order of printing."""
    from kalathi.contract.reading import ATHENS
    from kalathi.merchant.overview import merge_vouchers

    start = datetime.combine((date or datetime.now(ATHENS)).date(), time(), tzinfo=ATHENS)
    end = datetime.combine(start.date() + timedelta(days=1), time(), tzinfo=ATHENS)
    target = out or Path(f"vouchers-{start:%Y-%m-%d}.pdf")
    with open_inbox(data) as inbox:
        printed = inbox.vouchers.list_printed(start.timestamp(), end.timestamp())
    try:
        merged = merge_vouchers(printed, target)
    except OSError as error:
        fail(f"cannot write {target}: {error.strerror or error}.")
    if as_json:
        file = str(target) if merged.pages else None
        echo_json({"file": file, "pages": merged.pages, "gone": merged.gone, "unreadable": merged.unreadable})
    else:
        _show_merged(merged, target, f"{start:%d/%m/%Y}", has_printed=bool(printed))


def _show_merged(merged: "MergedVouchers", target: Path, date: str, *, has_printed: bool) -> None:
    if merged.gone:
        click.echo(f"Left out, since their files are not there any more: {', '.join(merged.gone)}.", err=True)
    for code, reason in merged.unreadable.items():
        click.echo(
            f"Left out: the file of {code} could not be read: {reason.rstrip('.')}. To print it again: "
            f"kalathi merchant reprint {code}",
            err=True,
        )
    if merged.pages:
        click.echo(f"{target}: {merged.pages} pages.")
    elif merged.unreadable:
        click.echo(f"Nothing was written: none of the vouchers of {date} could be read.")
    elif has_printed:
        click.echo(f"Nothing was written: none of the vouchers of {date} is left.")
    else:
        click.echo(f"No voucher was printed on {date}.")


@contextmanager
def open_inbox(data: Path) -> "Iterator[Inbox]":
    """Open the inbox of a connector that may be running. End with a message if it cannot be used."""
    from kalathi.merchant.inbox import Inbox, InboxVersionError

    path = data / "merchant.db"
    if not path.exists():
        fail(f"there is no inbox in {data}. Give the folder of the connector's --data.")
    try:
        inbox = Inbox(path, beside=True)
    except InboxVersionError as error:
        fail(str(error))
    except sqlite3.Error as error:
        fail(f"the inbox in {data} cannot be used: {error}.")
    try:
        yield inbox
    except sqlite3.Error as error:
        fail(f"the inbox in {data} cannot be used: {error}.")
    finally:
        inbox.close()


def _show(found: "Status") -> None:
    waiting = (
        (found.events_waiting, "events to read"),
        (found.looks_waiting, "to look at"),
        (found.handovers_waiting, "to hand over"),
    )
    queue = ", ".join(f"{count} {what}" for count, what in waiting if count)
    click.echo(f"{_bold('Queue')}       {queue or 'empty'}")
    click.echo(f"{_bold('Orders')}      {_counts(found.orders)}")
    click.echo(f"{_bold('Returns')}     {_counts(found.returns)}")
    if found.published_products:
        click.echo(f"{_bold('Stock')}       {_describe_stock(found)}")
    click.echo(f"{_bold('Vouchers')}    {found.printed} printed; {found.reserved_pieces} pieces are held for orders")
    reconciled = "never" if found.reconciled_at is None else _time(found.reconciled_at)
    click.echo(f"{_bold('Reconciled')}  {reconciled}")
    _section("To be answered", [f"{_time(entry.answer_until)}  {entry.code}" for entry in found.deadlines])
    _section("Last events", [f"{_time(entry.received_at)}  {entry.state:6}{entry.note}" for entry in found.last_events])
    _section("Refused webhooks of the last day", found.refused_webhooks)
    if found.needs_a_person:
        _section("Needs a person", found.needs_a_person, lambda text: style(text, fg="yellow", bold=True))
    else:
        click.echo("\nNothing needs a person.")


def _section(title: str, lines: list[str], style: Callable[[str], Any] | None = None) -> None:
    if lines:
        click.echo(f"\n{(style or _bold)(title)}")
    for line in lines:
        click.echo("  " + in_one_line(line).rstrip())


def _describe_stock(found: "Status") -> str:
    published = f"{found.published_products} products are published"
    if found.unpublished_since is not None:
        published += f"; changes wait since {_time(found.unpublished_since)}"
    if found.open_batches:
        published += f"; the results of {found.open_batches} batches are not known yet"
    return published


def _bold(text: str) -> str:
    return style(text, bold=True)


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {state or 'not looked at'}" for state, count in sorted(counts.items())) or "none"


def _time(at: datetime) -> str:
    return f"{at:%d/%m %H:%M:%S %Z}"
