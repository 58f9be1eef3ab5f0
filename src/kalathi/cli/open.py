"""`kalathi open`: a link that signs the operator of a sandbox in."""

import time
import webbrowser
from pathlib import Path
from typing import Final

import click

from kalathi.cli.operating import address_and_token, fail, operator_options
from kalathi.cli.output import echo_json
from kalathi.system.desktop import has_desktop

# The default length of a session of the pages.
_LINK_SECONDS: Final = 12 * 3600
_PAGE: Final = "open.html"


@click.command("open")
@operator_options
@click.option("--print", "only_prints", is_flag=True, help="Print the link only, and open no browser.")
def open_pages(data: Path, url: str, token: str, as_json: bool, only_prints: bool) -> None:
    """Open the operator's pages of a sandbox in a browser, with a link that signs you in once.

    \b
    kalathi open
    kalathi open --print
    kalathi open --print --json
    kalathi open --url http://127.0.0.1:8090 --data market
    """
    address, operator_token = address_and_token(data, url, token)
    if not operator_token:
        fail("give the operator's token with --token or KALATHI_OPERATOR_TOKEN, or name its folder with --data.")
    link = make_link(address, operator_token)
    if as_json:
        echo_json({"url": link})
        return
    click.echo(link)
    if not only_prints:
        open_in_browser(link, data)


def make_link(address: str, operator_token: str) -> str:
    """Return a new sign-in link that is good for 12 hours."""
    from kalathi.marketplace.panel.sign_in.links import make_sign_in_link

    return make_sign_in_link(address, operator_token, int((time.time() + _LINK_SECONDS) * 1000))


def open_in_browser(link: str, folder: Path) -> None:
    """Open a link in the user's browser, if this machine has one. A page in `folder` redirects to the link: other users
    of the machine can read the command line of a browser, but not this page."""
    if not has_desktop():
        click.echo("This machine has no desktop. Open the link in a browser yourself.", err=True)
        return
    target = link
    if folder.is_dir():
        page = folder / _PAGE
        page.unlink(missing_ok=True)
        page.touch(mode=0o600)
        page.write_text(f'<!doctype html><meta http-equiv="refresh" content="0; url={link}">\n', "utf-8")
        target = page.absolute().as_uri()
    if not webbrowser.open(target):
        click.echo("No browser could be opened. Open the link yourself.", err=True)
