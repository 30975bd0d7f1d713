"""Signatures of deliveries, with the vectors that Standard Webhooks and GitHub publish."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cadre_gateway.domain.connectors import DeliveryRefused
from cadre_gateway.domain.webhooks import (
    BadWebhookSecret,
    WebhookSecret,
    new_webhook_secret,
    verified_delivery,
)

SECRET = WebhookSecret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
BODY = b'{"test": 2432232314}'
NOW = 1614265330.0
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
HEADERS = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": "1614265330",
    "webhook-signature": SIGNATURE,
}
GITHUB = WebhookSecret("It's a Secret to Everybody")
GITHUB_HEADERS = {
    "x-hub-signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
    "x-github-delivery": "72d3162e-cc78-11e3-81ab-4c9367dc0958",
}


def test_the_published_vector_of_standard_webhooks_is_genuine() -> None:
    assert verified_delivery([SECRET], HEADERS, BODY, now=NOW) == "msg_p5jXN8AQM9LWM0D4loKWxJek"


@pytest.mark.parametrize(
    "signatures", [f"v1,AAAA {SIGNATURE}", f"v1a,zzz {SIGNATURE} v2,x", f"{SIGNATURE} v1,"]
)
def test_one_right_signature_of_several_is_enough(signatures: str) -> None:
    headers = {**HEADERS, "webhook-signature": signatures}

    assert verified_delivery([SECRET], headers, BODY, now=NOW)


@pytest.mark.parametrize("seconds", [-300, 300])
def test_a_clock_may_be_five_minutes_off(seconds: int) -> None:
    assert verified_delivery([SECRET], HEADERS, BODY, now=NOW + seconds)


@pytest.mark.parametrize(
    "wrong",
    [
        {"webhook-signature": SIGNATURE.replace("1OE=", "1OA=")},
        {"webhook-signature": SIGNATURE.removeprefix("v1,")},
        {"webhook-signature": "v1a," + SIGNATURE.removeprefix("v1,")},
        {"webhook-signature": ""},
        {"webhook-signature": "v1,\xff"},
        {"webhook-id": "msg_other"},
        {"webhook-id": "msg.p5"},
        {"webhook-id": ""},
        {"webhook-timestamp": "1614265331"},
        {"webhook-timestamp": "1614265330.0"},
        {"webhook-timestamp": "-1614265330"},
        {"webhook-timestamp": "١٦١٤٢٦٥٣٣٠"},
        {"webhook-timestamp": "9" * 400},
        {"webhook-timestamp": ""},
    ],
)
def test_a_changed_header_is_refused(wrong: Mapping[str, str]) -> None:
    with pytest.raises(DeliveryRefused):
        verified_delivery([SECRET], {**HEADERS, **wrong}, BODY, now=NOW)


@pytest.mark.parametrize("seconds", [-301, 301])
def test_a_stale_delivery_is_refused(seconds: int) -> None:
    with pytest.raises(DeliveryRefused):
        verified_delivery([SECRET], HEADERS, BODY, now=NOW + seconds)


def test_a_changed_body_is_refused() -> None:
    with pytest.raises(DeliveryRefused):
        verified_delivery([SECRET], HEADERS, b'{"test":2432232314}', now=NOW)


def test_githubs_published_vector_is_genuine() -> None:
    delivery = verified_delivery([GITHUB], GITHUB_HEADERS, b"Hello, World!", now=0)

    assert delivery == GITHUB_HEADERS["x-github-delivery"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"x-hub-signature-256": GITHUB_HEADERS["x-hub-signature-256"].upper()},
        {"x-hub-signature-256": ""},
        {"x-github-delivery": ""},
        {"x-github-delivery": "x" * 129},
        {"x-github-delivery": "a\nb"},
    ],
)
def test_a_delivery_like_githubs_with_a_changed_header_is_refused(wrong: Mapping[str, str]) -> None:
    with pytest.raises(DeliveryRefused):
        verified_delivery([GITHUB], {**GITHUB_HEADERS, **wrong}, b"Hello, World!", now=0)


@pytest.mark.parametrize("text", ["", "whsec_", "whsec_AAAA", "whsec_" + "A" * 200, "whsec_!!!!"])
def test_a_secret_that_cannot_sign_is_refused(text: str) -> None:
    with pytest.raises(BadWebhookSecret):
        WebhookSecret(text)


def test_a_secret_may_lack_its_padding() -> None:
    padded = new_webhook_secret()

    assert padded.endswith("=")
    WebhookSecret(padded.rstrip("="))


@given(
    st.dictionaries(
        st.sampled_from(sorted({*HEADERS, *GITHUB_HEADERS})), st.text(max_size=50), max_size=5
    ),
    st.binary(max_size=50),
)
def test_rubbish_is_refused_and_nothing_else(headers: dict[str, str], body: bytes) -> None:
    with pytest.raises(DeliveryRefused):
        verified_delivery([SECRET], headers, body, now=NOW)
