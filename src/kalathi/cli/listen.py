"""`kalathi listen`: receive a shop's webhooks over a stream, print them, and forward them."""

from pathlib import Path

import click

from kalathi.cli.operating import Market, address_and_token, fail, is_proxy_wanted, operator_options
from kalathi.cli.output import OUTPUT, echo_json
from kalathi.cli.shop_choice import find_only_shop, shop_option
from kalathi.terminal import in_one_line, style


@click.command()
@shop_option
@click.option("--forward", default="", help="Where each webhook is forwarded to; its answer counts as the endpoint's.")
@click.option("--beside", is_flag=True, help="Receive copies; the shop's own URL stays in use.")
@click.option("--events", default="", help="Only these events, such as new_order,merchant_return_created.")
@click.option("--failed", is_flag=True, help="Show only webhooks that failed.")
@click.option("--header", "headers", multiple=True, metavar="NAME:VALUE", help="A header for the target; repeatable.")
@click.option("--insecure", is_flag=True, help="Accept a self-signed certificate of the target.")
@operator_options
def listen(
    shop_id: str,
    forward: str,
    beside: bool,
    events: str,
    failed: bool,
    headers: tuple[str, ...],
    insecure: bool,
    data: Path,
    url: str,
    token: str,
    as_json: bool,
) -> None:
    """Receive a shop's webhooks while this command runs, in place of the shop's URL. The shop's settings stay as they
    are, and no port is opened, so it also works behind NAT.

    \b
    kalathi listen
    kalathi listen --shop YlpD0KROym --forward localhost:8000/skroutz/webhook
    kalathi listen --shop YlpD0KROym --beside --events new_order
    kalathi listen --shop YlpD0KROym --forward https://localhost:8443/hook --insecure --header "X-Key: 1"
    kalathi listen --shop YlpD0KROym --json >> webhooks.jsonl
    """
    from kalathi.serving import run_loop, until_signal
    from kalathi.simulation.listener import Forwarding, Heard, Listener, RefusedError, Subscription

    forwarding = Forwarding(_target(forward), _headers(headers), insecure) if forward else None
    if forwarding is None and (headers or insecure or failed):
        fail("--header, --insecure and --failed are about the target: give --forward too.")
    shop_id = shop_id or find_only_shop(Market(data, url, token))
    found_url, found_token = address_and_token(data, url, token)
    names = tuple(name for part in events.split(",") if (name := part.strip()))

    def show(heard: Heard) -> None:
        if failed and not heard.has_failed:
            return
        if as_json:
            echo_json({"time": _now()} | heard.record())
        else:
            line = f"{_now()}  {in_one_line(heard.line())}"
            click.echo(style(line, fg="red") if heard.has_failed else line)

    def show_role(counts: bool) -> None:
        if beside:
            text = "Listening beside the shop's URL"
        elif counts:
            text = "Listening in place of the shop's URL"
        else:
            text = "Listening to copies for now: another listener is connected, or its lease has not expired yet"
        # Standard output is for webhooks only.
        click.echo(f"{text} (shop {shop_id}). Ctrl-C ends it.", err=True)

    def show_interruption(seconds: float) -> None:
        click.echo(f"The stream has ended. Connecting again in {seconds:g} s.", err=True)

    # Without a target the command has no work left once its reader is gone.
    OUTPUT.stay(until_reader_leaves=forwarding is None)
    listener = Listener(
        found_url,
        found_token,
        Subscription(shop_id, names, beside),
        forwarding,
        heard=show,
        role_changed=show_role,
        interrupted=show_interruption,
        uses_proxy=is_proxy_wanted(),
    )
    try:
        run_loop(until_signal(listener.run()))
    except RefusedError as error:
        fail(str(error))


def _target(forward: str) -> str:
    """Return the URL to forward to; `localhost:8000/hook` means http."""
    from kalathi.marketplace.kernel.targets import BadUrl, parse_target

    url = forward if "://" in forward else f"http://{forward}"
    target = parse_target(url)
    if isinstance(target, BadUrl):
        fail(f"--forward {forward}: it {target}.")
    return url


def _headers(lines: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for line in lines:
        name, colon, value = line.partition(":")
        name, value = name.strip(), value.strip()
        is_token = bool(name) and all(character.isalnum() or character in "-_" for character in name)
        if not colon or not is_token or not (name + value).isascii() or not value.isprintable():
            fail(f"--header {line}: give NAME:VALUE in ASCII, such as X-Key:1.")
        if name.lower() in _FIXED_HEADERS:
            fail(f"--header {name}: every webhook has this header already.")
        found[name] = value
    return found


_FIXED_HEADERS = frozenset(
    {"host", "content-length", "content-type", "transfer-encoding", "connection", "user-agent", "accept"}
    | {"accept-encoding", "webhook-id", "webhook-timestamp", "webhook-signature"}
)


def _now() -> str:
    from datetime import datetime

    return datetime.now().astimezone().strftime("%H:%M:%S")
