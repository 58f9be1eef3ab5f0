"""Probes read the shop's own system, because some faults appear in no webhook and in no call: two orders in the shop,
stock that was not given back, VAT that was added twice (docs/checkup.md#the-probe)."""

import asyncio
from collections.abc import Sequence
from typing import Final, Protocol
from urllib.parse import urlencode

import msgspec
import niquests

from kalathi.checkup.evidence import ProbeAnswer
from kalathi.marketplace.kernel.targets import mask_url
from kalathi.system.command_lines import split_command

_SECONDS: Final = 15.0
_SHOWN_CHARACTERS: Final = 300


class ProbeError(Exception):
    """The probe does not answer, or its answer cannot be read. The text names the reason and the correction."""


class Probe(Protocol):
    """Reads one order and the pieces of products in the shop's own system."""

    async def ask(self, code: str, uids: Sequence[str]) -> ProbeAnswer:
        """Return the answer about the order with this code, and about these products. Without a code, only the
        products are wanted. Raises ProbeError."""
        ...

    async def close(self) -> None:
        """Close connections."""
        ...


def read_answer(content: bytes | str, what: str) -> ProbeAnswer:
    """Read a probe's JSON. Unknown members are ignored, and an empty list is an empty `stock`, as PHP writes it. Raises
    ProbeError."""
    try:
        decoded = msgspec.json.decode(content)
        if isinstance(decoded, dict) and decoded.get("stock") in ([], None):
            decoded.pop("stock", None)
        return msgspec.convert(decoded, ProbeAnswer, strict=False)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        text = content if isinstance(content, str) else content.decode("utf-8", "replace")
        raise ProbeError(
            f'{what} must answer with JSON such as {{"orders": 1, "state": "accepted", "total": 20.8, "stock": {{"A": 3'
            f"}}}} ({error}). It answered: {text.strip()[:_SHOWN_CHARACTERS] or 'nothing'}"
        ) from None


class UrlProbe:
    """A URL that answers `GET URL?order=CODE&sku=A&sku=B`."""

    def __init__(self, url: str) -> None:
        self._url = url
        # Its query may have a key.
        self._shown = mask_url(url).partition("?")[0]
        self._session = niquests.AsyncSession(disable_http3=True)
        self._session.trust_env = False  # Otherwise the library reads `.netrc` and proxies of the environment.

    async def ask(self, code: str, uids: Sequence[str]) -> ProbeAnswer:
        """Return the answer of the URL."""
        query = urlencode([*([("order", code)] if code else []), *(("sku", uid) for uid in uids)])
        url = f"{self._url}{'&' if '?' in self._url else '?'}{query}" if query else self._url
        try:
            answer = await self._session.get(url, timeout=_SECONDS)
        except niquests.RequestException as error:
            raise ProbeError(f"--probe {self._shown} does not answer ({type(error).__name__}).") from None
        if answer.status_code != 200:
            raise ProbeError(f"--probe {self._shown} answered with {answer.status_code} instead of 200.")
        return read_answer(answer.content or b"", f"--probe {self._shown}")

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()


class CommandProbe:
    """A command that gets the code as its first argument (empty if only products are wanted) and the uids after it, and
    prints JSON."""

    def __init__(self, command: str) -> None:
        try:
            self._words = split_command(command)
        except ValueError as error:
            raise ProbeError(f"--probe command: the command cannot be read: {error}.") from None
        if not self._words:
            raise ProbeError("--probe command: names no command.")

    async def ask(self, code: str, uids: Sequence[str]) -> ProbeAnswer:
        """Run the command, and return its answer."""
        try:
            process = await asyncio.create_subprocess_exec(
                *self._words, code, *uids, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
            )
        except OSError as error:
            raise ProbeError(f"--probe command: {self._words[0]} cannot be started: {error.strerror}.") from None
        try:
            output, errors = await asyncio.wait_for(process.communicate(), _SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()
            raise ProbeError(f"--probe command: {self._words[0]} took longer than {_SECONDS:g} s.") from None
        if process.returncode:
            text = errors.decode("utf-8", "replace").strip()[:_SHOWN_CHARACTERS]
            raise ProbeError(f"--probe command: {self._words[0]} ended with status {process.returncode}: {text}")
        return read_answer(output, f"--probe command: {self._words[0]}")

    async def close(self) -> None:
        """Nothing is open."""
