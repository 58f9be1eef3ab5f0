"""Returns in the random life, with a model of their own: the table of the contract's section 6, which pieces may still
be asked back, and who is told of what."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tests.market import OPERATOR_TOKEN
from tests.virtual.actors import Known

if TYPE_CHECKING:
    from tests.virtual.life import Life

Shown = dict[str, Any]

REASONS: Final = (
    *("faulty", "wrong_product", "withdrawal", "withdrawal", "damaged_product", "expired_product"),
    *("authenticity_doubt", "delivery_issues", "other", "missing_part", "missing_part", "missing_part"),
)
ON_THE_LINE: Final = {
    **dict.fromkeys(("faulty", "damaged_product", "expired_product", "missing_part"), "faulty"),
    **dict.fromkeys(("wrong_product", "authenticity_doubt"), "wrong_product"),
    "withdrawal": "withdrawal",
}
NEXT: Final[dict[str, dict[str, str]]] = {
    "pending_merchant_review": {
        "approve": "returning",
        "refuse": "rejected",
        "send_part": "cancelled",
        "cancel": "cancelled",
    },
    "returning": {
        "hand_over": "returning",
        "reassign": "returning",
        "arrive": "pending_physical_review",
        "take_back": "returned",
        "cancel": "cancelled",
    },
    "pending_physical_review": {"take_back": "returned", "inspect": "returned", "turn_down": "rejected"},
}
OVER: Final = {"returned", "rejected", "expired", "cancelled"}
REVIEWS: Final = {"approve", "refuse", "send_part"}
ACTIONS: Final = sorted({action for moves in NEXT.values() for action in moves})
# So that enough of them get as far as an inspection.
LIKELIER: Final = ("approve", "send_part", "arrive", "turn_down")
OF_A_SHIPMENT: Final = {"hand_over", "reassign", "arrive"}
LISTED: Final = ("state", "courier", "returning_address", "courier_tracking_ids")
REVIEW_TIME: Final = timedelta(hours=72)


class Asked(NamedTuple):
    """A return as the shop has last seen it."""

    order: str
    shown: Shown
    virtual: bool


class Returns:
    """The returns of one life."""

    def __init__(self, life: "Life") -> None:
        self.life = life
        self.known: dict[str, Asked] = {}
        # Of each order that was delivered: the pieces of each line that may be asked back, and those not back yet.
        self.free: dict[str, dict[str, int]] = {}
        self.out: dict[str, dict[str, int]] = {}

    @property
    def live(self) -> list[str]:
        """Those that have not ended."""
        return [code for code, asked in self.known.items() if asked.shown["state"] not in OVER]

    def delivered(self, code: str, shown: Shown) -> None:
        """The customer has this order, or one piece of its first line."""
        pieces = {line["id"]: line["quantity"] for line in shown["line_items"]}
        if shown["state"] == "partially_delivered":
            pieces = {shown["line_items"][0]["id"]: 1}
        self.free[code], self.out[code] = dict(pieces), dict(pieces)

    async def ask(self) -> None:
        """A customer asks for a piece or more of an order, now and then for more than there are."""
        chance = self.life.chance
        if not self.free:
            return
        code = chance.choice(list(self.free))
        known = self.life.orders[code]
        line = chance.choice(known.shown["line_items"])["id"]
        free = self.free[code].get(line, 0)
        quantity = chance.randint(1, free) if free and chance.random() > 0.1 else free + 1
        reason, virtual = chance.choice(REASONS), chance.random() < 0.15
        body = {"line_items": [{"id": line, "quantity": quantity, "reason": reason}], "virtual": virtual}
        path = f"/marketplace/orders/{code}/returns"
        answer = await self.life.market.operate("POST", path, body, status=201 if quantity <= free else 422)
        if quantity > free:
            self.life.refused += 1
            await self._compare_order(known, known.shown)
            return
        self.life.done["ask_return"] += 1
        self.free[code][line] -= quantity
        shown = answer["return"]
        assert shown["return_code"] not in self.known
        assert shown["state"] == "pending_merchant_review" or (shown["state"], reason) == ("returning", "withdrawal")
        assert ("review_options" in shown) is (shown["state"] == "pending_merchant_review")
        assert ("courier" in shown) is (shown["state"] == "returning" and not virtual)
        asked = Asked(code, shown, virtual)
        await self._told(asked, "created", None)
        self.known[shown["return_code"]] = asked
        await self._order_after(asked, {})

    async def act(self) -> None:
        """An actor acts on a return; a forbidden action is refused and changes nothing."""
        chance = self.life.chance
        name = chance.choice(self.live if self.live and chance.random() < 0.9 else list(self.known))
        asked = self.known[name]
        moves = NEXT.get(asked.shown["state"], {})
        likely = [*moves, *(entry for entry in LIKELIER if entry in moves)]
        action = chance.choice(likely if moves and chance.random() < 0.9 else ACTIONS)
        status = await self._do(asked, name, action)
        after = await self._show(asked, name)
        if status != 200:
            assert 400 <= status < 500
            assert after == asked.shown
            self.life.refused += 1
            return
        assert not (asked.virtual and action in OF_A_SHIPMENT)
        assert after["state"] == moves[action]
        self.life.done[f"return_{action}"] += 1
        await self._moved(asked, name, after)

    async def _moved(self, asked: Asked, name: str, after: Shown) -> None:
        changes = {
            field: {"old": asked.shown.get(field), "new": after.get(field)}
            for field in LISTED
            if asked.shown.get(field) != after.get(field)
        }
        told_of_order = self._count(asked, after)
        now = Asked(asked.order, after, asked.virtual)
        if changes:
            await self._told(now, "updated", changes, told_of_order)
        self.known[name] = now
        await self._order_after(now, told_of_order)

    def _count(self, asked: Asked, after: Shown) -> dict[str, Any]:
        """What the return's move does to the pieces, and to the state of its order, if to any."""
        state = after["state"]
        [line] = after["return_line_items"]
        if state in OVER - {"returned"}:
            self.free[asked.order][line["id"]] += line["returning_quantity"]
        if state != "returned":
            return {}
        out = self.out[asked.order]
        out[line["id"]] -= line["returning_quantity"]
        before = self.life.orders[asked.order].shown["state"]
        new = "partially_returned" if any(out.values()) else "returned"
        return {} if new == before else {"state": {"old": before, "new": new}}

    async def _order_after(self, asked: Asked, told: dict[str, Any]) -> None:
        """The order is what it was, but for its state, the line's reason and the entry of a shipment."""
        known = self.life.orders[asked.order]
        wanted = known.shown | ({"state": told["state"]["new"]} if told else {})
        [line] = asked.shown["return_line_items"]
        if asked.shown["state"] == "returned" and line["return_reason"] in ON_THE_LINE:
            reason = {"return_reason": ON_THE_LINE[line["return_reason"]]}
            wanted = wanted | {
                "line_items": [
                    entry | (reason if entry["id"] == line["id"] else {}) for entry in known.shown["line_items"]
                ]
            }
        shipped = [
            returned.shown.get("courier_tracking_ids", [])
            for returned in self.known.values()
            if returned.order == asked.order and "courier" in returned.shown
        ]
        after = await known.shop.show(asked.order)
        entries = after.get("returns", [])
        assert sorted(entry["tracking_ids"] for entry in entries) == sorted(shipped)
        assert len({entry["return_uuid"] for entry in entries}) == len(entries)
        await self._compare_order(known, wanted | ({"returns": entries} if entries else {}))

    async def _compare_order(self, known: Known, wanted: Shown) -> None:
        assert await known.shop.show(known.code) == wanted
        self.life.orders[known.code] = Known(known.shop, wanted)

    async def _told(
        self, asked: Asked, word: str, changes: Shown | None, of_order: dict[str, Any] | None = None
    ) -> None:
        """The return webhook, and the order's own when its state has changed, in whatever order they arrive."""
        shop = self.life.orders[asked.order].shop
        hook = shop.id in self.life.hooked
        heard = await self.life.hear(int(hook) + bool(of_order))
        for event in heard:
            if "return" in event:
                assert event["event_type"] == f"merchant_return_{word}"
                assert event["return"] == asked.shown
                assert event.get("changes") == changes
            else:
                assert event["changes"] == of_order
                assert event["order"]["code"] == asked.order

    async def pass_time(self, now: datetime, events: list[Shown]) -> None:
        """Unreviewed returns expire, send a webhook, and can be requested again."""
        told = {event["return"]["return_code"]: event for event in events}
        for name in self.live:
            asked = self.known[name]
            after = await self._show(asked, name)
            late = now >= datetime.fromisoformat(asked.shown["created_at"]) + REVIEW_TIME
            if asked.shown["state"] != "pending_merchant_review" or not late:
                assert after == asked.shown
                continue
            assert after["state"] == "expired"
            self.life.done["return_expire"] += 1
            self._count(asked, after)
            self.known[name] = Asked(asked.order, after, asked.virtual)
            if self.life.orders[asked.order].shop.id in self.life.hooked:
                event = told.pop(name)
                assert event["changes"] == {"state": {"old": "pending_merchant_review", "new": "expired"}}
                assert event["return"] == after
        assert told == {}

    async def _show(self, asked: Asked, name: str) -> Shown:
        shop = self.life.orders[asked.order].shop
        shown: Shown = (await shop.call("GET", f"/returns/{name}")).json["return"]
        return shown

    async def _do(self, asked: Asked, name: str, action: str) -> int:
        shop = self.life.orders[asked.order].shop
        if action in REVIEWS:
            words = [entry["option"] for entry in asked.shown.get("review_options", [])]
            rejecting = [word for word in words if word not in {"approve", "send_missing_part"}]
            option = {"approve": "approve", "send_part": "send_missing_part"}.get(action) or self.life.chance.choice(
                rejecting or ["not_faulty"]
            )
            body = {"option": option, "comment": "Λόγος."}
            return (await shop.call("POST", f"/returns/{name}/review", body)).status
        bodies: dict[str, object] = {
            "reassign": {"courier": self.life.chance.choice(("ACS", "Speedex", "Elta"))},
            "turn_down": {"accepted": False},
        }
        word = "inspect" if action == "turn_down" else action
        headers = {"Authorization": f"Bearer {OPERATOR_TOKEN}"}
        path = f"/marketplace/returns/{name}/{word}"
        return (await self.life.market.call("POST", path, bodies.get(action), headers)).status
