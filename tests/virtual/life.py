"""Random life in a marketplace, and a model of its own that says after each step what must be told and what must be in
stock. The model knows the contract's tables (sections 2 to 4) and nothing of the code: states, who is told of what,
and where the pieces of an order go."""

import asyncio
import random
from collections import Counter
from datetime import date, datetime
from typing import Any, Final

from tests.market import CUSTOMER, LOCATION, Market, Shop, until
from tests.virtual.actors import ACTORS, Known
from tests.virtual.life_returns import Returns

Shown = dict[str, Any]
Events = list[dict[str, Any]]

# The fields that `changes` tells of (docs/contract.md#section-4).
LISTED: Final = (
    "state",
    "expires_at",
    "dispatch_until",
    "courier",
    "courier_voucher",
    "courier_tracking_codes",
    "fbs_delivery_note",
    "fbs_delivery_note_url",
    "pickup_window",
    "number_of_parcels",
    "pickup_address",
    "is_ready_for_dispatch",
)
# The fields that each action may change; an action that is not here sends no webhook.
TOLD: Final[dict[str, set[str]]] = {
    "accept": {"state", "pickup_window", "number_of_parcels", "pickup_address"},
    "reject": {"state"},
    "support_rejects": {"state"},
    "cancel": {"state"},
    "extend": {"expires_at", "dispatch_until"},
    "hand_over": {"state"},
    "reschedule_pickup": {"pickup_window"},
    "support_moves": {"pickup_window"},
    "request_voucher": {"pickup_window"},
    "relocate_pickup": {"pickup_address"},
    "set_as_ready": {"is_ready_for_dispatch", "pickup_window"},
    "set_as_not_ready": {"is_ready_for_dispatch", "pickup_window"},
    "download": {"is_ready_for_dispatch"},
    "bring_back": {"state"},
    "change_parcels": {"number_of_parcels"},
    "change_courier": {"courier"},
    "miss_pickup": {"pickup_window"},
}
BY_THE_CLOCK: Final = (
    {"state"},
    TOLD["accept"],
    TOLD["accept"] - {"pickup_window"},
    {"courier_voucher", "courier_tracking_codes"},
)
FOLLOWING: Final[dict[str, set[str]]] = {
    "open": {"accepted", "rejected", "expired", "cancelled"},
    "accepted": {"dispatched", "delivered", "cancelled"},
    "dispatched": {"delivered", "partially_delivered", "for_return", "cancelled"},
    "for_return": {"returned"},
}
FINAL: Final = {
    *("rejected", "expired", "cancelled", "delivered", "partially_delivered", "for_return"),
    *("partially_returned", "returned"),
}
GIVES_BACK: Final = {"rejected", "expired", "cancelled"}

# How often each thing is tried in each state; everything is tried now and then in every state.
LIKELY: Final[dict[str, dict[str, int]]] = {
    "open": {"accept": 40, "reject": 14, "cancel": 8, "extend": 5, "support_rejects": 3},
    "accepted": {
        "hand_over": 25,
        "collect": 10,
        "set_as_ready": 10,
        "set_as_not_ready": 6,
        "reschedule_pickup": 8,
        "relocate_pickup": 8,
        "download": 8,
        "support_moves": 4,
        "cancel": 6,
        "tracking_details": 6,
        "request_voucher": 4,
        "invoices": 4,
        "change_parcels": 3,
        "change_courier": 3,
        "miss_pickup": 3,
    },
    "dispatched": {"deliver": 40, "deliver_partly": 15, "fail_delivery": 8, "cancel": 8, "tracking_details": 2},
    "delivered": {"replace": 1},
    "partially_delivered": {"replace": 1},
}
KINDS: Final[tuple[dict[str, bool], ...]] = ({}, {}, {}, {"store_pickup": True}, {"express": True})
JUMPS_SECONDS: Final = (1, 59, 3600, 7200, 6 * 3600, 86_399, 86_400, 3 * 86_400)
# More than the longest wait, that of a preorder which is placed on the last day.
MOST_WEEKS: Final = 60


class Life:
    """Customers, shops, support and couriers of one marketplace, moved by chance."""

    def __init__(self, market: Market, chance: random.Random) -> None:
        self.market = market
        self.chance = chance
        self.shops: list[Shop] = []
        self.stock: dict[str, dict[str, int]] = {}
        self.orders: dict[str, Known] = {}
        self.live: list[str] = []
        self.refused = 0
        self.told = 0
        self.done: Counter[str] = Counter()
        self.returns = Returns(self)
        # The shops that hear of returns.
        self.hooked: set[str] = set()
        # The orders whose parcel travels back.
        self.travelling: set[str] = set()
        self._heard = 0

    async def open_shops(self, preorders_ship_on: date) -> None:
        """Four kinds of shops; the last sends its orders itself."""
        places: dict[str, Any] = {"locations": [LOCATION, {**LOCATION, "street_name": "Ερμού"}]}
        hook: dict[str, Any] = {"returns_webhook_url": "http://shop/returns", "returns_webhook_enabled": True}
        self.shops = [
            await self.market.shop("Plain", **places, **hook),
            await self.market.shop("Enrolled", set_as_ready_required=True, **places, **hook),
            await self.market.shop("Preorders", listing={"preorder_ships_on": preorders_ship_on.isoformat()}),
            await self.market.shop("Merchant", fulfillment_mode="fbm", **places),
        ]
        self.hooked = {shop.id for shop in self.shops[:2]}
        self.stock = {shop.id: {"A": 100, "B": 100} for shop in self.shops}

    async def step(self) -> None:
        """One thing happens; then everything that the model says of it is compared."""
        dice = self.chance.random()
        if dice < 0.06:
            await self.pass_time(self.chance.choice(JUMPS_SECONDS))
        elif dice < 0.08:
            # Also when no order is left: with nothing in stock either, none would ever come.
            await self.restock()
        elif dice < 0.33 or not self.live:
            await self.place()
        elif dice < 0.37:
            await self.race(self.chance.choice(self.live))
        elif dice < 0.38 and self.travelling:
            await self.act(self.chance.choice(sorted(self.travelling)), "bring_back")
        elif dice < 0.41:
            await self.returns.ask()
        elif dice < 0.52 and self.returns.known:
            await self.returns.act()
        else:
            code = self.chance.choice(list(self.orders) if dice > 0.97 else self.live)
            await self.act(code, self._likely(self.orders[code].shown["state"]))
        await self.compare_stock()

    async def finish(self) -> None:
        """Everything comes to an end, within some weeks, and nothing that has ended has moved since."""
        for _ in range(MOST_WEEKS):
            for code in list(self.live):
                known = self.orders[code]
                if known.shown["state"] == "accepted":
                    for action in ("set_as_ready", "collect", "hand_over"):
                        if code in self.live:
                            await self.act(code, action)
                if self.orders[code].shown["state"] == "dispatched":
                    await self.act(code, "deliver")
            if not self.live and not self.returns.live:
                break
            if self.returns.live:
                await self.returns.act()
            await self.pass_time(7 * 86_400)
            await self.compare_stock()
        assert not self.live, [self.orders[code].shown for code in self.live]
        for code, known in self.orders.items():
            assert known.shown["state"] in FINAL
            assert await known.shop.show(code) == known.shown
        await self.hear(0)

    def _likely(self, state: str) -> str:
        chances = LIKELY.get(state)
        if chances is None or self.chance.random() < 0.08:
            return self.chance.choice(list(ACTORS))
        return self.chance.choices(list(chances), list(chances.values()))[0]

    # Webhooks of the marketplace

    async def hear(self, count: int) -> Events:
        """Return the next `count` webhooks. The next call finds a surplus one."""
        posts = self.market.network.posts
        await until(lambda: len(posts) >= self._heard + count)
        heard = [body for _, body in posts[self._heard :]]
        assert len(heard) == count, [(body["event_type"], body.get("changes")) for body in heard]
        self._heard += count
        self.told += count
        return heard

    def meet(self, event: dict[str, Any], shop: Shop) -> Shown:
        """A new order, as its webhook shows it."""
        order: Shown = event["order"]
        assert (event["event_type"], order["state"]) == ("new_order", "open")
        assert "changes" not in event
        assert order["code"] not in self.orders, "an order is new once"
        self.orders[order["code"]] = Known(shop, order)
        self.live.append(order["code"])
        return order

    def update(self, code: str, shown: Shown) -> None:
        """The order has become this; a final state is never left."""
        known = self.orders[code]
        before, now = known.shown["state"], shown["state"]
        assert now == before or now in FOLLOWING.get(before, set()), (code, before, now)
        self.orders[code] = Known(known.shop, shown)
        if now in FINAL and before not in FINAL:
            self.live.remove(code)
            if now in {"delivered", "partially_delivered"}:
                self.returns.delivered(code, shown)

    def give_back(self, known: Known) -> None:
        """All pieces of an order go back to their listings."""
        for line in known.shown["line_items"]:
            self.stock[known.shop.id][line["shop_uid"]] += line["quantity"]

    async def compare_stock(self) -> None:
        """Every listing has what the model says, and never less than nothing."""
        for shop in self.shops:
            stock = await shop.stock()
            assert stock == self.stock[shop.id]
            assert min(stock.values()) >= 0

    # Possible events

    async def place(self) -> None:
        """A customer buys of one shop or two; what is not in stock is refused and changes nothing."""
        shops = self.chance.sample(self.shops, self.chance.choice((1, 1, 1, 2)))
        wanted = {
            shop.id: {uid: self.chance.randint(1, 4) for uid in self.chance.choice(("A", "B", "AB"))} for shop in shops
        }
        kind = self.chance.choice(KINDS)
        items = [
            {"shop_id": shop_id, "shop_uid": uid, "quantity": quantity}
            for shop_id, lines in wanted.items()
            for uid, quantity in lines.items()
        ]
        cart = {"customer": CUSTOMER, "items": items, "payment_method": "card", **kind}
        there_is = all(
            quantity <= self.stock[shop_id][uid] for shop_id, lines in wanted.items() for uid, quantity in lines.items()
        )
        answer = await self.market.operate("POST", "/marketplace/carts", cart, status=201 if there_is else 422)
        if not there_is:
            self.refused += 1
            return
        by_code = {order["code"]: shop for order, shop in zip(answer["orders"], shops, strict=True)}
        for event in await self.hear(len(shops)):
            shop = by_code.pop(event["order"]["code"])
            order = self.meet(event, shop)
            assert order == await shop.show(order["code"])
            assert {line["shop_uid"]: line["quantity"] for line in order["line_items"]} == wanted[shop.id]
            for uid, quantity in wanted[shop.id].items():
                self.stock[shop.id][uid] -= quantity

    async def restock(self) -> None:
        """The shop has counted."""
        shop = self.chance.choice(self.shops)
        self.stock[shop.id] = {uid: self.chance.randint(0, 60) for uid in ("A", "B")}
        await shop.count(self.stock[shop.id])

    async def pass_time(self, seconds: int) -> None:
        """The clock jumps: open orders expire, express orders are accepted, vouchers come, each told in its order."""
        now = datetime.fromisoformat((await self.market.advance(seconds))["now"])
        posts = self.market.network.posts[self._heard :]
        events: dict[str, Events] = {}
        of_returns: Events = []
        for event in await self.hear(len(posts)):
            if "return" in event:
                of_returns.append(event)
            else:
                events.setdefault(event["order"]["code"], []).append(event)
        await self.returns.pass_time(now, of_returns)
        assert set(events) <= set(self.live), "nothing happens by itself to an order that has ended"
        for code in list(self.live):
            known = self.orders[code]
            after = await known.shop.show(code)
            assert after["state"] == _by_then(known.shown, now)
            assert self._replayed(known.shown, events.get(code, [])) == _listed(after), code
            self.update(code, after)
            if after["state"] == "expired":
                self.give_back(known)

    @staticmethod
    def _replayed(before: Shown, events: Events) -> Shown:
        """What a shop knows that has only listened: each event starts where the one before has ended."""
        known = _listed(before)
        for event in events:
            assert event["event_type"] == "order_updated"
            assert set(event["changes"]) in BY_THE_CLOCK, event["changes"]
            known = _with_changes(known, event["changes"])
            assert known == _listed(event["order"])
        return known

    async def act(self, code: str, action: str) -> None:
        """An actor acts on one order; a forbidden action is refused and changes nothing."""
        known = self.orders[code]
        if action == "replace" and known.shown["state"] in {"partially_returned", "returned"}:
            return  # Which pieces that would be is no matter of this model.
        answer = await ACTORS[action](self.market, known, self.chance)
        after = await known.shop.show(code)
        if answer.status != 200:
            assert 400 <= answer.status < 500, answer
            assert answer.json["errors"][0]["messages"]
            assert after == known.shown
            self.refused += 1
            return
        self.done[action] += 1
        difference = _difference(known.shown, after)
        created = self._successors(known, after, action)
        heard = await self.hear(len(created) + bool(difference and action in TOLD))
        for event in heard:
            if event["order"]["code"] != code:
                order = self.meet(event, known.shop)
                assert {line["shop_uid"]: line["quantity"] for line in order["line_items"]} == created.pop(0)
                if action == "reject" and "replaced" in order:
                    await self._names(order["replaced"], order["code"])
            else:
                assert event["changes"] == difference
                assert set(difference) <= TOLD[action]
                assert event["order"] == after
        self.update(code, after)
        if action == "bring_back":
            self.travelling.remove(code)
            self.give_back(known)
        elif known.shown["state"] == "dispatched" and after["state"] in {"cancelled", "for_return"}:
            self.travelling.add(code)
        elif after["state"] in GIVES_BACK and known.shown["state"] != after["state"]:
            self._settle_stock(known, after)

    async def _names(self, code: str, replacement: str) -> None:
        """An order names each order that replaces it, also what comes for one that was rejected in part."""
        known = self.orders[code]
        shown = await known.shop.show(code)
        assert [entry["code"] for entry in shown["replacements"]][-1] == replacement
        before = known.shown.get("replacements", [])
        assert shown == known.shown | {"replacements": [*before, shown["replacements"][-1]]}
        self.update(code, shown)

    async def race(self, code: str) -> None:
        """Run two actions at once: each success sends one webhook, in the order of the commits."""
        known = self.orders[code]
        names = self.chance.choices(("accept", "cancel", "extend", "support_rejects", "hand_over"), k=2)
        answers = await asyncio.gather(*(ACTORS[name](self.market, known, self.chance) for name in names))
        after = await known.shop.show(code)
        told = _listed(known.shown)
        was_dispatched = told["state"] == "dispatched"
        for event in await self.hear(sum(answer.status == 200 for answer in answers)):
            assert event["order"]["code"] == code
            assert event["changes"]
            told = _with_changes(told, event["changes"])
            was_dispatched |= told["state"] == "dispatched"
            # Each move is one of the table, also where two followed each other.
            self.update(code, known.shown | told)
        assert told == _listed(after)
        self.update(code, after)
        if after["state"] in GIVES_BACK and was_dispatched:
            self.travelling.add(code)
        elif after["state"] in GIVES_BACK:
            self.give_back(known)

    def _successors(self, known: Known, after: Shown, action: str) -> list[dict[str, int]]:
        """The lines of the order that must come for what is left of a rejection, or in place of a delivered one."""
        if action == "replace":
            lines = {line["shop_uid"]: line["quantity"] for line in known.shown["line_items"]}
            if known.shown["state"] == "partially_delivered":
                lines = {known.shown["line_items"][0]["shop_uid"]: 1}
            for uid, quantity in lines.items():
                self.stock[known.shop.id][uid] -= quantity
            return [lines]
        if action != "reject" or "rejection_info" in after:
            return []
        left = {}
        for line in after["line_items"]:
            if "rejection_reason" not in line:
                left[line["shop_uid"]] = line["quantity"]
            elif line["rejection_reason"] == "limited_stock" and line["quantity"] > 1:
                left[line["shop_uid"]] = 1
        return [left] if left else []

    def _settle_stock(self, known: Known, after: Shown) -> None:
        """Rejected pieces go back; those in limited supply are in the successor."""
        if after["state"] != "rejected" or "rejection_info" in after:
            self.give_back(known)
            return
        for line in after["line_items"]:
            if line.get("rejection_reason") == "limited_stock":
                self.stock[known.shop.id][line["shop_uid"]] = 0
            elif "rejection_reason" in line:
                self.stock[known.shop.id][line["shop_uid"]] += line["quantity"]


def _by_then(before: Shown, now: datetime) -> str:
    if before["state"] != "open":
        return str(before["state"])
    if before["express"]:
        return "accepted"
    return "expired" if now >= datetime.fromisoformat(before["expires_at"]) else "open"


def _listed(shown: Shown) -> Shown:
    return {name: shown.get(name) for name in LISTED}


def _with_changes(known: Shown, changes: dict[str, Any]) -> Shown:
    for name, change in changes.items():
        assert change["old"] == known[name]
        assert change["new"] != change["old"]
    return known | {name: change["new"] for name, change in changes.items()}


def _difference(before: Shown, after: Shown) -> dict[str, Any]:
    return {
        name: {"old": before.get(name), "new": after.get(name)}
        for name in LISTED
        if before.get(name) != after.get(name)
    }
