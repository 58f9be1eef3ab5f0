"""A shop's settings: token, webhooks with a test, signing secret, and locations."""

import secrets
from typing import Any, Final

from kalathi.contract.signatures import SECRET_BYTES, secret_text
from kalathi.marketplace.kernel.errors import refuse
from kalathi.marketplace.kernel.ids import opaque_id, secret_token
from kalathi.marketplace.kernel.storage.changes import ChangeSet
from kalathi.marketplace.kernel.storage.database import View
from kalathi.marketplace.panel.forms import read_as
from kalathi.marketplace.panel.pages import Answer, See, Shown
from kalathi.marketplace.panel.refusals import NoAddressToTry, NoSuchPage, WebhookBeingTried
from kalathi.marketplace.panel.sign_in import store as sessions
from kalathi.marketplace.panel.visits import Visit
from kalathi.marketplace.shops import commands, store
from kalathi.marketplace.shops.extra_tokens import commands as extra_commands
from kalathi.marketplace.shops.extra_tokens import store as extra_tokens
from kalathi.marketplace.shops.model import NewLocation, ShopChanges, hash_token
from kalathi.marketplace.web.sample_webhooks import SampleWebhook, render_sample
from kalathi.marketplace.webhooks.answer import Answer as WebhookAnswer

_SETTINGS: Final = "/shop/settings"
_MOST_TRYING: Final = 8


async def show_settings(visit: Visit) -> Answer:
    """Show the shop's settings."""
    shop_id = visit.shop.id

    def query(view: View) -> dict[str, Any]:
        return {
            "signs": len(store.signing_secrets(view, shop_id)),
            "has_products_token": store.has_products_token(view, shop_id),
            "token_used_at": extra_tokens.find_last_use(view, shop_id),
            "extra_tokens": extra_tokens.list_extra_tokens(view, shop_id),
        }

    content = await visit.context.database.read(query)
    more = {
        "problems": visit.problems,
        "shop": visit.shop,
        "given": visit.form.given,
        "takes_extra_tokens": visit.context.terms.settings.extra_api_tokens,
        "tried": None,
    }
    return Shown("shop/settings.html", content | more)


async def change_settings(visit: Visit) -> Answer:
    """Save both webhook URLs, their switches, and set-as-ready. Raises INVALID_PARAMETER."""
    form, shop_id = visit.form, visit.shop.id
    urls = {name: form.text(name) or None for name in ("webhook_url", "returns_webhook_url")}
    switches = {
        name: form.has(name) for name in ("webhook_enabled", "returns_webhook_enabled", "set_as_ready_required")
    }
    changes = read_as(urls | switches, ShopChanges)
    production = visit.context.terms.settings.mode == "production"
    await visit.context.database.run(
        lambda view: commands.change_shop(view, shop_id, changes, own_domain_only=production)
    )
    return See(_SETTINGS, done="settings")


async def try_webhook(visit: Visit) -> Answer:
    """Send the webhook of a demo order, or of the demo return, to the shop's URL, and show the answer. It is sent like
    any webhook, but it is not retried and not in the log."""
    context, shop = visit.context, visit.shop
    is_return = visit.form.text("which") == "returns"
    url = shop.returns_webhook_url if is_return else shop.webhook_url
    if url is None:
        raise refuse(NoAddressToTry())
    sample = await render_sample(context, shop, is_return=is_return)
    answer = await _send_test(visit, url, sample)
    shown = await show_settings(visit)
    tried = {"url": url, "answer": answer, "text": answer.body.decode("utf-8", "replace")}
    return shown._replace(content={**shown.content, "tried": tried}) if isinstance(shown, Shown) else shown


async def _send_test(visit: Visit, url: str, sample: SampleWebhook) -> WebhookAnswer:
    """Send a test webhook, and return the answer. A shop can run one test at a time. Raises RATE_LIMITED."""
    trying = visit.panel.trying
    if visit.shop.id in trying or len(trying) >= _MOST_TRYING:
        raise refuse(WebhookBeingTried())
    trying.add(visit.shop.id)
    try:
        return await visit.context.sender.post(url, sample.body, sample.headers)
    finally:
        trying.discard(visit.shop.id)


async def renew_token(visit: Visit) -> Answer:
    """Replace the shop's API token, and show the new one once. The old token and all other sessions of it end."""
    shop_id, token = visit.shop.id, secret_token()
    session_hash = hash_token(visit.visitor.cookie)

    def command(view: View) -> tuple[ChangeSet, None]:
        old_hash = sessions.token_hash_of(view, shop_id)
        changes, _ = commands.renew_token(view, shop_id, token)
        if old_hash is not None:
            changes.add(sessions.follow_token(session_hash, old_hash, hash_token(token)))
        return changes, None

    await visit.context.database.run(command)
    return Shown("shop/secret.html", {"kind": "token", "secret": token})


async def add_extra_token(visit: Visit) -> Answer:
    """`token_name=`: add an API token with a name, and show it once. Raises INVALID_PARAMETER, NOT_FOUND if shops have
    one token only."""
    _check_extra_tokens(visit)
    shop_id, name, token = visit.shop.id, visit.form.text("token_name"), secret_token()
    await visit.context.database.run(
        lambda view: extra_commands.add_extra_token(view, shop_id, name, token, visit.context.real())
    )
    return Shown("shop/secret.html", {"kind": "extra", "name": name, "secret": token})


async def remove_extra_token(visit: Visit) -> Answer:
    """`token_name=`: remove an API token. Raises NOT_FOUND."""
    _check_extra_tokens(visit)
    shop_id, name = visit.shop.id, visit.form.text("token_name")
    await visit.context.database.run(lambda view: extra_commands.remove_extra_token(view, shop_id, name))
    return See(_SETTINGS, done="token_removed")


def _check_extra_tokens(visit: Visit) -> None:
    if not visit.context.terms.settings.extra_api_tokens:
        raise refuse(NoSuchPage())


async def renew_products_token(visit: Visit) -> Answer:
    """Create or replace the shop's token of the Products API, and show it once."""
    shop_id, token = visit.shop.id, secret_token()
    await visit.context.database.run(lambda view: commands.renew_products_token(view, shop_id, token))
    return Shown("shop/secret.html", {"kind": "products", "secret": token})


async def renew_signing_secret(visit: Visit) -> Answer:
    """Sign webhooks with a new secret, and show it once. The previous secret remains valid too."""
    shop_id, secret = visit.shop.id, secret_text(secrets.token_bytes(SECRET_BYTES))
    await visit.context.database.run(lambda view: commands.renew_signing_secret(view, shop_id, secret))
    return Shown("shop/secret.html", {"kind": "signing", "secret": secret})


async def end_signing(visit: Visit) -> Answer:
    """Turn off signing of webhooks."""
    shop_id = visit.shop.id
    await visit.context.database.run(lambda view: commands.end_signing(view, shop_id))
    return See(_SETTINGS, done="signing_ended")


async def add_location(visit: Visit) -> Answer:
    """Add a pickup location. Raises INVALID_PARAMETER."""
    shop_id, location_id, new = visit.shop.id, opaque_id(), visit.form.read(NewLocation)
    await visit.context.database.run(lambda view: commands.add_location(view, shop_id, new, location_id))
    return See(_SETTINGS, done="location")


async def change_location(visit: Visit) -> Answer:
    """Change the address of a pickup location. Raises NOT_FOUND, INVALID_PARAMETER."""
    shop_id, location_id, new = visit.shop.id, visit.parts["location_id"], visit.form.read(NewLocation)
    await visit.context.database.run(lambda view: commands.change_location(view, shop_id, location_id, new))
    return See(_SETTINGS, done="location")


async def remove_location(visit: Visit) -> Answer:
    """Remove a pickup location. Raises NOT_FOUND, INVALID_PARAMETER."""
    visit.form.check_confirmed()
    shop_id, location_id = visit.shop.id, visit.parts["location_id"]
    await visit.context.database.run(lambda view: commands.remove_location(view, shop_id, location_id))
    return See(_SETTINGS, done="location_removed")
