"""The operator's API: shops, listings, carts, orders, the clock."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from secrets import token_bytes
from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType, field
from msgspec.structs import asdict

from kalathi.contract.orders import ListMeta
from kalathi.contract.signatures import SECRET_BYTES, secret_text
from kalathi.contract.words import OrderEventType, OrderState
from kalathi.marketplace.api.calls import Call, reply, write
from kalathi.marketplace.kernel.clock import athens, to_millis
from kalathi.marketplace.kernel.errors import invalid_parameter
from kalathi.marketplace.kernel.ids import opaque_id, secret_token
from kalathi.marketplace.kernel.storage.changes import ChangeSet
from kalathi.marketplace.kernel.storage.database import View
from kalathi.marketplace.orders import placing, queries, wire
from kalathi.marketplace.orders import store as orders
from kalathi.marketplace.orders.facts import Facts
from kalathi.marketplace.orders.model import NewCart
from kalathi.marketplace.orders.operations import Operation
from kalathi.marketplace.shops import commands as shop_commands
from kalathi.marketplace.shops import store as shops
from kalathi.marketplace.shops.model import Listing, NewShop, Shop, Variation, without_passwords
from kalathi.marketplace.web.context import Context
from kalathi.marketplace.web.paging import page_of, pagination
from kalathi.marketplace.web.reply import Reply
from kalathi.marketplace.web.waiting import count_of, states_of, wait_of
from kalathi.marketplace.webhooks.listeners import url_for
from kalathi.marketplace.webhooks.resending import plan_latest_resend

_LONGEST_MOVE_SECONDS = 10 * 366 * 86_400


class ShopBody(Struct, frozen=True, kw_only=True):
    """A shop as the operator sees it."""

    shop: Shop


class ShopWithToken(Struct, frozen=True, kw_only=True):
    """A shop with its new API token. No other answer shows it, because only its hash is stored."""

    shop: Shop
    api_token: str


class NewProductsToken(Struct, frozen=True, kw_only=True):
    """A shop's new token of the Products API (docs/contract.md#section-10). No other answer shows it."""

    products_token: str


class ShopList(Struct, frozen=True, kw_only=True):
    """Every shop."""

    shops: list[Shop]


class VariationShown(Variation, frozen=True, kw_only=True):
    """A variation and its stock."""

    quantity: int


class ListingShown(Listing, frozen=True, kw_only=True):
    """A listing and its stock, with its variations."""

    quantity: int
    variations: list[VariationShown] = field(default_factory=list)


class ListingList(Struct, frozen=True, kw_only=True):
    """The shop's listings."""

    listings: list[ListingShown]


class CartShown(Struct, frozen=True, kw_only=True):
    """A cart's id."""

    id: str


class OrderShown(Struct, frozen=True, kw_only=True):
    """An order in brief."""

    code: str
    shop_id: str
    state: OrderState


class PlacedCart(Struct, frozen=True, kw_only=True):
    """A placed cart, and its order for each shop."""

    cart: CartShown
    orders: list[OrderShown]


class ShortOrderList(Struct, frozen=True, kw_only=True):
    """Orders of all shops, newest first."""

    orders: list[OrderShown]
    meta: ListMeta


class ShopWithSecret(Struct, frozen=True, kw_only=True):
    """A shop with its new signing secret. No other answer shows it."""

    shop: Shop
    signing_secret: str


class ResentWebhook(Struct, frozen=True, kw_only=True):
    """The event that is sent again."""

    delivery: str


class ClockMove(Struct, frozen=True, kw_only=True):
    """`{"advance_seconds": n}` or `{"now": "..."}`."""

    advance_seconds: Annotated[int, Meta(ge=0, le=_LONGEST_MOVE_SECONDS)] | UnsetType = UNSET
    now: Annotated[datetime, Meta(tz=True)] | UnsetType = UNSET


class ClockShown(Struct, frozen=True, kw_only=True):
    """Business time, in Athens."""

    now: datetime


async def add_shop(context: Context, call: Call) -> Reply:
    """Add a shop with its locations. Only this answer shows its API token."""
    new: NewShop = call.body
    token = secret_token()
    ids = [opaque_id() for _ in range(1 + len(new.locations))]
    changes, shop = shop_commands.add_shop(new, ids, token, own_domain_only=_is_production(context))
    await context.database.commit(changes)
    return reply(201, ShopWithToken(shop=without_passwords(shop), api_token=token))


async def list_shops(context: Context, call: Call) -> Reply:
    """Every shop."""
    return reply(200, ShopList(shops=[without_passwords(shop) for shop in await context.database.read(shops.shops)]))


async def show_shop(context: Context, call: Call) -> Reply:
    """Show a shop."""
    shop = await context.database.read(lambda view: shop_commands.find_shop(view, call.path["shop_id"]))
    return reply(200, ShopBody(shop=without_passwords(shop)))


async def change_shop(context: Context, call: Call) -> Reply:
    """Change the named settings of a shop."""
    shop = await context.database.run(
        lambda view: shop_commands.change_shop(
            view, call.path["shop_id"], call.body, own_domain_only=_is_production(context)
        )
    )
    return reply(200, ShopBody(shop=without_passwords(shop)))


async def add_location(context: Context, call: Call) -> Reply:
    """Add a pickup location to a shop."""
    location_id = opaque_id()

    def command(facts: Facts) -> tuple[ChangeSet, Reply]:
        changes, shop = shop_commands.add_location(facts.view, call.path["shop_id"], call.body, location_id)
        return changes, reply(201, ShopBody(shop=without_passwords(shop)))

    return await write(context, call, command)


async def renew_token(context: Context, call: Call) -> Reply:
    """Replace the shop's API token. The old token stops working immediately."""
    token = secret_token()
    shop = await context.database.run(lambda view: shop_commands.renew_token(view, call.path["shop_id"], token))
    return reply(200, ShopWithToken(shop=without_passwords(shop), api_token=token))


async def renew_products_token(context: Context, call: Call) -> Reply:
    """Create the shop's token of the Products API, or replace it. Only this answer shows it."""
    token = secret_token()
    await context.database.run(lambda view: shop_commands.renew_products_token(view, call.path["shop_id"], token))
    return reply(201, NewProductsToken(products_token=token))


async def renew_signing_secret(context: Context, call: Call) -> Reply:
    """Sign the shop's webhooks (Standard Webhooks) with a new secret. Only this answer shows it. The previous secret
    remains valid too."""
    secret = secret_text(token_bytes(SECRET_BYTES))
    shop = await context.database.run(
        lambda view: shop_commands.renew_signing_secret(view, call.path["shop_id"], secret)
    )
    return reply(200, ShopWithSecret(shop=without_passwords(shop), signing_secret=secret))


async def end_signing(context: Context, call: Call) -> Reply:
    """Turn off signing. Webhooks are then sent exactly as in the contract."""
    shop = await context.database.run(lambda view: shop_commands.end_signing(view, call.path["shop_id"]))
    return reply(200, ShopBody(shop=without_passwords(shop)))


async def put_listings(context: Context, call: Call) -> Reply:
    """Add or replace these listings. Other listings stay unchanged."""
    shop = await context.database.run(
        lambda view: shop_commands.put_listings(view, call.path["shop_id"], call.body, context.clock.now())
    )
    return reply(200, await context.database.read(lambda view: _listings(view, shop.id)))


async def list_listings(context: Context, call: Call) -> Reply:
    """List the shop's listings."""
    shop_id = call.path["shop_id"]
    return reply(
        200,
        await context.database.read(lambda view: _listings(view, shop_commands.find_shop(view, shop_id).id)),
    )


async def place_cart(context: Context, call: Call) -> Reply:
    """Place a customer's cart: one order for each shop."""
    new: NewCart = call.body

    def command(facts: Facts) -> tuple[ChangeSet, Reply]:
        changes, placed = placing.place(new, facts)
        shown = [OrderShown(code=order.code, shop_id=order.shop_id, state=order.state) for order in placed]
        return changes, reply(201, PlacedCart(cart=CartShown(id=placed[0].cart_id), orders=shown))

    return await write(context, call, command, codes=len({item.shop_id for item in new.items}))


async def list_orders(context: Context, call: Call) -> Reply:
    """List the orders of all shops, newest first. With `wait`, the answer comes when `count` orders match, or after
    these seconds."""
    state = call.query.get("state")
    if state is not None and state not in set(OrderState):
        raise invalid_parameter(f"state: {state[:40]} is not valid; valid values: {', '.join(OrderState)}.")
    page, shop_id, wanted = page_of(call.query), call.query.get("shop_id", ""), count_of(call.query)
    found, count = await context.waits.wait_until(
        lambda: context.database.read_list(
            lambda view: orders.recent_orders(view, state, page.per, page.offset, shop_id)
        ),
        lambda read: read[1] >= wanted,
        wait_of(call.query),
        ("timeline",),
    )
    return reply(
        200,
        ShortOrderList(
            orders=[
                OrderShown(code=entry.order.code, shop_id=entry.order.shop_id, state=entry.order.state)
                for entry in found
            ],
            meta=pagination(page, count),
        ),
    )


async def show_order(context: Context, call: Call) -> Reply:
    """Show an order with its cart, timeline and deliveries. With `state` and `wait`, the answer comes when the order is
    in one of these states, or after these seconds."""
    code, states = call.path["code"], states_of(call.query, OrderState)
    detail = await context.waits.wait_until(
        lambda: context.database.read(
            lambda view: queries.order_detail(view, code, context.terms, context.clock.now())
        ),
        lambda read: not states or read.order.state in states,
        wait_of(call.query),
        ("timeline",),
    )
    return reply(200, detail)


async def resend_webhook(context: Context, call: Call) -> Reply:
    """Send the order's latest event again, with the same bytes. A pending event is sent immediately."""

    def command(facts: Facts) -> tuple[ChangeSet, Reply]:
        view = facts.view
        found = queries.find_order(view, call.path["code"])
        if url_for(view, found.shop, OrderEventType.NEW_ORDER) is None:
            raise invalid_parameter("The shop has no webhook_url, or its switch is off.")
        changes, delivery = plan_latest_resend(view, found.shop.id, call.path["code"], to_millis(facts.now))
        return changes, reply(200, ResentWebhook(delivery=delivery))

    return await write(context, call, command)


def order_operation(operation: Operation) -> Callable[[Context, Call], Awaitable[Reply]]:
    """Return the handler of an operation of customers, support or couriers on an order. It answers with the order."""

    async def handle(context: Context, call: Call) -> Reply:
        def command(facts: Facts) -> tuple[ChangeSet, Reply]:
            found = queries.find_order(facts.view, call.path["code"])
            recorded = operation.run(found, call.body, facts)
            body = wire.order_body(recorded.document, facts.terms.offer(found.shop), facts.now)
            return recorded.changes, Reply(200, body)

        return await write(context, call, command, codes=1)

    handle.__doc__ = operation.sentence
    return handle


def shop_action(operation: Operation) -> Callable[[Context, Call], Awaitable[Reply]]:
    """Return the handler with which the operator of a sandbox acts in place of the shop."""
    handle = order_operation(operation)
    handle.__doc__ = f"As the shop: {operation.sentence[0].lower()}{operation.sentence[1:]}"
    return handle


async def show_clock(context: Context, call: Call) -> Reply:
    """Show the business time."""
    return reply(200, ClockShown(now=athens(context.clock.now())))


async def move_clock(context: Context, call: Call) -> Reply:
    """Move the business time forward. All jobs that are due by then run before the answer."""
    move: ClockMove = call.body
    if (move.advance_seconds is UNSET) == (move.now is UNSET):
        raise invalid_parameter("Give advance_seconds or now, not both.")
    if move.now is not UNSET:
        now = await context.mover.move_to(move.now)
    else:
        now = await context.mover.advance(move.advance_seconds or 0)
    return reply(200, ClockShown(now=athens(now)))


def _is_production(context: Context) -> bool:
    return context.terms.settings.mode == "production"


def _listings(view: View, shop_id: str) -> ListingList:
    entries = shops.all_listings(view, shop_id)
    variations = shops.variations(view, shop_id, shops.find_varied(entries))
    return ListingList(
        listings=[
            ListingShown(
                quantity=entry.quantity,
                variations=[
                    VariationShown(quantity=one.quantity, **asdict(one.variation))
                    for one in variations.get(entry.listing.shop_uid, {}).values()
                ],
                **asdict(entry.listing),
            )
            for entry in entries
        ]
    )
