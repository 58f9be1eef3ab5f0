"""The page table: every page and every form, once."""

from typing import Final

from kalathi.marketplace.api.uploads import CREDIT_INVOICE_FILE, INVOICE_FILE
from kalathi.marketplace.panel import entrance
from kalathi.marketplace.panel.pages import Page, Who, asked, shown
from kalathi.marketplace.panel.shop import order, orders, returns, settings, vouchers, warehouse

PAGES: Final[tuple[Page, ...]] = (
    shown(Who.ANYBODY, "/sign-in", entrance.show_sign_in),
    asked(Who.ANYBODY, "/sign-in", entrance.sign_in, entrance.sign_in_again),
    asked(Who.ANYBODY, "/sign-out", entrance.sign_out),
    shown(Who.SHOP, "/shop/orders", orders.list_orders),
    shown(Who.SHOP, "/shop/orders/live", orders.follow_orders),
    shown(Who.SHOP, "/shop/vouchers.pdf", vouchers.merge_vouchers),
    shown(Who.SHOP, "/shop/orders/{code}", order.show_order),
    shown(Who.SHOP, "/shop/orders/{code}/live", order.follow_order),
    asked(Who.SHOP, "/shop/orders/{code}/webhook", order.resend_webhook, order.show_order),
    asked(Who.SHOP, "/shop/orders/{code}/invoice", order.upload_invoice, order.show_order, INVOICE_FILE),
    asked(
        Who.SHOP,
        "/shop/orders/{code}/credit_invoice",
        order.upload_credit_invoice,
        order.show_order,
        CREDIT_INVOICE_FILE,
    ),
    asked(Who.SHOP, "/shop/orders/{code}/{action}", order.act, order.show_order),
    shown(Who.SHOP, "/shop/returns", returns.list_returns),
    shown(Who.SHOP, "/shop/returns/{code}", returns.show_return),
    asked(Who.SHOP, "/shop/returns/{code}/review", returns.review, returns.show_return),
    asked(Who.SHOP, "/shop/returns/{code}/webhook", returns.resend_webhook, returns.show_return),
    shown(Who.SHOP, "/shop/warehouse", warehouse.list_products),
    shown(Who.SHOP, "/shop/warehouse/purchase-orders", warehouse.list_purchase_orders),
    asked(Who.SHOP, "/shop/warehouse/purchase-orders", warehouse.announce_goods, warehouse.list_purchase_orders),
    shown(Who.SHOP, "/shop/warehouse/purchase-orders/{code}", warehouse.show_purchase_order),
    shown(Who.SHOP, "/shop/warehouse/suppliers", warehouse.list_suppliers),
    asked(Who.SHOP, "/shop/warehouse/suppliers", warehouse.add_supplier, warehouse.list_suppliers),
    shown(Who.SHOP, "/shop/warehouse/suppliers/{id}", warehouse.show_supplier),
    asked(Who.SHOP, "/shop/warehouse/suppliers/{id}", warehouse.change_supplier, warehouse.show_supplier),
    shown(Who.SHOP, "/shop/settings", settings.show_settings),
    asked(Who.SHOP, "/shop/settings", settings.change_settings, settings.show_settings),
    asked(Who.SHOP, "/shop/settings/try", settings.try_webhook, settings.show_settings),
    asked(Who.SHOP, "/shop/settings/api_token", settings.renew_token, settings.show_settings),
    asked(Who.SHOP, "/shop/settings/signing_secret", settings.renew_signing_secret, settings.show_settings),
    asked(Who.SHOP, "/shop/settings/signing_secret/end", settings.end_signing, settings.show_settings),
    asked(Who.SHOP, "/shop/settings/locations", settings.add_location, settings.show_settings),
)
