"""Open the probe that an option names."""

import os

from kalathi.checkup.database_probe import SqlProbe
from kalathi.checkup.probes import CommandProbe, Probe, ProbeError, UrlProbe
from kalathi.checkup.shop_probes import ConnectorProbe, WooCommerceProbe


def open_probe(text: str, *, order_query: str = "", stock_query: str = "") -> Probe:
    """Return the probe of an option: a URL, `command:...`, `woocommerce:URL`, `merchant:FOLDER`, or the URL of a
    database. Raises ProbeError."""
    kind, _, rest = text.partition(":")
    if kind in {"http", "https"}:
        return UrlProbe(text)
    if kind == "command":
        return CommandProbe(rest)
    if kind == "woocommerce":
        return WooCommerceProbe(rest, os.environ.get("KALATHI_PROBE_KEY", ""))
    if kind == "merchant":
        return ConnectorProbe(rest)
    if "://" in text:
        if not (order_query or stock_query):
            raise ProbeError("--probe with a database needs --probe-order or --probe-stock (kalathi checkup --help).")
        return SqlProbe(text, order_query, stock_query)
    raise ProbeError(
        f"--probe {text}: give a URL, command:..., woocommerce:https://shop, merchant:FOLDER or the URL of a database."
    )
