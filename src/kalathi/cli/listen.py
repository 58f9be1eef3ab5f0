"""`kalathi listen`: stands in a shop's place and shows its webhooks."""

from pathlib import Path

import click

from kalathi.cli.operating import fail, operate, operator_options
from kalathi.cli.output import OUTPUT


@click.command()
@click.option("--shop", "shop_id", required=True, help="The shop whose webhooks are listened to.")
@click.option("--forward", default="", help="Where each webhook is passed on to, unchanged; its answer is given back.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, show_default=True, help="Port; 0 takes a free one.")
@click.option("--public-url", default="", help="How the marketplace reaches this machine; empty: the address itself.")
@operator_options
def listen(
    shop_id: str,
    forward: str,
    host: str,
    port: int,
    public_url: str,
    data: Path,
    url: str,
    token: str,
    as_json: bool,
) -> None:
    """Become a shop's webhook URL, print each webhook as it comes, pass it on, and give the URL back at the end.

    \b
    kalathi listen --shop YlpD0KROym
    kalathi listen --shop YlpD0KROym --forward http://127.0.0.1:8000/skroutz/webhook
    kalathi listen --shop YlpD0KROym --json >> webhooks.jsonl
    """
    from kalathi.serving import address_of, listening_socket, run_loop, run_server
    from kalathi.simulation.listener import Heard, Listener

    shops = {entry["id"]: entry for entry in operate(data, url, token, lambda operator: operator.shops())}
    if shop_id not in shops:
        fail(f"there is no shop {shop_id}: kalathi shop list shows them.")
    try:
        bound = listening_socket(host, port)
    except OSError as error:
        fail(f"cannot listen on {host}:{port}: {error.strerror}.")
    address = public_url or address_of(bound) + "/"

    def tell(heard: Heard) -> None:
        line = heard.record() if as_json else heard.line()
        # Texts of customers come from outside: what could move the cursor is not shown.
        shown = "".join(character if character.isprintable() else "?" for character in line)
        # JSON is always UTF-8, also on a terminal of another encoding.
        click.echo(shown.encode() if as_json else shown)

    async def run() -> None:
        listener = Listener(forward, tell)
        try:
            await run_server(listener, bound, lambda: _ready(address))
        finally:
            await listener.close()

    def become(new: str | None, enabled: bool) -> None:
        changes = {"webhook_url": new, "webhook_enabled": enabled}
        operate(data, url, token, lambda operator: operator.change_shop(shop_id, changes))

    # Without --forward the command has no work left once its reader is gone.
    OUTPUT.stay(until_reader_leaves=not forward)
    become(address, True)
    try:
        run_loop(run())
    finally:
        present = {entry["id"]: entry for entry in operate(data, url, token, lambda operator: operator.shops())}
        if present[shop_id]["webhook_url"] == address:
            become(shops[shop_id]["webhook_url"], shops[shop_id]["webhook_enabled"])
        else:
            click.echo("The shop's webhook URL was changed in the meantime and is left as it is.", err=True)


def _ready(address: str) -> None:
    # Standard output is for the webhooks alone.
    click.echo(f"Listening on {address}", err=True)
