"""Resending from the delivery log: all failures of a filter, and an edited event."""

import json
from pathlib import Path

import pytest

from tests.panel.visitor import Place, open_place

pytestmark = pytest.mark.anyio


async def _fail(place: Place, orders: int) -> list[str]:
    """Orders whose webhooks have failed for good."""
    place.network.statuses["http://shop/"] = [500] * (4 * orders)
    codes = [await place.shop.cart(A=1) for _ in range(orders)]
    await place.market.advance(3600)
    return codes


async def test_all_failures_of_a_filter_are_sent_again_and_others_are_not(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        codes = await _fail(place, 3)
        assert "/operator/deliveries" not in {
            form.action.partition("?")[0] for form in (await place.operator.get("/operator/deliveries")).forms
        }
        address = f"/operator/deliveries?state=exhausted&subject={codes[0]}"
        page = await place.operator.get(address)
        [form] = [form for form in page.forms if form.action.startswith("/operator/deliveries?")]
        sent = len(place.network.posts)
        done = await place.operator.submit(page, form.action)
        assert done.done == "failures_resent"
        await place.market.settle()
        assert [body["order"]["code"] for _, body in place.network.posts[sent:]] == [codes[0]]
        page = await place.operator.get("/operator/deliveries?state=exhausted")
        [form] = [form for form in page.forms if form.action.startswith("/operator/deliveries?")]
        await place.operator.submit(page, form.action)
        await place.market.settle()
        resent = {body["order"]["code"] for _, body in place.network.posts[sent + 1 :]}
        assert resent == set(codes[1:])
        assert "No matching webhook" in (await place.operator.get("/operator/deliveries?state=exhausted")).text


async def test_an_edited_event_is_signed_anew_marked_and_sent_once(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        code = await place.shop.cart(A=1)
        path = f"/marketplace/shops/{place.shop.id}/signing_secret"
        await place.market.operate("POST", path)
        await place.market.settle()
        here = f"/operator/deliveries/{place.shop.id}.{code}.1"
        page = await place.operator.get(here)
        body = json.loads(page.form(f"{here}/edited").values["body"])
        body["order"]["comments"] = "Δοκιμή"
        shown = await place.operator.submit(page, f"{here}/edited", {"body": json.dumps(body)})
        assert "Webhook delivered" in shown.text
        url, sent = place.network.posts[-1]
        assert (url, sent["order"]["comments"]) == ("http://shop/", "Δοκιμή")
        headers = place.network.headers[-1]
        assert headers["kalathi-edited"] == "1"
        assert headers["webhook-signature"]
        # The log keeps the original, with its one attempt.
        delivery = await place.market.operate("GET", f"/marketplace/deliveries/{place.shop.id}.{code}.1")
        assert delivery["body"]["order"]["comments"] != "Δοκιμή"
        assert len(delivery["attempts"]) == 1
        assert "Edited webhook sent" in (await place.operator.get("/operator/history")).text


@pytest.mark.parametrize("body", ["", "{", "[1,]", "\ud83d"])
async def test_a_body_that_is_not_json_is_refused_and_kept_for_correction(tmp_path: Path, body: str) -> None:
    async with open_place(tmp_path) as place:
        code = await place.shop.cart(A=1)
        await place.market.settle()
        here = f"/operator/deliveries/{place.shop.id}.{code}.1"
        token = (await place.operator.get(here)).form(f"{here}/edited").values["form_token"]
        sent = len(place.network.posts)
        form = {"form_token": token, "body": body.encode("utf-8", "replace").decode()}
        refused = await place.operator.post(f"{here}/edited", form)
        assert refused.status == 422
        assert refused.refusals == ["NotJson"]
        assert len(place.network.posts) == sent
