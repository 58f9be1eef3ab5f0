"""The path that webhooks are posted to: the same address in every spelling, and no other."""

from typing import Any
from urllib.parse import unquote

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from kalathi.merchant.webhook_path import WebhookPath, show_path


def _scope(address: str, root_path: str = "", **more: Any) -> Any:
    """As a server gives a request: the path decoded, the query as it came."""
    path, _, query = address.partition("?")
    return {"type": "http", "path": unquote(path), "query_string": query.encode(), "root_path": root_path, **more}


@pytest.mark.parametrize(
    ("configured", "right", "wrong"),
    [
        ("/hook", ["/hook", "/hook/", "/hook?any=1", "/%68ook"], ["/", "/hoo", "/hook//", "/hook/x", "/Hook"]),
        ("/hook/", ["/hook", "/hook/"], ["/hook//", "//hook"]),
        ("/", ["/", ""], ["/x"]),
        ("/hook?", ["/hook", "/hook?any=1"], ["/"]),
        (
            "/hook?key=s3cret",
            [
                "/hook?key=s3cret",
                "/hook/?key=s3cret",
                "/hook?k%65y=s3c%72et",
                "/hook?key=s3cret&more=1",
                "/hook?&key=s3cret",
            ],
            [
                "/hook",
                "/hook?",
                "/hook?key=",
                "/hook?key",
                "/hook?key=s3cre",
                "/hook?key=s3crett",
                "/hook?more=1&key=s3cret",
            ],
        ),
        ("/hook?a=1&b=2", ["/hook?a=1&b=2", "/hook?a=1&b=2&c"], ["/hook?b=2&a=1", "/hook?a=1", "/hook?a=1%26b=2&b=2"]),
        ("/hook?s3cret", ["/hook?s3cret", "/hook?s3cret&x"], ["/hook?s3cret=", "/hook?other"]),
        ("/hook?key=a+b", ["/hook?key=a+b", "/hook?key=a%2Bb", "/hook?key=a%20b"], ["/hook?key=ab"]),
        ("/hook?key=a b", ["/hook?key=a%20b", "/hook?key=a+b"], ["/hook?key=ab"]),
        ("/κλειδί?κ=ω", ["/κλειδί?κ=ω", "/%CE%BA%CE%BB%CE%B5%CE%B9%CE%B4%CE%AF?%ce%ba=%CF%89"], ["/κλειδι?κ=ω"]),
        ("/a%2Fb", ["/a%2Fb", "/a/b"], ["/a%252Fb"]),
        ("/100%", ["/100%25", "/100%"], ["/100"]),
        ("/hook#a", ["/hook%23a"], ["/hook"]),
    ],
)
def test_a_path_is_the_same_in_every_spelling(configured: str, right: list[str], wrong: list[str]) -> None:
    path = WebhookPath(configured)
    # What is announced is ASCII, is one of the right ones, and stays itself.
    assert path.address.isascii()
    assert WebhookPath(path.address).address == path.address
    for address in (*right, path.address):
        assert path.matches(_scope(address)), address
    for address in wrong:
        assert not path.matches(_scope(address)), address


def test_below_a_mount_and_behind_a_prefix_the_path_is_counted_from_the_mount() -> None:
    path = WebhookPath("/change-me?key=s3cret")
    for place, address, is_right in (
        ("/webhooks", "/webhooks/change-me?key=s3cret", True),
        ("/webhooks", "/webhooks/change-me/?key=s3cret", True),
        ("/webhooks", "/webhooks/change-me?key=other", False),
        ("/webhooks", "/webhooks/x/change-me?key=s3cret", False),
        # A server or a proxy that names a prefix, which the request's path has or has not any more.
        ("/api/webhooks", "/api/webhooks/change-me?key=s3cret", True),
        ("/api/webhooks", "/other/change-me?key=s3cret", False),
    ):
        assert path.matches(_scope(address, place)) is is_right, (place, address)
    assert path.matches(_scope("/webhooks/change-me?key=s3cret", "/api/webhooks", app_root_path="/api"))


@pytest.mark.anyio
@pytest.mark.parametrize("prefix", ["", "/api"])
async def test_the_path_matches_below_a_starlette_mount(prefix: str) -> None:
    path = WebhookPath("/change-me")
    seen: list[bool] = []

    async def receiver(scope: Any, receive: Any, send: Any) -> None:
        seen.append(path.matches(scope))

    app = Starlette(routes=[Mount("/webhooks", receiver)])
    for sent in ("/webhooks/change-me", "/webhooks/change-me/", f"{prefix}/webhooks/change-me", "/webhooks/other"):
        await app(_scope(sent, prefix, method="POST", headers=[]), _nothing, _nothing)
    assert seen == [True, True, True, False]


async def _nothing(*_: Any) -> Any:
    raise AssertionError("there is nothing to read or to send")


@pytest.mark.parametrize("configured", ["hook", "", "/a/../b", "/.", "/%2e%2e/b", "/a\nb", "/\udcff", "/%ff"])
def test_a_path_at_which_no_call_could_arrive_is_refused(configured: str) -> None:
    with pytest.raises(ValueError, match="path"):
        WebhookPath(configured)


def test_a_path_for_the_log_shows_no_value_of_its_query() -> None:
    assert WebhookPath("/hook?key=s3cret&s4cret").mask_query == "/hook?key=***&***"
    assert show_path("/a\n\x1b[2J\u03ba") == "/a%0A%1B%5B2J%CE%BA"
    assert show_path("/" + "x" * 1000) == "/" + "x" * 199 + "..."
