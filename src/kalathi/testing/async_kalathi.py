"""A sandbox shop for one test with an event loop."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Literal, Self

from kalathi.testing.calling import Caller, WaitTurns, async_run
from kalathi.testing.receivers import start_receiver
from kalathi.testing.report import read_report
from kalathi.testing.server import run_server
from kalathi.testing.shop import CUSTOMER, Shop, State, create_shop, find_failed_webhooks

_SHOPS = "/marketplace/shops"
_ORDERS = "/marketplace/orders"


class AsyncKalathi:
    """A marketplace with a shop for one test.

    `url` is the base URL for the shop's own client, and `token` its API token. Calls of this class are the operator's,
    so they are not in the request log. They raise OperatorError if the marketplace refuses them, and AssertionError
    if something did not happen in time.
    """

    def __init__(self, state: State) -> None:
        """Use `start` or `connect`."""
        self.state = state
        self.caller, self.shop, self.url = state.caller, state.shop, state.caller.url
        self.clock = AsyncClock(state.caller)
        self.faults = AsyncFaults(state)
        self.deliveries = AsyncDeliveries(state)
        self.requests = AsyncRequests(state)

    @classmethod
    @asynccontextmanager
    async def start(cls, *options: str) -> AsyncIterator[Self]:
        """Start a marketplace as a separate process, and end it afterwards. `options` are those of `kalathi serve`,
        such as `--rough`. Raises ServerFailedError."""
        with run_server(options) as server:
            connecting = cls.connect(server.url, server.operator_token)
            async with connecting as kalathi:
                yield kalathi

    @classmethod
    @asynccontextmanager
    async def connect(cls, url: str, operator_token: str, shop: Shop | None = None) -> AsyncIterator[Self]:
        """Connect to a running sandbox with the operator's token. Without a shop, a new one is made. At the end, every
        webhook must have been answered with 200."""
        caller = Caller(url, operator_token)
        try:
            own = shop if shop is not None else await async_run(create_shop, caller)
            kalathi = cls(State(caller, own))
            try:
                yield kalathi
                await kalathi.check_webhooks()
            finally:
                await kalathi.close()
        finally:
            caller.close()

    @property
    def token(self) -> str:
        """The shop's API token."""
        return self.shop.token

    async def webhooks_to(
        self, target: str | Callable[..., Any], path: str = "/", *, returns_path: str | None = None
    ) -> str:
        """Send the shop's webhooks to a URL, or to an ASGI or WSGI application, which is then served on a free port.

        `path` is the path of the application's handler. `returns_path` also sends return webhooks, to this path; for a
        URL, `path` is not used, and `returns_path` is another URL. Return the URL of the order webhooks.
        """
        orders_url, returns_url = (target, returns_path) if isinstance(target, str) else ("", None)
        if not isinstance(target, str):
            receiver = await async_run(start_receiver, target)
            self.state.receivers.append(receiver)
            orders_url = receiver.url + path
            returns_url = None if returns_path is None else receiver.url + returns_path
        changes: dict[str, Any] = {"webhook_url": orders_url}
        if returns_url is not None:
            changes |= {"returns_webhook_url": returns_url, "returns_webhook_enabled": True}
        await self.change_shop(**changes)
        return orders_url

    async def change_shop(self, **changes: object) -> None:
        """Change settings of the shop, such as `courier` or `set_as_ready_required`."""
        await async_run(self.caller.call, "PATCH", f"{_SHOPS}/{self.shop.id}", changes)

    async def add_listing(
        self, shop_uid: str, *, quantity: int = 10, unit_price: float = 10.0, **members: object
    ) -> None:
        """Add a listing of the shop, or replace it. `members` are its further members, such as `ean`."""
        listing = {"shop_uid": shop_uid, "product_name": shop_uid, "quantity": quantity, "unit_price": unit_price}
        await async_run(self.caller.call, "PUT", f"{_SHOPS}/{self.shop.id}/listings", [{**listing, **members}])

    async def place(self, items: Mapping[str, int], **members: object) -> "AsyncOrder":
        """Place a cart with these quantities of listings, and return its order. `members` are further members of the
        cart, such as `payment_method`."""
        wanted = [{"shop_id": self.shop.id, "shop_uid": uid, "quantity": count} for uid, count in items.items()]
        cart = {"customer": CUSTOMER, "payment_method": "card", "items": wanted, **members}
        placed = await async_run(self.caller.call, "POST", "/marketplace/carts", cart)
        return self.order(placed["orders"][0]["code"])

    async def play(self, scenario: str, set: Mapping[str, object] | None = None) -> "AsyncPlayed":  # noqa: A002  (as --set)
        """Play a scenario for the shop. `set` has other values by their paths, as `kalathi trigger --set` does."""
        body = {"shop_id": self.shop.id, "set": dict(set or {})}
        played = await async_run(self.caller.call, "POST", f"/marketplace/scenarios/{scenario}", body)
        return AsyncPlayed(self.caller, played)

    def order(self, code: str) -> "AsyncOrder":
        """Return the order with this code."""
        return AsyncOrder(self.caller, code)

    async def reset(self) -> None:
        """Delete the shop's orders, returns, webhooks, listings, stock and fault rules. Webhooks that were not answered
        with 200 before still fail the test."""
        self.state.failed += await async_run(find_failed_webhooks, self.caller, self.shop)
        self.state.rules.clear()
        await async_run(self.caller.call, "POST", f"{_SHOPS}/{self.shop.id}/reset")

    def expect_failed_webhooks(self) -> None:
        """Accept webhooks that are not answered with 200. Without this call, they fail the test at its end."""
        self.state.expects_failures = True

    async def report(self) -> str:
        """Return the shop's calls and webhooks as a text, with a curl line for each call."""
        return await async_run(read_report, self.caller, self.shop)

    async def check_webhooks(self) -> None:
        """Check that every webhook was answered with 200. Raises AssertionError."""
        if self.state.expects_failures:
            return
        failed = [*self.state.failed, *await async_run(find_failed_webhooks, self.caller, self.shop)]
        if failed:
            sentences = "\n".join(failed)
            raise AssertionError(
                f"{sentences}\nIf the test expects this, call expect_failed_webhooks().\n\n{await self.report()}"
            )

    async def close(self) -> None:
        """Remove the shop's faults, and end the receivers."""
        try:
            await self.faults.clear()
        finally:
            while self.state.receivers:
                await async_run(self.state.receivers.pop().stop)


class AsyncOrder:
    """An order."""

    def __init__(self, caller: Caller, code: str) -> None:
        self.code = code
        self._caller = caller

    def __repr__(self) -> str:
        return f"<order {self.code}>"

    async def show(self) -> dict[str, Any]:
        """Return the operator's view: `order` as on the wire, `timeline`, `deliveries`, `cart`, ..."""
        shown: dict[str, Any] = await async_run(self._caller.call, "GET", f"{_ORDERS}/{self.code}")
        return shown

    async def state(self) -> str:
        """Return the order's state."""
        return str((await self.show())["order"]["state"])

    async def wait_for(self, *states: str, seconds: float = 10) -> dict[str, Any]:
        """Wait until the order is in one of these states, and return its view. Raises AssertionError."""
        turns = WaitTurns(seconds)
        while True:
            query = {"state": ",".join(states), "wait": turns.next_seconds()}
            shown: dict[str, Any] = await async_run(self._caller.call, "GET", f"{_ORDERS}/{self.code}", query=query)
            state = shown["order"]["state"]
            if state in states:
                return shown
            if turns.are_over:
                raise AssertionError(f"After {seconds:g} s order {self.code} is {state}, not {' or '.join(states)}.")

    async def run(self, operation: str, **body: object) -> dict[str, Any]:
        """Run an operation of a customer, support or a courier, such as `cancel`, `hand_over` or `deliver`."""
        path = f"{_ORDERS}/{self.code}/{operation}"
        shown: dict[str, Any] = await async_run(self._caller.call, "POST", path, body)
        return shown

    async def run_as_shop(self, action: str, **body: object) -> dict[str, Any]:
        """Run an action of the shop, such as `accept`, without its client."""
        return await self.run(f"as_shop/{action}", **body)


class AsyncPlayed:
    """A scenario that was played. `orders` are the created orders, `returns` the codes of the created returns, and
    `steps` the played steps."""

    def __init__(self, caller: Caller, played: Mapping[str, Any]) -> None:
        self.orders = [AsyncOrder(caller, entry["code"]) for entry in played["orders"]]
        self.returns: list[str] = [entry["code"] for entry in played["returns"]]
        self.steps: list[dict[str, Any]] = played["steps"]

    @property
    def order(self) -> AsyncOrder:
        """The first order."""
        return self.orders[0]


class AsyncClock:
    """Business time, which all tests of the marketplace share. It only moves forward."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def now(self) -> datetime:
        """Return business time, in Athens."""
        return datetime.fromisoformat((await async_run(self._caller.call, "GET", "/marketplace/clock"))["now"])

    async def advance(self, *, days: int = 0, hours: int = 0, minutes: int = 0, seconds: int = 0) -> datetime:
        """Move business time forward, and return the new time. Everything due in between has then run."""
        total = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
        move = {"advance_seconds": total}
        answer = await async_run(self._caller.call, "POST", "/marketplace/clock", move)
        return datetime.fromisoformat(answer["now"])


class AsyncFaults:
    """The shop's own fault rules. They end with the test."""

    def __init__(self, state: State) -> None:
        self._caller = state.caller
        self._path = f"{_SHOPS}/{state.shop.id}/faults"
        self._rules = state.rules

    async def add(self, on: Literal["api", "webhooks"], kind: str, *, seed: int = 1, **members: object) -> None:
        """Add a rule, such as `add("api", "error", call="accept", status=503)`. `seed` applies to all rules."""
        rules = [*self._rules, {"on": on, "kind": kind, **members}]
        await async_run(self._caller.call, "PUT", self._path, {"seed": seed, "rules": rules})
        self._rules[:] = rules

    async def clear(self) -> None:
        """Remove all rules of the shop."""
        if self._rules:
            self._rules.clear()
            await async_run(self._caller.call, "DELETE", self._path)


class AsyncDeliveries:
    """The shop's webhooks."""

    def __init__(self, state: State) -> None:
        self._log = AsyncLog(state, "/marketplace/deliveries", "deliveries")
        self._caller = state.caller

    async def list(self, **filters: object) -> "Sequence[dict[str, Any]]":
        """Return the webhooks of the delivery log, oldest first. `filters` are its parameters, such as `subject`."""
        return await self._log.read(filters)

    async def show(self, delivery_id: str) -> dict[str, Any]:
        """Return one webhook with its body, its headers and all attempts."""
        path = f"/marketplace/deliveries/{delivery_id}"
        shown: dict[str, Any] = await async_run(self._caller.call, "GET", path)
        return shown

    async def wait(
        self,
        count: int = 1,
        *,
        order: AsyncOrder | str | None = None,
        event_type: str | None = None,
        state: str = "delivered",
        seconds: float = 10,
    ) -> "Sequence[dict[str, Any]]":
        """Wait until so many webhooks are in this state (`ended` is any but pending), and return them, oldest first.
        Raises AssertionError."""
        subject = order.code if isinstance(order, AsyncOrder) else order
        wanted = {"subject": subject, "event_type": event_type, "state": state}
        return await self._log.wait(wanted, count, seconds, "webhooks")


class AsyncRequests:
    """The calls that the shop's client made."""

    def __init__(self, state: State) -> None:
        self._log = AsyncLog(state, "/marketplace/requests", "requests")

    async def list(self, **filters: object) -> "Sequence[dict[str, Any]]":
        """Return the calls of the request log, oldest first. `filters` are its parameters, such as `status`."""
        return await self._log.read(filters)

    async def wait(
        self,
        call: str | None = None,
        count: int = 1,
        *,
        order: AsyncOrder | str | None = None,
        status: int | str | None = None,
        seconds: float = 10,
    ) -> "Sequence[dict[str, Any]]":
        """Wait until the shop has made so many calls, and return them, oldest first. `call` is a name such as `accept`,
        `show` or `list`; `status` is a status or a class such as `2xx`. Raises AssertionError."""
        subject = order.code if isinstance(order, AsyncOrder) else order
        return await self._log.wait({"call": call, "subject": subject, "status": status}, count, seconds, "calls")


class AsyncLog:
    """The shop's part of a log of the marketplace."""

    def __init__(self, state: State, path: str, member: str) -> None:
        self._caller, self._shop = state.caller, state.shop
        self._path, self._member = path, member

    async def read(self, filters: Mapping[str, object]) -> list[dict[str, Any]]:
        """Return the entries that match, oldest first: all of them, or those of the given `page`."""
        query = {"shop_id": self._shop.id, "per": 100, **filters}
        first = await async_run(self._caller.call, "GET", self._path, query=query)
        entries = {entry["id"]: entry for entry in first[self._member]}
        pages = 1 if "page" in filters else first["meta"]["pagination"]["total_pages"]
        for page in range(2, pages + 1):
            # Entries that came in the meantime move others to the next page, which then has them again.
            more = await async_run(self._caller.call, "GET", self._path, query={**query, "page": page, "wait": None})
            entries |= {entry["id"]: entry for entry in more[self._member]}
        return list(entries.values())[::-1]

    async def wait(self, wanted: Mapping[str, object], count: int, seconds: float, what: str) -> list[dict[str, Any]]:
        """Wait until so many entries match, and return them, oldest first. Raises AssertionError."""
        turns = WaitTurns(seconds)
        while True:
            found = await self.read({**wanted, "count": count, "wait": turns.next_seconds()})
            if len(found) >= count:
                return found
            if turns.are_over:
                named = ", ".join(f"{name} {value}" for name, value in wanted.items() if value is not None)
                like = f" with {named}" if named else ""
                raise AssertionError(f"After {seconds:g} s there are {len(found)} {what}{like}, not {count}.")
