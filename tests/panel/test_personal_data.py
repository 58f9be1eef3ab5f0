"""The pages of personal data: find, download and remove a customer; suspend, close, download and erase a shop."""

import json
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.panel.test_people import team
from tests.panel.visitor import open_place
from tests.virtual.returning import delivered

pytestmark = pytest.mark.anyio


async def test_a_customer_is_found_downloaded_and_removed(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        finished, open_code = await delivered(place.shop, A=1), await place.shop.cart(A=1)
        address = f"/operator/customers?q={quote('παπαδοπουλου')}"
        page = await place.operator.get(address)
        assert finished in page.text
        # An order that is not finished is listed, but cannot be chosen.
        assert page.form("/operator/customers").choices["order"] == [finished]
        download = await place.operator.get(address.replace("customers", "customers.json"))
        codes = {entry["code"] for entry in json.loads(download.html)["orders"]}
        assert codes == {finished, open_code}
        done = await place.operator.submit(page, "/operator/customers", {"order": finished})
        assert done.done == "anonymised"
        order = await place.operator.get(f"/operator/orders/{finished}")
        assert "data was removed" in order.text
        assert "Παπαδοπούλου" not in order.text
        assert "data was removed" in (await place.merchant.get(f"/shop/orders/{finished}")).text
        assert finished not in (await place.operator.get(address)).text
        assert "Personal data removed" in (await place.merchant.get("/shop/history")).text


async def test_an_order_under_way_is_refused_with_its_reason(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        await delivered(place.shop, A=1)
        code = await place.shop.cart(A=1)
        page = await place.operator.get(f"/operator/customers?q={quote('παπαδοπουλου')}")
        refused = await place.operator.submit(page, "/operator/customers", {"order": code})
        assert refused.refusals == ["OrderUnderWay"]
        assert "Παπαδοπούλου" in (await place.operator.get(f"/operator/orders/{code}")).text


async def test_a_shop_is_suspended_closed_downloaded_and_erased(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        code = await delivered(place.shop, A=1)
        here = f"/operator/shops/{place.shop.id}"
        page = await place.operator.get(here)
        assert (await place.operator.submit(page, f"{here}/status", {"status": "suspended"})).done == "status"
        assert (await place.merchant.get("/shop/orders")).status == 200
        page = await place.operator.get(here)
        assert f"{here}/erase" not in page.html
        # Closing needs the tick; suspending does not.
        assert (await place.operator.submit(page, f"{here}/status", {"status": "closed"})).refusals == ["NotConfirmed"]
        form = {"status": "closed", "confirmed": "1"}
        assert (await place.operator.submit(page, f"{here}/status", form)).done == "status"
        assert (await place.merchant.get("/shop/orders")).path.startswith("/sign-in")
        download = await place.operator.get(f"{here}/export")
        rows = [json.loads(line) for line in download.html.splitlines()]
        assert code in {row.get("code") for row in rows if row["table"] == "orders"}
        erased = await place.operator.submit(await place.operator.get(here), f"{here}/erase")
        assert erased.done == "erased"
        assert (await place.operator.get(here)).status == 404
        assert (await place.operator.get(f"/operator/orders/{code}")).status == 404


async def test_only_owners_download_everything(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        here = f"/marketplace/shops/{place.shop.id}"
        await place.market.operate("PATCH", here, {"webhook_url": "http://user:hunter2@shop.example/hook"})
        visitors = await team(place, "/operator")
        for address in (f"/operator/shops/{place.shop.id}/export", "/operator/customers.json?q=a"):
            assert [(await visitors[role].get(address)).status for role in ("owner", "staff", "read_only")] == [
                200,
                403,
                403,
            ]
            for role in ("staff", "read_only"):
                page = await visitors[role].get(address.partition("/export")[0].replace(".json", ""))
                assert "/export" not in page.html
                assert "customers.json" not in page.html
        download = await visitors["owner"].get(f"/operator/shops/{place.shop.id}/export")
        assert "hunter2" not in download.html


async def test_an_order_without_its_customer_cannot_be_returned(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        code = await delivered(place.shop, A=1)
        await place.market.operate("POST", "/marketplace/customers/anonymise", {"codes": [code]})
        [line] = (await place.shop.show(code))["line_items"]
        body = {"line_items": [{"id": line["id"], "quantity": 1, "reason": "faulty"}]}
        refused = await place.market.operate("POST", f"/marketplace/orders/{code}/returns", body, status=422)
        assert refused["errors"][0]["code"] == "order_status"
