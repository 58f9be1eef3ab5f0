"""The return webhook, sentence by sentence of the contract's section 8."""

from typing import Any

import pytest

from tests.market import Market, Shop
from tests.virtual.returning import HOOK, delivered, operate, request_return, review, sent_events, show

pytestmark = pytest.mark.anyio

CREATED = ("created", "pending_merchant_review", set[str]())
APPROVED = ("updated", "returning", {"state", "courier", "returning_address"})


async def _shop(market: Market, **facts: object) -> Shop:
    hook: dict[str, Any] = {"returns_webhook_url": HOOK, "returns_webhook_enabled": True}
    return await market.shop(**(hook | facts))


async def _change(market: Market, shop: Shop, **facts: object) -> None:
    await market.operate("PATCH", f"/marketplace/shops/{shop.id}", facts)


async def _states(market: Market, code: str) -> list[tuple[str, str]]:
    detail = await market.operate("GET", f"/marketplace/returns/{code}")
    return [(entry["event_type"].removeprefix("merchant_return_"), entry["state"]) for entry in detail["deliveries"]]


@pytest.mark.parametrize(
    "facts",
    [{"returns_webhook_enabled": False}, {"returns_webhook_url": None}, {"returns_webhook_url": None, "name": "Both"}],
)
async def test_no_url_or_no_switch_means_no_webhook(market: Market, facts: dict[str, Any]) -> None:
    shop = await _shop(market, **facts)
    code = (await request_return(market, await delivered(shop)))["return_code"]
    await review(shop, code, option="approve")
    await market.settle()
    assert [body for _, body in market.network.posts if "return" in body] == []
    assert await _states(market, code) == [("created", "not_sent"), ("updated", "not_sent")]


async def test_a_created_event_is_sent_once_right_after_the_return_is_placed_and_then_its_updates(
    market: Market,
) -> None:
    shop = await _shop(market)
    returned = await request_return(market, await delivered(shop))
    assert await sent_events(market) == [CREATED]
    code = returned["return_code"]
    assert (await review(shop, code, option="approve")).json == {"success": True}
    await operate(market, code, "hand_over")
    await operate(market, code, "reassign", {"courier": "Speedex"})
    await operate(market, code, "arrive")
    await operate(market, code, "inspect")
    assert await sent_events(market) == [
        CREATED,
        APPROVED,
        ("updated", "returning", {"courier_tracking_ids"}),
        ("updated", "returning", {"courier"}),
        ("updated", "pending_physical_review", {"state"}),
        ("updated", "returned", {"state"}),
    ]


async def test_a_webhook_shows_the_whole_return_as_a_get_does_with_its_times_in_utc(market: Market) -> None:
    shop = await _shop(market)
    code = (await request_return(market, await delivered(shop)))["return_code"]
    await market.settle()
    body = market.network.posts[-1][1]
    assert body["return"] == await show(shop, code)
    assert body["event_time"] == body["return"]["created_at"]
    assert body["event_time"].endswith("Z")
    assert len(body["event_time"]) == len("2026-08-18T09:12:03Z")
    assert body.keys() == {"event_type", "event_time", "return"}
    await review(shop, code, option="approve")
    await market.settle()
    body = market.network.posts[-1][1]
    assert body["return"] == await show(shop, code)
    assert body["changes"]["courier"] == {"old": None, "new": body["return"]["courier"]}
    assert "review_options" not in body["return"]


async def test_turning_the_hook_on_late_leaves_older_returns_silent_until_a_fresh_created_event(
    market: Market,
) -> None:
    shop = await _shop(market, returns_webhook_enabled=False)
    code = (await request_return(market, await delivered(shop)))["return_code"]
    await _change(market, shop, returns_webhook_enabled=True)
    await review(shop, code, option="approve")
    assert await sent_events(market) == []
    await operate(market, code, "webhook")
    assert await sent_events(market) == [("created", "returning", set())]
    await operate(market, code, "hand_over")
    assert (await sent_events(market))[1:] == [("updated", "returning", {"courier_tracking_ids"})]


async def test_changing_the_url_silences_older_returns_until_a_fresh_created_event(market: Market) -> None:
    shop = await _shop(market)
    code = (await request_return(market, await delivered(shop)))["return_code"]
    await market.settle()
    await _change(market, shop, returns_webhook_url="http://shop/new")
    await review(shop, code, option="approve")
    assert await sent_events(market, "http://shop/new") == []
    newer = (await request_return(market, await delivered(shop)))["return_code"]
    assert await sent_events(market, "http://shop/new") == [CREATED], "a new return is announced at the new URL"
    await operate(market, code, "webhook")
    await operate(market, code, "hand_over")
    assert (await sent_events(market, "http://shop/new"))[1:] == [
        ("created", "returning", set()),
        ("updated", "returning", {"courier_tracking_ids"}),
    ]
    assert newer != code
    assert await sent_events(market) == [CREATED]


@pytest.mark.parametrize("way", ["off and on", "elsewhere and back"])
async def test_turning_the_hook_on_again_or_restoring_a_url_silences_returns(market: Market, way: str) -> None:
    """The shop missed the events in between."""
    shop = await _shop(market)
    code = (await request_return(market, await delivered(shop)))["return_code"]
    await market.settle()
    if way == "off and on":
        await _change(market, shop, returns_webhook_enabled=False)
        await _change(market, shop, returns_webhook_enabled=True)
    else:
        await _change(market, shop, returns_webhook_url="http://shop/new")
        await _change(market, shop, returns_webhook_url=HOOK)
    await review(shop, code, option="approve")
    assert await sent_events(market) == [CREATED]
    await _change(market, shop, name="Another name")
    await operate(market, code, "webhook")
    await operate(market, code, "hand_over")
    assert (await sent_events(market))[1:] == [
        ("created", "returning", set()),
        ("updated", "returning", {"courier_tracking_ids"}),
    ]


@pytest.mark.parametrize("by", ["one", "many"])
async def test_resending_a_failed_return_from_the_log_sends_a_created_event(market: Market, by: str) -> None:
    shop = await _shop(market)
    market.network.statuses[HOOK] = [500] * 4
    code = (await request_return(market, await delivered(shop)))["return_code"]
    await market.settle()
    await review(shop, code, option="approve")
    await market.advance(3600)
    detail = await market.operate("GET", f"/marketplace/returns/{code}")
    if by == "one":
        await market.operate("POST", f"/marketplace/deliveries/{detail['deliveries'][0]['id']}/resend")
    else:
        since = {"shop_id": shop.id, "since": "2026-11-24T00:00:00+02:00"}
        await market.operate("POST", "/marketplace/deliveries/resend", since)
    assert (await sent_events(market))[4:] == [("created", "returning", set())], (
        "its present state, and nothing that was dropped"
    )
    await operate(market, code, "hand_over")
    assert (await sent_events(market))[5:] == [("updated", "returning", {"courier_tracking_ids"})]
    # By now the shop knows it: an event that is sent again is sent as it was.
    detail = await market.operate("GET", f"/marketplace/returns/{code}")
    await market.operate("POST", f"/marketplace/deliveries/{detail['deliveries'][-1]['id']}/resend")
    await market.settle()
    await market.operate("POST", f"/marketplace/deliveries/{detail['deliveries'][0]['id']}/resend")
    assert (await sent_events(market))[6:] == [("updated", "returning", {"courier_tracking_ids"}), CREATED]
    await _change(market, shop, returns_webhook_enabled=False)
    path = f"/marketplace/deliveries/{detail['deliveries'][0]['id']}/resend"
    refusal = await market.operate("POST", path, status=422)
    assert refusal["errors"][0]["code"] == "return_webhook"


async def test_triggered_updates_wait_behind_a_creation_that_is_being_retried(market: Market) -> None:
    shop = await _shop(market)
    market.network.statuses[HOOK] = [500]
    path = f"/marketplace/shops/{shop.id}/trigger_return_webhook"
    for kind in ("creation", "shipment", "tracking"):
        await market.operate("POST", f"{path}/{kind}")
        await market.advance(3)
    await market.advance(120)
    assert await sent_events(market) == [CREATED, CREATED, APPROVED, ("updated", "returning", {"courier_tracking_ids"})]


async def test_a_url_that_changes_between_an_updates_attempts_ends_them(market: Market) -> None:
    shop = await _shop(market)
    code = (await request_return(market, await delivered(shop)))["return_code"]
    await market.settle()
    market.network.statuses[HOOK] = [500]
    await review(shop, code, option="approve")
    await market.settle()
    await _change(market, shop, returns_webhook_url="http://shop/new")
    await market.advance(3600)
    assert await sent_events(market, "http://shop/new") == []
    detail = await market.operate("GET", f"/marketplace/returns/{code}")
    attempts = detail["deliveries"][1]["attempts"]
    assert [(entry["outcome"], entry["error"]) for entry in attempts] == [("retry", ""), ("exhausted", "silenced")]


async def test_while_created_is_being_retried_updates_wait_in_order_behind_it(market: Market) -> None:
    shop = await _shop(market)
    market.network.statuses[HOOK] = [500, 500]
    code = (await request_return(market, await delivered(shop)))["return_code"]
    await market.settle()
    await review(shop, code, option="approve")
    await operate(market, code, "hand_over")
    await market.advance(61)
    assert await sent_events(market) == [CREATED, CREATED], "nothing overtakes it"
    await operate(market, code, "arrive")
    await market.advance(4 * 60)
    assert await sent_events(market) == [
        *[CREATED] * 3,
        APPROVED,
        ("updated", "returning", {"courier_tracking_ids"}),
        ("updated", "pending_physical_review", {"state"}),
    ]
    await operate(market, code, "inspect", {"accepted": False})
    assert (await sent_events(market))[-1] == ("updated", "rejected", {"state"})


async def test_a_failed_created_event_drops_updates_until_a_resend(
    market: Market,
) -> None:
    shop = await _shop(market)
    market.network.statuses[HOOK] = [500] * 4
    code = (await request_return(market, await delivered(shop)))["return_code"]
    await market.settle()
    await review(shop, code, option="approve")
    await market.advance(3600)
    assert await sent_events(market) == [CREATED] * 4
    assert await _states(market, code) == [("created", "exhausted"), ("updated", "not_sent")]
    await operate(market, code, "hand_over")
    assert await sent_events(market) == [CREATED] * 4, "created never arrived, so no update is sent"
    await operate(market, code, "webhook")
    fresh = ("created", "returning", set[str]())
    assert (await sent_events(market))[4:] == [fresh]
    assert market.network.posts[-1][1]["return"] == await show(shop, code)
    await operate(market, code, "arrive")
    assert (await sent_events(market))[5:] == [("updated", "pending_physical_review", {"state"})]


async def test_a_resend_sends_the_latest_event_again_with_the_same_bytes(market: Market) -> None:
    shop = await _shop(market)
    code = (await request_return(market, await delivered(shop)))["return_code"]
    await market.settle()
    await review(shop, code, option="approve")
    await market.settle()
    await operate(market, code, "webhook")
    await market.settle()
    assert market.network.bodies[-1] == market.network.bodies[-2]
    assert await sent_events(market) == [CREATED, APPROVED, APPROVED]


async def test_a_resend_retries_a_pending_created_event_first(market: Market) -> None:
    shop = await _shop(market)
    market.network.statuses[HOOK] = [500]
    code = (await request_return(market, await delivered(shop)))["return_code"]
    await market.settle()
    await review(shop, code, option="approve")
    await operate(market, code, "webhook")
    assert await sent_events(market) == [CREATED, CREATED, APPROVED]


async def test_a_resend_without_a_hook_is_422_and_names_the_setting(market: Market) -> None:
    shop = await _shop(market, returns_webhook_enabled=False)
    code = (await request_return(market, await delivered(shop)))["return_code"]
    refusal = await operate(market, code, "webhook", status=422)
    assert refusal["errors"][0]["code"] == "return_webhook"
    assert "returns_webhook_enabled" in refusal["errors"][0]["messages"][0]


async def test_retries_and_secrets_are_those_of_orders(market: Market) -> None:
    shop = await _shop(market)
    await market.operate("POST", f"/marketplace/shops/{shop.id}/signing_secret")
    market.network.statuses[HOOK] = [500] * 9
    code = (await request_return(market, await delivered(shop)))["return_code"]
    await market.advance(3600)
    detail = await market.operate("GET", f"/marketplace/returns/{code}")
    [delivery] = detail["deliveries"]
    assert [entry["outcome"] for entry in delivery["attempts"]] == ["retry"] * 3 + ["exhausted"]
    ids = {
        headers["webhook-id"]
        for (at, _), headers in zip(market.network.posts, market.network.headers, strict=True)
        if at == HOOK
    }
    assert len(ids) == 1


async def test_the_webhooks_of_the_demo_return_are_triggered_in_order(market: Market) -> None:
    shop = await _shop(market)
    path = f"/marketplace/shops/{shop.id}/trigger_return_webhook"
    refusal = await market.operate("POST", f"{path}/shipment", status=422)
    assert "creation first" in refusal["errors"][0]["messages"][0]
    for kind in ("creation", "shipment", "tracking", "courier", "state"):
        assert await market.operate("POST", f"{path}/{kind}") == {"success": True}
        await market.advance(2)
    assert await sent_events(market) == [
        CREATED,
        APPROVED,
        ("updated", "returning", {"courier_tracking_ids"}),
        ("updated", "returning", {"courier"}),
        ("updated", "returned", {"state"}),
    ]
    assert {body["return"]["return_code"] for _, body in market.network.posts} == {"DEMO-RETURN"}
    await market.operate("POST", f"{path}/nonsense", status=422)
    await _change(market, shop, returns_webhook_enabled=False)
    await market.operate("POST", f"{path}/creation", status=422)
