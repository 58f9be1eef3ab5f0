"""Narrate orders, one line a step: coloured at a terminal, plain when piped."""

import time
from typing import Any, Final

import click

from kalathi.terminal import style

_MARKETPLACE: Final = "marketplace"
_WORDS: Final = {
    "place": "the order is open",
    "accept": "the order is accepted",
    "reject": "the order is rejected",
    "expire": "the order has expired",
    "cancel": "the order is cancelled",
    "extend": "the deadline is extended",
    "issue_voucher": "the courier's voucher is created",
    "set_as_ready": "voucher downloaded: the order is ready",
    "hand_over": "the courier has picked the order up",
    "deliver": "the order is delivered",
}
# The first word of the connector's own line about a transition, by its event.
_SAID: Final = {"accept": "accepted", "reject": "rejected", "issue_voucher": "printed"}
_COLOURS: Final = {"customer": "magenta", _MARKETPLACE: "cyan", "courier": "yellow", "printer": "green"}


class Story:
    """Write lines to standard output, with colours at a terminal."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._told: dict[str, int] = {}
        self._heard: dict[tuple[str, str], str] = {}

    def heading(self, text: str) -> None:
        """Print the heading of a part of the story."""
        click.echo()
        click.echo(style(text, bold=True))

    def line(self, text: str, *, good: bool) -> None:
        """Print a line with a mark: `ok` or `FAIL`."""
        click.echo(f"{style('ok  ', fg='green') if good else style('FAIL', fg='red')}  {text}")

    def step(self, who: str, whom: str, what: str, code: str = "") -> None:
        """Print one step: sender → receiver, the action, the order's code."""
        at = f"{time.monotonic() - self._started:6.2f} s"
        arrow = f"{style(who, fg=_COLOURS.get(who, 'blue'))} → {style(whom, fg=_COLOURS.get(whom, 'blue'))}"
        # The names are padded by their plain length, since colour takes no room.
        padding = " " * max(1, 44 - len(who) - len(whom))
        click.echo(f"{at}  {arrow}{padding}{what}" + (f"  [{style(code, bold=True)}]" if code else ""))

    def hear(self, line: str) -> None:
        """Store a connector's line, such as `printed 261124-5130474: ...`, so that `follow` prints it with its step."""
        what, _, rest = line.partition(" ")
        code, _, details = rest.partition(": ")
        self._heard[code, what] = details

    def connector_line(self, code: str, what: str) -> str:
        """Return the details of the connector's line about this step. Empty if there is none yet."""
        return self._heard.get((code, what), "")

    def has_told(self, detail: dict[str, Any]) -> bool:
        """Whether every transition of the order has been printed."""
        latest: int = detail["timeline"][-1]["version"]
        return self._told.get(detail["order"]["code"], 0) >= latest

    def follow(self, shop_name: str, detail: dict[str, Any]) -> None:
        """Print the new transitions of an order, and the webhooks that have arrived."""
        code = detail["order"]["code"]
        deliveries = {int(entry["id"].rpartition(".")[2]): entry for entry in detail["deliveries"]}
        for entry in detail["timeline"]:
            version = entry["version"]
            if version <= self._told.get(code, 0):
                continue
            delivery = deliveries.get(version)
            if delivery and delivery["state"] == "pending":
                return  # Print a transition together with its webhook, and a voucher together with its printing.
            if (said := _SAID.get(entry["event"])) and not self.connector_line(code, said):
                return  # The connector's own line comes a moment later, with the reason or the file.
            self._told[code] = version
            self._report_move(shop_name, code, entry["event"], detail["order"])
            if delivery:
                status = delivery["attempts"][-1]["status"] if delivery["attempts"] else "no URL"
                self.step(_MARKETPLACE, shop_name, f"webhook {delivery['event_type']}, answered {status}", code)
            if entry["event"] == "issue_voucher":
                self.step(shop_name, "printer", self.connector_line(code, "printed"), code)

    def _report_move(self, shop_name: str, code: str, event: str, order: dict[str, Any]) -> None:
        words = _WORDS.get(event, event)
        if event == "issue_voucher":
            codes = ", ".join(order["courier_tracking_codes"])
            self.step("courier", _MARKETPLACE, f"{words}: {codes}", code)
        elif event in {"accept", "reject"}:
            reason = self.connector_line(code, _SAID[event])
            self.step(shop_name, _MARKETPLACE, f"{event} ({reason})", code)
        elif event != "place":  # The customer's line has already been printed.
            self.step(_MARKETPLACE, _MARKETPLACE, words, code)
