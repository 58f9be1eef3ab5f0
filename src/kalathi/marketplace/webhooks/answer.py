"""The outcome of a delivery attempt, and a sentence for the owner of the endpoint."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, NamedTuple

NO_HEADERS: Final[Mapping[str, str]] = {}


class SendError(StrEnum):
    """The reason why an attempt has no status, or failed in spite of one. `SENTENCES` explains each."""

    NONE = ""
    NO_URL = "no_url"
    # No event that opens this subject has reached the present URL (docs/contract.md#section-8).
    SILENCED = "silenced"
    INVALID_URL = "invalid_url"
    # There is no connection.
    NO_SUCH_NAME = "no_such_name"
    NAME_SERVER = "name_server"
    FORBIDDEN_ADDRESS = "forbidden_address"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    CONNECT_TIMEOUT = "connect_timeout"
    PROXY = "proxy"
    # There is a connection, but no TLS.
    CERTIFICATE = "certificate"
    CERTIFICATE_NAME = "certificate_name"
    CERTIFICATE_EXPIRED = "certificate_expired"
    TLS_VERSION = "tls_version"
    NOT_TLS = "not_tls"
    TLS = "tls"
    # The request went out.
    TIMEOUT = "timeout"
    RESET = "reset"
    TLS_EXPECTED = "tls_expected"
    UNREADABLE_ANSWER = "unreadable_answer"
    TOO_MANY_REDIRECTS = "too_many_redirects"
    UNFORESEEN = "unforeseen"
    # Earlier versions recorded every failure of a connection with this word.
    CONNECTION = "connection"
    # Faults of a sandbox: no request was sent, or the answer was discarded.
    INJECTED_STATUS = "injected_status"
    INJECTED_DROP = "injected_drop"
    INJECTED_TIMEOUT = "injected_timeout"
    HELD_BACK = "held_back"
    # The stream of a listener ended before it answered, so the attempt does not count.
    LISTENER_GONE = "listener_gone"


SENTENCES: Final[Mapping[str, str]] = {
    SendError.NONE: "",
    SendError.NO_URL: "The shop has no webhook URL, or its switch is off",
    SendError.SILENCED: "The current URL has not received the first event of this return yet",
    SendError.INVALID_URL: "The URL, or the target of a redirect, is not valid",
    SendError.NO_SUCH_NAME: "The host of the URL has no address: check its spelling, or the DNS entry",
    SendError.NAME_SERVER: "The name server of the host did not answer",
    SendError.FORBIDDEN_ADDRESS: "The address is private; webhooks go to public ones only",
    SendError.REFUSED: "The connection was refused: no program listens on this port, or a firewall refuses it",
    SendError.UNREACHABLE: "The host cannot be reached",
    SendError.CONNECT_TIMEOUT: "No connection in time: the host, a firewall or the name server stays silent",
    SendError.PROXY: "The marketplace's own proxy did not connect to the address",
    SendError.CERTIFICATE: "The certificate is not trusted: self-signed, or its chain is incomplete",
    SendError.CERTIFICATE_NAME: "The certificate is for another host name",
    SendError.CERTIFICATE_EXPIRED: "The certificate has expired, or is not valid yet",
    SendError.TLS_VERSION: "The server offers no TLS version that is secure today: enable TLS 1.2 or 1.3",
    SendError.NOT_TLS: "The port speaks plain HTTP: write http:// in the URL, or use the port of TLS",
    SendError.TLS: "The TLS handshake with the server failed",
    SendError.TIMEOUT: "No answer within the time limit: answer first, and do the work afterwards",
    SendError.RESET: "The server closed the connection without an answer",
    SendError.TLS_EXPECTED: "The port speaks TLS: write https:// in the URL",
    SendError.UNREADABLE_ANSWER: "The answer is not HTTP/1.1",
    SendError.TOO_MANY_REDIRECTS: "Too many redirects",
    SendError.UNFORESEEN: "An unforeseen error; the log has the details",
    SendError.CONNECTION: "No connection",
    SendError.INJECTED_STATUS: "A fault of the sandbox: an error status",
    SendError.INJECTED_DROP: "A fault of the sandbox: the delivery was dropped",
    SendError.INJECTED_TIMEOUT: "A fault of the sandbox: a timeout",
    SendError.HELD_BACK: "A fault of the sandbox: the delivery was delayed",
    SendError.LISTENER_GONE: "The listener has disconnected",
}


def explanation_of(error: str | None) -> str:
    """Return the sentence for an error word of the log. A word that only another version knows is returned
    unchanged."""
    return SENTENCES.get(error or "", error or "")


class Answer(NamedTuple):
    """The outcome of an attempt: the last URL, its status, the beginning of its body, and the real time in
    milliseconds."""

    url: str
    status: int | None
    error: SendError
    body: bytes
    duration_millis: int
    # The pause before a delayed event is tried again.
    hold_seconds: float = 0.0
    # The pause that `Retry-After` asks for.
    retry_after_seconds: float = 0.0

    @property
    def delivered(self) -> bool:
        """Success is exactly 200 (docs/contract.md#section-4)."""
        return self.status == 200 and self.error is SendError.NONE
