"""`Request-Id` on every answer, by which a caller's report and the request log find each other."""

from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kalathi.contract.words import BASE_PATH


def with_request_ids(asgi: ASGIApp, make_id: Callable[[], bytes]) -> ASGIApp:
    """Return the application with a `Request-Id` on each answer. The merchants' front adds its own. A browser's
    preflight (OPTIONS) is answered before that front."""

    async def front(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or (scope["path"].startswith(BASE_PATH) and scope["method"] != "OPTIONS"):
            await asgi(scope, receive, send)
            return
        request_id = make_id()

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                # A path with two slashes (`//merchants/...`) reaches the merchants' front too, which adds the id.
                if not any(name == b"request-id" for name, _ in headers):
                    message = {**message, "headers": [*headers, (b"request-id", request_id)]}
            await send(message)

        await asgi(scope, receive, send_with_id)

    return front
