"""Standard Webhooks signatures: the specification's own vector, secrets that change, and what is refused."""

import pytest

from kalathi.contract.signatures import (
    NotSignedError,
    SignatureError,
    SignatureTimeError,
    secret_text,
    sign_headers,
    verify,
)

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = secret_text(b"x" * 32)
BODY = b'{"test": 2432232314}'
MESSAGE, STAMP = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_specifications_own_vector_is_signed_and_verified() -> None:
    headers = sign_headers([SECRET], MESSAGE, STAMP, BODY)
    assert headers == {"webhook-id": MESSAGE, "webhook-timestamp": str(STAMP), "webhook-signature": SIGNATURE}
    assert verify([SECRET], headers, BODY, STAMP) == MESSAGE


def test_two_active_secrets_both_sign_and_either_one_verifies() -> None:
    headers = sign_headers([OTHER, SECRET], MESSAGE, STAMP, BODY)
    assert headers["webhook-signature"].split(" ")[1] == SIGNATURE
    for known in ([SECRET], [OTHER], [OTHER, SECRET]):
        assert verify(known, headers, BODY, STAMP) == MESSAGE


@pytest.mark.parametrize(
    "different",
    [
        {"webhook-id": "msg_other"},
        {"webhook-timestamp": str(STAMP + 1)},
        {"webhook-timestamp": "soon"},
        {"webhook-signature": SIGNATURE.replace("v1", "v2")},
        {"webhook-signature": SIGNATURE[:-4]},
        {"webhook-signature": ""},
    ],
)
def test_altered_headers_are_refused(different: dict[str, str]) -> None:
    headers = sign_headers([SECRET], MESSAGE, STAMP, BODY) | different
    with pytest.raises(SignatureError):
        verify([SECRET], headers, BODY, STAMP)


def test_another_body_another_secret_no_header_and_an_old_message_are_refused() -> None:
    headers = sign_headers([SECRET], MESSAGE, STAMP, BODY)
    for secrets, given, body, now in (
        ([SECRET], headers, BODY + b" ", STAMP),
        ([OTHER], headers, BODY, STAMP),
        ([SECRET], {}, BODY, STAMP),
        ([SECRET], headers, BODY, STAMP + 301),
        ([SECRET], headers, BODY, STAMP - 301),
    ):
        with pytest.raises(SignatureError):
            verify(secrets, given, body, now)


@pytest.mark.parametrize("ahead_seconds", [301, -301, 7200])
def test_a_valid_signature_of_another_time_names_the_clock_difference(ahead_seconds: int) -> None:
    headers = sign_headers([SECRET], MESSAGE, STAMP, BODY)
    with pytest.raises(SignatureTimeError) as caught:
        verify([OTHER, SECRET], headers, BODY, STAMP + ahead_seconds)
    assert caught.value.ahead_seconds == ahead_seconds


def test_an_invalid_signature_names_no_clock_difference() -> None:
    headers = sign_headers([OTHER], MESSAGE, STAMP, BODY)
    with pytest.raises(SignatureError) as caught:
        verify([SECRET], headers, BODY, STAMP + 7200)
    assert type(caught.value) is SignatureError


def test_a_missing_header_raises_not_signed_error() -> None:
    headers = sign_headers([SECRET], MESSAGE, STAMP, BODY)
    for name in headers:
        with pytest.raises(NotSignedError):
            verify([SECRET], {other: value for other, value in headers.items() if other != name}, BODY, STAMP)


def test_no_secret_means_no_headers_and_an_invalid_one_is_refused() -> None:
    assert sign_headers([], MESSAGE, STAMP, BODY) == {}
    with pytest.raises(ValueError, match="whsec_"):
        sign_headers(["whsec_*"], MESSAGE, STAMP, BODY)
