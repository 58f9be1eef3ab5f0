"""The page table: every page and every form, once."""

from typing import Final

from kalathi.marketplace.panel import entrance
from kalathi.marketplace.panel.pages import Page, Who, asked, shown
from kalathi.marketplace.panel.shop import orders

PAGES: Final[tuple[Page, ...]] = (
    shown(Who.ANYBODY, "/sign-in", entrance.show_sign_in),
    asked(Who.ANYBODY, "/sign-in", entrance.sign_in, entrance.sign_in_again),
    asked(Who.ANYBODY, "/sign-out", entrance.sign_out),
    shown(Who.SHOP, "/shop/orders", orders.list_orders),
    shown(Who.SHOP, "/shop/orders/live", orders.follow_orders),
)
