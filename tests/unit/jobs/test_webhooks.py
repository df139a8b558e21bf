"""Webhook rules as tables: URLs, addresses, signatures, attempts."""

from __future__ import annotations

import base64
import random
from datetime import UTC

import pytest

from farm.jobs.webhooks import (
    PAUSES_S,
    DeliveryState,
    Url,
    Verdict,
    WebhookInvalid,
    Webhooks,
    address_problem,
    iso_time,
    judge,
    read_url,
    sign,
)
from farm.wire import timestamp

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # of the specification's own example


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8",
        "93.184.216.34",
        "2606:2800:220:1:248:1893:25c8:1946",
        "64:ff9b::808:808",  # 8.8.8.8 as a network with IPv6 alone writes it
    ],
)
def test_a_public_address_may_be_told(address: str) -> None:
    assert address_problem(address) is None


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",  # shared by the customers of a carrier
        "127.0.0.1",
        "127.255.255.254",
        "169.254.169.254",  # the metadata of most clouds
        "172.16.0.1",
        "172.31.255.255",
        "192.0.2.1",
        "192.168.0.1",
        "198.18.0.1",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::7f00:1",
        "::ffff:10.0.0.1",
        "::ffff:8.8.8.8",
        "64:ff9b::7f00:1",  # 127.0.0.1
        "64:ff9b:1::1",
        "100::1",
        "2001:db8::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",  # Teredo
        "2002:7f00:1::1",  # 127.0.0.1 in 6to4
        "fc00::1",
        "fd12:3456::1",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
        "ff0e::1",
    ],
)
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    assert f"{address}, which is no public address" in str(address_problem(address))


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("https://example.com", Url(True, "example.com", 443, "/")),
        ("https://Example.com:8443/a%20b?c=d", Url(True, "example.com", 8443, "/a%20b?c=d")),
        ("https://example.com.?q", Url(True, "example.com.", 443, "/?q")),
        ("https://8.8.8.8/x", Url(True, "8.8.8.8", 443, "/x")),
    ],
)
def test_an_https_url_is_taken_apart(given: str, read: Url) -> None:
    assert read_url(given, private=False) == read


@pytest.mark.parametrize(
    ("given", "authority"),
    [
        ("http://localhost:80/x", "localhost"),
        ("http://localhost:8080/x", "localhost:8080"),
        ("https://localhost:80/x", "localhost:80"),
        ("https://[::1]:443/", "[::1]"),
        ("http://10.0.0.1", "10.0.0.1"),
    ],
)
def test_where_private_addresses_are_allowed_so_is_http(given: str, authority: str) -> None:
    assert read_url(given, private=True).authority == authority
    if given.startswith("http:"):
        with pytest.raises(WebhookInvalid, match="begins with http://; allowed: https://"):
            read_url(given, private=False)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("", "has a space or a letter that is not ASCII"),
        ("example.com", "is no https URL"),
        ("ftp://example.com", "is no https URL"),
        ("https://", "names no host"),
        ("https:///path", "names no host"),
        ("https://user@example.com", "has a user or password"),
        ("https://:secret@example.com", "has a user or password"),
        ("https://good.example\\@10.0.0.1/", "has a user or password"),
        ("https://exa\\mple.com/", "names no host"),
        ("https://example.com/#part", "has a #fragment"),
        ("https://example.com/#", "has a #fragment"),
        ("https://example.com/a b", "has a space"),
        ("https://example.com/\r\nHost:x", "has a space"),
        ("https://exämple.com", "not ASCII"),
        ("https://example.com:0", "has port 0"),
        ("https://example.com:70000", "is no URL: Port out of range"),
        ("https://example.com:x", "is no URL"),
        ("https://[::1", "is no URL"),
        ("https://[fe80::1%25eth0]/", "names no host"),
        ("https://" + "a" * 64 + ".com", "names no host"),
        ("https://a..com", "names no host"),
        ("https://example.com/" + "a" * 2048, "has 2068 characters; allowed: at most 2048"),
    ],
)
@pytest.mark.parametrize("private", [False, True])
def test_a_url_that_cannot_be_used_is_refused(given: str, told: str, private: bool) -> None:
    with pytest.raises(WebhookInvalid, match=told.replace("\\", "\\\\")):
        read_url(given, private=private)


@pytest.mark.parametrize("given", ["https://127.0.0.1/x", "https://[::1]/x", "https://10.0.0.1:1"])
def test_a_private_address_that_is_written_out_is_refused_at_once(given: str) -> None:
    with pytest.raises(WebhookInvalid, match=r"is no public address; .*--webhook-private"):
        read_url(given, private=False)


def test_the_signature_is_that_of_the_specifications_example() -> None:
    (key,) = Webhooks.read(SECRET, private=False).keys
    signature = sign([key], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_two_secrets_sign_both_and_none_is_none() -> None:
    other = "whsec_" + base64.b64encode(bytes(64)).decode()
    two = Webhooks.read(f"{other} {SECRET}", private=True)
    first, second = sign(two.keys, "msg_a", 1, b"").split(" ")
    assert [first, second] == [sign([key], "msg_a", 1, b"") for key in two.keys]
    assert first != second
    assert SECRET not in repr(two)
    assert Webhooks.read(None, private=False) == Webhooks.read("", private=False) == Webhooks()


@pytest.mark.parametrize(
    "secret",
    [
        "hunter2",
        SECRET.removeprefix("whsec_"),
        "whsec_",
        "whsec_!!!!",
        "whsec_" + base64.b64encode(bytes(23)).decode(),
        "whsec_" + base64.b64encode(bytes(65)).decode(),
        SECRET + " hunter2",
    ],
)
def test_a_secret_that_is_none_is_refused_and_not_told(secret: str) -> None:
    with pytest.raises(WebhookInvalid, match="is not whsec_ and 24 to 64 bytes") as refused:
        Webhooks.read(secret, private=False)
    assert "hunter2" not in str(refused.value)


PENDING, DELIVERED, GIVEN_UP = DeliveryState


@pytest.mark.parametrize(
    ("attempt_count", "status", "verdict"),
    [
        (1, 200, Verdict(DELIVERED)),
        (7, 299, Verdict(DELIVERED)),
        (1, 410, Verdict(GIVEN_UP)),
        (1, None, Verdict(PENDING, 5)),
        (1, 301, Verdict(PENDING, 5)),
        (1, 404, Verdict(PENDING, 5)),
        (2, 500, Verdict(PENDING, 30)),
        (6, 429, Verdict(PENDING, 6 * 3600)),
        (7, 500, Verdict(GIVEN_UP)),
        (7, None, Verdict(GIVEN_UP)),
        (8, None, Verdict(GIVEN_UP)),
    ],
)
def test_what_an_attempt_means(attempt_count: int, status: int | None, verdict: Verdict) -> None:
    assert judge(attempt_count, status) == verdict


def test_it_is_tried_for_seven_hours() -> None:
    assert 7 * 3600 < sum(PAUSES_S) < 8 * 3600


def test_times_are_those_that_the_api_tells() -> None:
    chance = random.Random(1)
    for time_s in (0.0, *(1.8e9 + chance.random() * 1e6 for _ in range(1000))):
        told = timestamp(time_s)
        assert told is not None
        assert told.ToDatetime(tzinfo=UTC).isoformat() == iso_time(time_s)
