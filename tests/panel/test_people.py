"""People with names, passwords and roles: invitations, sessions, and the history of their actions."""

import asyncio
import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from kalathi.marketplace.kernel.operator_token_file import OperatorToken, operator_token, write_operator_token
from kalathi.marketplace.kernel.settings import Settings
from kalathi.marketplace.panel.form_names import FORMS, name_form
from kalathi.marketplace.panel.page_table import PAGES
from kalathi.marketplace.panel.pages import Who
from kalathi.marketplace.panel.roles import role_of_form
from kalathi.marketplace.people.model import Role
from kalathi.marketplace.shops.model import hash_token
from tests.market import OPERATOR_TOKEN, Market
from tests.panel.visitor import Page, Place, Visitor, open_place
from tests.panel.world import World, facts_of, fill_shop, pages_of

pytestmark = pytest.mark.anyio

PASSWORD = "correct horse battery"


def find_link(page: Page) -> str:
    """The path of the invitation that a page shows."""
    [address] = re.findall(r"http\S+/invitation/[\w-]+", page.text)
    return str(urlsplit(address).path)


async def join(market: Market, link: str, name: str, password: str = PASSWORD) -> Visitor:
    """A visitor who has joined by an invitation."""
    visitor = Visitor(market)
    page = await visitor.submit(await visitor.get(link), link, {"name": name, "password": password})
    assert page.status == 200, page.text
    return visitor


async def invite(inviter: Visitor, role: str, root: str = "/shop") -> str:
    """The link of an invitation."""
    page = await inviter.get(f"{root}/people")
    return find_link(await inviter.submit(page, f"{root}/people", {"role": role}))


async def team(place: Place, root: str = "/shop") -> dict[str, Visitor]:
    """An owner, a member of staff and a reader, by their role."""
    first = place.merchant if root == "/shop" else place.operator
    owner = await join(place.market, await invite(first, "owner", root), f"Όλγα {root}")
    staff = await join(place.market, await invite(owner, "staff", root), f"Στέλιος {root}")
    reader = await join(place.market, await invite(owner, "read_only", root), f"Ρένα {root}")
    return {"owner": owner, "staff": staff, "read_only": reader}


async def test_the_first_owner_joins_with_the_token_and_ends_it(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        other = Visitor(place.market)
        await other.sign_in(place.shop.token)
        owner = await join(place.market, await invite(place.merchant, "owner"), "Μαρία")
        assert (await owner.get("/shop/orders")).status == 200
        for token_session in (place.merchant, other):
            assert (await token_session.get("/shop/orders")).path.startswith("/sign-in")
        refused = await Visitor(place.market).sign_in(place.shop.token)
        assert (refused.status, refused.refusals) == (401, ["SignInByName"])
        # The API still takes the token.
        assert (await place.shop.call("GET", "/orders")).status == 200
        # And the operator's token still opens the operator's pages.
        assert (await Visitor(place.market).sign_in(OPERATOR_TOKEN)).path == "/"


async def test_the_first_person_must_be_an_owner(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        page = await place.merchant.get("/shop/people")
        assert page.form("/shop/people").choices["role"] == ["owner"]
        values = page.form("/shop/people").values | {"role": "staff"}
        assert (await place.merchant.post("/shop/people", values)).refusals == ["FirstMustBeOwner"]


async def test_people_sign_in_by_name_without_accents_and_case(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        await join(place.market, await invite(place.merchant, "owner"), "Μαρία Παππά")
        visitor = Visitor(place.market)
        page = await visitor.get("/sign-in?then=%2Fshop%2Freturns")
        form = {"name": "  μαρια  ΠΑΠΠΑ", "password": PASSWORD}
        assert (await visitor.submit(page, "/sign-in", form)).path == "/shop/returns"
        for wrong in ({"password": "wrong"}, {"name": "Νίκος", "password": PASSWORD}):
            visitor = Visitor(place.market)
            page = await visitor.submit(await visitor.get("/sign-in"), "/sign-in", {"name": "Μαρία Παππά", **wrong})
            assert (page.status, page.refusals) == (401, ["WrongPassword"])


async def test_a_name_is_throttled_although_the_address_changes(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        await join(place.market, await invite(place.merchant, "owner"), "Μαρία")
        for number in range(10):
            visitor = Visitor(place.market, client=f"203.0.{number}.9")
            await visitor.submit(await visitor.get("/sign-in"), "/sign-in", {"name": "Μαρία", "password": "wrong"})
        visitor = Visitor(place.market, client="203.0.100.9")
        page = await visitor.submit(await visitor.get("/sign-in"), "/sign-in", {"name": "μαρια", "password": PASSWORD})
        assert page.status == 429


async def test_attempts_from_a_blocked_address_do_not_lock_a_name(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        await join(place.market, await invite(place.merchant, "owner"), "Μαρία")
        guesser = Visitor(place.market, client="203.0.113.9")
        page = await guesser.get("/sign-in")
        answers = [
            (await guesser.submit(page, "/sign-in", {"name": f"Νίκος {number}", "password": "wrong"})).status
            for number in range(40)
        ]
        assert answers[-1] == 429
        for _ in range(20):
            await guesser.submit(page, "/sign-in", {"name": "Μαρία", "password": "wrong"})
        visitor = Visitor(place.market, client="203.0.100.9")
        page = await visitor.submit(await visitor.get("/sign-in"), "/sign-in", {"name": "μαρια", "password": PASSWORD})
        assert page.status == 200


@pytest.mark.parametrize(
    ("name", "password", "refusal"),
    [
        ("", PASSWORD, "NoName"),
        ("\u200b", PASSWORD, "NoName"),
        ("\u0301", PASSWORD, "NoName"),
        ("Μαρία\u200b", PASSWORD, "NoName"),
        ("Νίκος\x1b[31m", PASSWORD, "NoName"),
        ("x" * 81, PASSWORD, "NoName"),
        ("ΜΑΡΊΑ", PASSWORD, "NameTaken"),
        ("Νίκος", "short", "BadPassword"),
        ("Νίκος", "x" * 201, "BadPassword"),
        ("Νίκος", "ΝΙΚΟΣ ο πρώτος", "PasswordIsName"),
    ],
)
async def test_a_bad_name_or_password_leaves_the_invitation_open(
    tmp_path: Path, name: str, password: str, refusal: str
) -> None:
    async with open_place(tmp_path) as place:
        owner = await join(place.market, await invite(place.merchant, "owner"), "Μαρία")
        link = await invite(owner, "staff")
        visitor = Visitor(place.market)
        form = {"name": name, "password": password}
        page = await visitor.submit(await visitor.get(link), link, form)
        assert (page.status, page.refusals) == (422, [refusal])
        assert PASSWORD not in page.html
        await join(place.market, link, "Πέτρος")


async def test_an_invitation_works_once_for_seven_days_and_can_be_removed(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        owner = await join(place.market, await invite(place.merchant, "owner"), "Μαρία")
        used = await invite(owner, "staff")
        await join(place.market, used, "Πέτρος")
        removed = await invite(owner, "staff")
        page = await owner.get("/shop/people")
        [form] = [form for form in page.forms if form.action.startswith("/shop/people/invitations/")]
        assert (await owner.submit(page, form.action)).done == "invitation_removed"
        old = await invite(owner, "staff")
        place.market.time.millis += 7 * 86_400_000
        for link in (used, removed, old, "/invitation/none"):
            page = await Visitor(place.market).get(link)
            assert (page.status, "InvitationEnded" in page.refusals or "been used" in page.text) == (404, True)


async def test_a_link_for_a_new_password_ends_the_old_one_and_its_sessions(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        owner = await join(place.market, await invite(place.merchant, "owner"), "Μαρία")
        staff = await join(place.market, await invite(owner, "staff"), "Πέτρος")
        page = await owner.get("/shop/people")
        [action] = [form.action for form in page.forms if form.action.endswith("/new-password")][1:]
        link = find_link(await owner.submit(page, action))
        visitor = Visitor(place.market)
        assert (await visitor.submit(await visitor.get(link), link, {"password": "another one 2"})).status == 200
        assert (await staff.get("/shop/orders")).path.startswith("/sign-in")
        for password, status in ((PASSWORD, 401), ("another one 2", 200)):
            visitor = Visitor(place.market)
            form = {"name": "Πέτρος", "password": password}
            assert (await visitor.submit(await visitor.get("/sign-in"), "/sign-in", form)).status == status


async def test_a_new_password_of_ones_own_needs_the_old_one(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        owner = await join(place.market, await invite(place.merchant, "owner"), "Μαρία")
        second = Visitor(place.market)
        form = {"name": "Μαρία", "password": PASSWORD}
        await second.submit(await second.get("/sign-in"), "/sign-in", form)
        page = await owner.get("/shop/people")
        new = {"old_password": "wrong", "password": "another one 2"}
        assert (await owner.submit(page, "/shop/people/password", new)).refusals == ["OldPasswordWrong"]
        new["old_password"] = PASSWORD
        assert (await owner.submit(page, "/shop/people/password", new)).done == "password"
        assert (await owner.get("/shop/orders")).status == 200
        assert (await second.get("/shop/orders")).path.startswith("/sign-in")


async def test_a_new_password_of_ones_own_ends_the_links_for_another_one(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        visitors = await team(place)
        people = (await place.market.operate("GET", f"/marketplace/people?shop_id={place.shop.id}"))["people"]
        [staff] = [person["id"] for person in people if person["role"] == "staff"]
        page = await visitors["owner"].get("/shop/people")
        link = find_link(await visitors["owner"].submit(page, f"/shop/people/{staff}/new-password"))
        page = await visitors["staff"].get("/shop/people")
        form = {"old_password": PASSWORD, "password": "another long password"}
        assert (await visitors["staff"].submit(page, "/shop/people/password", form)).done == "password"
        assert (await Visitor(place.market).get(link)).refusals == ["InvitationEnded"]


async def test_two_new_passwords_at_the_same_time_leave_one_that_works(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        await join(place.market, await invite(place.merchant, "owner"), "Μαρία")
        visitors = [Visitor(place.market), Visitor(place.market)]
        for visitor in visitors:
            form = {"name": "Μαρία", "password": PASSWORD}
            await visitor.submit(await visitor.get("/sign-in"), "/sign-in", form)
        pages = [await visitor.get("/shop/people") for visitor in visitors]
        chosen = ["the first new password", "the second new password"]
        answers = await asyncio.gather(
            *(
                visitor.submit(page, "/shop/people/password", {"old_password": PASSWORD, "password": password})
                for visitor, page, password in zip(visitors, pages, chosen, strict=True)
            )
        )
        assert all(answer.status < 500 for answer in answers)
        opened = 0
        for password in chosen:
            visitor = Visitor(place.market)
            form = {"name": "Μαρία", "password": password}
            page = await visitor.submit(await visitor.get("/sign-in"), "/sign-in", form)
            opened += page.status == 200
        assert opened == 1


@pytest.mark.parametrize("step", ["removed", "demoted"])
async def test_invitations_of_a_former_owner_end(tmp_path: Path, step: str) -> None:
    async with open_place(tmp_path) as place:
        first = await join(place.market, await invite(place.merchant, "owner"), "Μαρία")
        second = await join(place.market, await invite(first, "owner"), "Άννα")
        link = await invite(second, "owner")
        people = (await place.market.operate("GET", f"/marketplace/people?shop_id={place.shop.id}"))["people"]
        [anna] = [person["id"] for person in people if person["name"] == "Άννα"]
        page = await first.get("/shop/people")
        if step == "removed":
            await first.submit(page, f"/shop/people/{anna}/remove", page.form(f"/shop/people/{anna}/remove").required)
        else:
            await first.submit(page, f"/shop/people/{anna}/role", {"role": "staff"})
        assert (await Visitor(place.market).get(link)).refusals == ["InvitationEnded"]


async def test_a_closed_shop_lets_nobody_in(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        visitors = await team(place)
        link = await invite(visitors["owner"], "staff")
        code = await place.shop.place({"A": 1})
        here = f"/marketplace/shops/{place.shop.id}"
        await place.market.operate("PATCH", here, {"status": "closed"})
        for word in ("api_token", "products_token"):
            await place.market.operate("POST", f"{here}/{word}", status=409)
        invitation = {"shop_id": place.shop.id, "role": "owner"}
        await place.market.operate("POST", "/marketplace/invitations", invitation, status=409)
        assert (await place.shop.call("GET", f"/orders/{code}")).status == 401
        assert (await Visitor(place.market).get(link)).refusals == ["InvitationEnded"]
        visitor = Visitor(place.market)
        form = {"name": "Όλγα /shop", "password": PASSWORD}
        page = await visitor.submit(await visitor.get("/sign-in"), "/sign-in", form)
        assert (page.path, page.refusals) == ("/sign-in", ["ShopClosed"])
        await place.market.operate("PATCH", here, {"status": "active"})
        page = await visitor.submit(await visitor.get("/sign-in"), "/sign-in", form)
        assert page.status == 200


async def test_the_last_owner_stays_one(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        owner = await join(place.market, await invite(place.merchant, "owner"), "Μαρία")
        page = await owner.get("/shop/people")
        [role] = [form.action for form in page.forms if form.action.endswith("/role")]
        assert (await owner.submit(page, role, {"role": "staff"})).refusals == ["LastOwner"]
        remove = role.replace("/role", "/remove")
        assert (await owner.submit(page, remove)).refusals == ["LastOwner"]
        second = await join(place.market, await invite(owner, "owner"), "Πέτρος")
        assert (await second.submit(await second.get("/shop/people"), remove)).done == "person_removed"
        assert (await owner.get("/shop/orders")).path.startswith("/sign-in")
        # The removed person's name is free again.
        await join(place.market, await invite(second, "staff"), "Μαρία")


async def test_sessions_are_listed_and_can_be_ended(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        people = await team(place)
        shown = await people["owner"].get("/shop/people")
        ends = [form.action for form in shown.forms if form.action.startswith("/shop/people/sessions/")]
        assert len(ends) == 3
        own = await people["read_only"].get("/shop/people")
        [mine] = [form.action for form in own.forms if form.action.startswith("/shop/people/sessions/")]
        # A person without the owner's role ends their own sessions only.
        [other, *_] = [action for action in ends if action != mine]
        token = own.forms[0].values["form_token"]
        assert (await people["read_only"].post(other, {"form_token": token})).status == 404
        assert (await people["owner"].submit(shown, mine)).done == "session_ended"
        assert (await people["read_only"].get("/shop/orders")).path.startswith("/sign-in")


@pytest.mark.parametrize("root", ["/shop", "/operator"])
async def test_every_form_is_shown_to_and_taken_from_people_with_its_role(tmp_path: Path, root: str) -> None:
    """The walk of every address, as each role."""
    async with open_place(tmp_path, settings=Settings(extra_api_tokens=True)) as place:
        world = await fill_shop(place.market, "Second")
        await place.merchant.sign_in(world.shop.token)
        for word, visitor in (await team(place, root)).items():
            role = Role(word)
            who = Who.SHOP if root == "/shop" else Who.OPERATOR
            await _walk_pages(place, world, visitor, role, who)
            for page in pages_of(who, method="POST"):
                for path in world.paths(page):
                    if role.covers(role_of_form(path)):
                        continue
                    before = await facts_of(place.market, world)
                    token = (await visitor.get(f"{root}/people")).forms[0].values["form_token"]
                    refused = await visitor.post(path, {"form_token": token})
                    assert (refused.status, "Your role" in refused.text) == (403, True), (word, path)
                    assert await facts_of(place.market, world) == before


async def _walk_pages(place: Place, world: World, visitor: Visitor, role: Role, who: Who) -> None:
    for page in pages_of(who):
        for path in world.paths(page):
            shown = await visitor.get(path)
            if not role.covers(page.role):
                assert shown.status == 403, path
                continue
            assert shown.status in {200, 404}, path
            for form in shown.forms:
                address = form.action.partition("?")[0]
                assert form.method != "post" or role.covers(role_of_form(address)), (role, path, address)
            for _, given in shown.tags:
                target = (given.get("formaction") or "").partition("?")[0]
                assert not target or role.covers(role_of_form(target)), (role, path, target)


async def test_a_reader_sees_the_list_and_can_print_what_to_pick(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        code = await place.shop.accepted()
        reader = (await team(place))["read_only"]
        listed = await reader.get("/shop/orders")
        assert code in listed.text
        assert (await reader.submit(listed, "/shop/picking-list", {"order": code})).status == 200
        assert "/shop/vouchers.pdf" not in listed.html
        order = await reader.get(f"/shop/orders/{code}")
        assert [form.action for form in order.forms if form.method == "post"] == ["/sign-out"]


async def test_no_shop_manages_another_shops_people(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        owner = await join(place.market, await invite(place.merchant, "owner"), "Μαρία")
        other_shop = await place.market.shop(name="Other")
        other = Visitor(place.market)
        await other.sign_in(other_shop.token)
        page = await owner.get("/shop/people")
        actions = [form.action for form in page.forms if form.action.count("/") > 2]
        token = (await other.get("/shop/people")).forms[0].values["form_token"]
        for action in actions:
            form = {"form_token": token, "role": "staff", "confirmed": "1"}
            assert (await other.post(action, form)).status == 404, action
        assert "Μαρία" not in (await other.get("/shop/people")).html
        assert (await owner.get("/shop/orders")).status == 200


async def test_timeline_and_history_name_the_person_the_api_support_and_the_clock(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        owner = await join(place.market, await invite(place.merchant, "owner"), "Μαρία")
        operator = await join(place.market, await invite(place.operator, "owner", "/operator"), "Ηλίας")
        by_person, by_api = [await place.shop.cart(A=1) for _ in range(2)]
        await owner.submit(await owner.get(f"/shop/orders/{by_person}"), f"/shop/orders/{by_person}/accept")
        await place.shop.accept(by_api)
        await place.market.advance(5)
        for code, actor in ((by_person, "shop:Μαρία"), (by_api, "api")):
            timeline = (await place.market.operate("GET", f"/marketplace/orders/{code}"))["timeline"]
            actors = {entry["event"]: entry["actor"] for entry in timeline}
            assert actors == {"place": "operator", "accept": actor, "issue_voucher": "clock"}
        page = await operator.get(f"/operator/orders/{by_api}")
        await operator.submit(page, f"/operator/orders/{by_api}/cancel")
        assert "Ηλίας (support)" in (await owner.get(f"/shop/orders/{by_api}")).text
        history = await owner.get("/shop/history")
        assert re.search(rf"Μαρία \(shop\)\s+Accepted\s+{by_person}", history.text)
        of_operator = await operator.get("/operator/history")
        assert re.search(rf"Ηλίας \(support\)\s+Cancelled\s+{by_api}", of_operator.text)
        assert "Ηλίας" not in history.text


async def test_a_shop_sees_the_operators_changes_of_its_settings(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        page = await place.operator.get(f"/operator/shops/{place.shop.id}")
        await place.operator.submit(page, f"/operator/shops/{place.shop.id}/signing_secret")
        await place.market.operate("PATCH", f"/marketplace/shops/{place.shop.id}", {"name": "New name"})
        text = (await place.merchant.get("/shop/history")).text
        assert "New signing secret" in text
        assert "PATCH /marketplace/shops/{shop_id}" in text


async def test_the_operator_invites_the_owner_of_a_shop(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        page = await place.operator.get(f"/operator/shops/{place.shop.id}")
        shown = await place.operator.submit(page, f"/operator/shops/{place.shop.id}/owner")
        owner = await join(place.market, find_link(shown), "Μαρία")
        assert (await owner.get("/shop/people")).status == 200
        assert "Μαρία" in (await place.operator.get(f"/operator/shops/{place.shop.id}")).text


async def test_an_operator_with_a_shop_open_keeps_their_role(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        reader = (await team(place, "/operator"))["read_only"]
        page = await reader.get(f"/operator/shops/{place.shop.id}")
        opened = await reader.submit(page, f"/operator/shops/{place.shop.id}/open")
        assert opened.path == "/shop/orders"
        token = opened.forms[0].values["form_token"]
        assert (await reader.post("/shop/settings", {"form_token": token})).status == 403


async def test_more_api_tokens_have_names_and_a_last_use(tmp_path: Path) -> None:
    async with open_place(tmp_path, settings=Settings(extra_api_tokens=True)) as place:
        page = await place.merchant.get("/shop/settings")
        shown = await place.merchant.submit(page, "/shop/settings/extra_tokens", {"token_name": "ERP"})
        [token] = [word for word in shown.text.split() if len(word) == 86]
        code = await place.shop.cart(A=1)
        own, place.shop.token = place.shop.token, token
        await place.shop.accept(code)
        await place.market.marketplace.token_uses.write()
        settings = await place.merchant.get("/shop/settings")
        assert re.search(r"ERP · since [^·]+ · last used", settings.text)
        timeline = (await place.market.operate("GET", f"/marketplace/orders/{code}"))["timeline"]
        assert [entry["actor"] for entry in timeline if entry["event"] == "accept"] == ["api:ERP"]
        taken = await place.merchant.submit(settings, "/shop/settings/extra_tokens", {"token_name": "ERP"})
        assert taken.refusals == ["TokenNameTaken"]
        done = await place.merchant.submit(settings, "/shop/settings/extra_tokens/remove")
        assert done.done == "token_removed"
        assert (await place.shop.call("GET", f"/orders/{code}")).status == 401
        place.shop.token = own
        assert (await place.shop.call("GET", f"/orders/{code}")).status == 200


async def test_without_the_setting_a_shop_has_one_token(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        page = await place.merchant.get("/shop/settings")
        assert "/shop/settings/extra_tokens" not in page.html
        form = {"form_token": page.forms[0].values["form_token"], "token_name": "ERP"}
        assert (await place.merchant.post("/shop/settings/extra_tokens", form)).status == 404


def test_every_form_has_a_name_in_the_history() -> None:
    for page in PAGES:
        has_word = "{action}" in page.path or "{operation}" in page.path
        if page.method == "POST" and page.who is not Who.PUBLIC and not has_word:
            root = "/shop/" if page.who is Who.SHOP else "/operator/"
            assert page.path.removeprefix(root) in FORMS, page.path
    for action in ("/shop/orders/{code}/relocate_pickup", "/operator/returns/{code}/inspect"):
        assert not name_form(action).startswith("/")


def test_a_new_operators_token_in_the_file_is_in_force_after_a_second(tmp_path: Path) -> None:
    now = [0.0]
    settings = Settings(data=tmp_path)
    token = OperatorToken(settings, lambda: now[0])
    old = hash_token(operator_token(settings))
    assert token.read_hash() == old
    write_operator_token(tmp_path)
    now[0] = 1.0
    new = token.read_hash()
    assert new == hash_token(operator_token(settings)) != old
    # A file that is missing for a moment ends nothing.
    (tmp_path / "operator-token").unlink()
    now[0] = 2.0
    assert token.read_hash() == new
