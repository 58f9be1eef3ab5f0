"""Dialing: the addresses that have passed the guard are the ones that are dialled, and the fastest one wins."""

import asyncio
import errno
import socket
import ssl
import threading
from collections.abc import Sequence

import pytest

from kalathi.marketplace.webhooks.answer import SENTENCES, SendError
from kalathi.marketplace.webhooks.guard import ForbiddenAddressError, is_public
from kalathi.marketplace.webhooks.http1.dialing import Dialer, alternate, connect_first, explain_failure
from kalathi.marketplace.webhooks.names import Address, PooledNames

pytestmark = pytest.mark.anyio


def _v4(host: str, port: int = 443) -> Address:
    return Address(socket.AF_INET, (host, port))


def _v6(host: str, port: int = 443) -> Address:
    return Address(socket.AF_INET6, (host, port, 0, 0))


class ChangingNames:
    """A name server that answers something else each time."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)

    async def resolve(self, host: str, port: int) -> Sequence[Address]:
        return [_v4(address, port) for address in self.answers.pop(0)]

    async def close(self) -> None:
        """Nothing to close."""


async def test_only_checked_addresses_are_dialled_and_one_forbidden_stops_all() -> None:
    seconds = 0.0
    names = ChangingNames(["8.8.8.8"], ["127.0.0.1"], ["8.8.8.8", "10.0.0.1"])
    dialer = Dialer(names, is_public, clock=lambda: seconds)
    assert [address.host for address in await dialer.addresses("shop.example", 443)] == ["8.8.8.8"]
    seconds = 9.9
    assert [address.host for address in await dialer.addresses("shop.example", 443)] == ["8.8.8.8"]
    for _ in range(2):
        seconds += 10
        with pytest.raises(ForbiddenAddressError):
            await dialer.addresses("shop.example", 443)
    assert names.answers == []


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "10.0.0.1"])
async def test_a_literal_address_is_checked_without_a_lookup(host: str) -> None:
    with pytest.raises(ForbiddenAddressError):
        await Dialer(ChangingNames(), is_public).addresses(host, 80)
    assert [address.host for address in await Dialer(ChangingNames(), None).addresses(host, 80)] == [host]


def test_ipv4_and_ipv6_alternate_from_the_resolvers_first_address() -> None:
    six, four = [_v6("::1"), _v6("::2")], [_v4("1.1.1.1"), _v4("2.2.2.2"), _v4("3.3.3.3")]
    assert alternate([*six, *four]) == [six[0], four[0], six[1], four[1], four[2]]
    assert alternate([*four, *six]) == [four[0], six[0], four[1], six[1], four[2]]


class Hosts:
    """Addresses that connect, refuse, or never answer."""

    def __init__(self, **outcomes: object) -> None:
        self.outcomes = outcomes
        self.asked: list[str] = []
        self.opened: list[socket.socket] = []

    async def connect(self, address: Address) -> socket.socket:
        self.asked.append(address.host)
        outcome = self.outcomes[address.host]
        if isinstance(outcome, OSError):
            raise outcome
        if isinstance(outcome, asyncio.Event):
            await outcome.wait()
        self.opened.append(socket.socket())
        return self.opened[-1]


async def test_a_silent_address_delays_the_next_by_a_quarter_second() -> None:
    hosts = Hosts(six=asyncio.Event(), four="open")
    started = asyncio.get_running_loop().time()
    opened = await connect_first([_v6("six"), _v4("four")], hosts.connect)
    assert 0.2 < asyncio.get_running_loop().time() - started < 5
    assert hosts.opened == [opened]
    opened.close()


async def test_a_failed_address_is_followed_at_once_and_the_best_error_raised() -> None:
    unreachable, refused = OSError(errno.ENETUNREACH, "no network"), ConnectionRefusedError()
    hosts = Hosts(six=unreachable, four="open")
    (await connect_first([_v6("six"), _v4("four")], hosts.connect)).close()
    for order in ([_v6("six"), _v4("four")], [_v4("four"), _v6("six")]):
        with pytest.raises(ConnectionRefusedError):
            await connect_first(order, Hosts(six=unreachable, four=refused).connect)
    with pytest.raises(OSError, match="no network"):
        await connect_first([_v6("six")], hosts.connect)


async def test_of_two_simultaneous_connections_one_stays_open() -> None:
    both = asyncio.Event()
    hosts = Hosts(six=both, four=both)
    connecting = asyncio.create_task(connect_first([_v6("six"), _v4("four")], hosts.connect))
    while len(hosts.asked) < 2:
        await asyncio.sleep(0.01)
    both.set()
    opened = await connecting
    await asyncio.sleep(0)  # Let the other task begin.
    assert [other.fileno() == -1 for other in hosts.opened if other is not opened] == [True] * (len(hosts.opened) - 1)
    opened.close()


async def test_silent_name_servers_do_not_delay_other_names() -> None:
    answers, asked = threading.Event(), []

    def look_up(host: str, port: int) -> list[Address]:
        asked.append(host)
        if host.startswith("silent"):
            answers.wait(30)
        return [_v4("8.8.8.8", port)]

    names = PooledNames(look_up)
    waiting = [asyncio.create_task(names.resolve(f"silent{number % 20}.example", 443)) for number in range(200)]
    try:
        async with asyncio.timeout(10):
            assert (await names.resolve("shop.example", 443))[0].host == "8.8.8.8"
            for task in waiting[:100]:
                task.cancel()
            await asyncio.gather(*waiting[:100], return_exceptions=True)
            assert sorted(asked) == sorted([*(f"silent{number}.example" for number in range(20)), "shop.example"])
            answers.set()
            assert {found[0].host for found in await asyncio.gather(*waiting[100:])} == {"8.8.8.8"}
            await names.resolve("silent0.example", 443)
        assert asked.count("silent0.example") == 2, "an answer is asked for again the next time"
    finally:
        answers.set()
        await names.close()


def _refused_certificate(code: int) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError()
    error.verify_code = code
    return error


def _tls_error(reason: str) -> ssl.SSLError:
    error = ssl.SSLError()
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (ForbiddenAddressError(), SendError.FORBIDDEN_ADDRESS),
        (_refused_certificate(62), SendError.CERTIFICATE_NAME),
        (_refused_certificate(10), SendError.CERTIFICATE_EXPIRED),
        (_refused_certificate(18), SendError.CERTIFICATE),
        (_tls_error("WRONG_VERSION_NUMBER"), SendError.NOT_TLS),
        (_tls_error("TLSV1_ALERT_PROTOCOL_VERSION"), SendError.TLS_VERSION),
        (_tls_error("SOMETHING_NEW"), SendError.TLS),
        (socket.gaierror(socket.EAI_NONAME, "x"), SendError.NO_SUCH_NAME),
        (socket.gaierror(socket.EAI_AGAIN, "x"), SendError.NAME_SERVER),
        (ConnectionRefusedError(), SendError.REFUSED),
        (ConnectionResetError(), SendError.RESET),
        (BrokenPipeError(), SendError.RESET),
        (TimeoutError(), SendError.CONNECT_TIMEOUT),
        (OSError(errno.EHOSTUNREACH, "x"), SendError.UNREACHABLE),
    ],
)
def test_each_connection_failure_has_its_own_error(error: OSError, word: SendError) -> None:
    assert explain_failure(error) is word


def test_every_send_error_has_an_explanation() -> None:
    assert set(SENTENCES) == set(SendError)
    assert all(SENTENCES[word] for word in SendError if word)
