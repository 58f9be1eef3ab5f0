"""Ready-made probes: of a WooCommerce shop, and of Kalathi's own connector."""

import csv
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import msgspec
import niquests

from kalathi.checkup.evidence import ProbeAnswer
from kalathi.checkup.probes import ProbeError
from kalathi.merchant.inbox import Inbox, InboxVersionError
from kalathi.merchant.inbox.subjects import Subject

_SECONDS: Final = 15.0
_API: Final = "/wp-json/wc/v3"
# WooCommerce's statuses in the words of the contract.
_STATES: Final[Mapping[str, str]] = {
    "pending": "open",
    "on-hold": "open",
    "processing": "accepted",
    "completed": "dispatched",
    "cancelled": "cancelled",
    "failed": "cancelled",
    "refunded": "returned",
}


class WooCommerceProbe:
    """A WooCommerce shop, by its REST API (version 3). An order is recognised by the marketplace's code anywhere in it,
    for example in its meta data, because each plugin writes it to another place."""

    def __init__(self, url: str, key: str) -> None:
        """`key` is `consumer key:consumer secret` with the right to read, from KALATHI_PROBE_KEY. Raises ProbeError."""
        name, _, secret = key.partition(":")
        if not secret:
            raise ProbeError("--probe woocommerce: needs KALATHI_PROBE_KEY=consumer_key:consumer_secret.")
        self._url = url.rstrip("/")
        self._key = (name, secret)
        self._session = niquests.AsyncSession(disable_http3=True)
        self._session.trust_env = False  # Otherwise the library reads `.netrc` and proxies of the environment.

    async def ask(self, code: str, uids: Sequence[str]) -> ProbeAnswer:
        """Return the orders with this code, and the pieces of these SKUs."""
        stock: dict[str, int] = {}
        for uid in uids:
            for product in await self._get("products", {"sku": uid}):
                if product.get("sku") == uid and product.get("stock_quantity") is not None:
                    stock[uid] = int(product["stock_quantity"])
        if not code:
            return ProbeAnswer(stock=stock)
        found = {entry["id"]: entry for entry in await self._get("orders", {"search": code, "per_page": "100"})}
        found |= {entry["id"]: entry for entry in await self._get("orders", {"per_page": "100"})}
        orders = [entry for entry in found.values() if code in msgspec.json.encode(entry).decode()]
        if not orders:
            return ProbeAnswer(orders=0, stock=stock)
        first = orders[0]
        billing = first.get("billing") or {}
        return ProbeAnswer(
            orders=len(orders),
            state=_STATES.get(first.get("status", ""), first.get("status")),
            total=float(first.get("total") or 0),
            customer=f"{billing.get('first_name', '')} {billing.get('last_name', '')}".strip(),
            stock=stock,
        )

    async def _get(self, path: str, query: dict[str, str]) -> list[dict[str, Any]]:
        try:
            answer = await self._session.get(
                f"{self._url}{_API}/{path}", params=query, auth=self._key, timeout=_SECONDS
            )
        except niquests.RequestException as error:
            raise ProbeError(f"--probe woocommerce:{self._url} does not answer ({type(error).__name__}).") from None
        if answer.status_code != 200:
            raise ProbeError(f"--probe woocommerce:{self._url} answered {path} with {answer.status_code}.")
        try:
            content = msgspec.json.decode(answer.content or b"")
        except msgspec.DecodeError:
            content = None
        if not isinstance(content, list):
            raise ProbeError(f"--probe woocommerce:{self._url} did not answer {path} with a list.")
        return content

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()


class ConnectorProbe:
    """Kalathi's connector: its inbox, and the CSV files of its hand-over if there are some.

    The inbox knows orders, states and reserved pieces. A reserved piece counts as one less. Totals, customers and
    tracking codes come from the files of `--hand-over-to csv:FOLDER`.
    """

    def __init__(self, folders: str) -> None:
        """`folders` is the connector's `--data`, and after a comma the folder of the CSV files. Raises ProbeError."""
        data, _, orders = folders.partition(",")
        self._data = Path(data)
        self._orders = Path(orders) if orders else None
        if not (self._data / "merchant.db").exists():
            raise ProbeError(f"--probe merchant: there is no inbox in {data}. Start the connector first.")

    async def ask(self, code: str, uids: Sequence[str]) -> ProbeAnswer:
        """Read both. The files are small, so the event loop waits for them."""
        try:
            with closing(Inbox(self._data / "merchant.db", beside=True)) as inbox:
                held = inbox.reservations.pieces()
                state = inbox.subjects.last_seen(Subject.ORDER, code) if code else ""
        except (sqlite3.Error, InboxVersionError, OSError) as error:
            raise ProbeError(f"--probe merchant: the inbox cannot be read: {error}") from None
        members: dict[str, Any] = {"stock": {uid: -held.get(uid, 0) for uid in uids}}
        if code:
            members |= {"orders": int(bool(state)), "state": state or "none", **self._read_file(code)}
        return msgspec.convert(members, ProbeAnswer)

    def _read_file(self, code: str) -> dict[str, Any]:
        """Return the members that the CSV file of an order shows."""
        path = self._orders / f"{code}.csv" if self._orders is not None else None
        if path is None or not path.exists():
            return {}
        try:
            with path.open(encoding="utf-8", newline="") as file:
                rows = list(csv.DictReader(file))
            first = rows[0]
            return {
                "total": sum(float(row["total_price"]) for row in rows),
                "customer": f"{first['first_name']} {first['last_name']}",
                "tracking_codes": [part for part in first["tracking_codes"].replace(",", " ").split() if part],
            }
        except (OSError, ValueError, LookupError) as error:
            raise ProbeError(f"--probe merchant: {path} is not a file of --hand-over-to csv ({error}).") from None

    async def close(self) -> None:
        """Nothing is open."""
