"""The page behind a reverse proxy that ends TLS and asks for it by another name."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from farm.gateway.config import ConfigInvalid, Limits, read_proxies, read_public_url
from tests.certificates import Authority
from tests.proxy import running_proxy
from tests.running import free_port, running_gateway

TOKEN = "a-token-of-sixteen"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "pki")


@pytest.fixture
def port() -> int:
    return free_port()


def _client(url: str, authority: Authority) -> httpx2.Client:
    trust = ssl.create_default_context(cafile=str(authority.cert))
    return httpx2.Client(base_url=url, verify=trust, timeout=20)


@pytest.fixture
def proxied(tmp_path: Path, authority: Authority, port: int) -> Iterator[httpx2.Client]:
    """A farm that knows where its page is."""
    with (
        running_gateway(
            tmp_path / "data", token=TOKEN, public_url=f"https://localhost:{port}"
        ) as gateway,
        running_proxy(port, gateway.http, authority) as url,
        _client(url, authority) as client,
    ):
        yield client


def test_the_page_works_behind_a_proxy_that_asks_by_another_name(proxied: httpx2.Client) -> None:
    own = {"origin": str(proxied.base_url).rstrip("/")}
    answer = proxied.post("/signin", data={"token": TOKEN}, headers=own)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert "secure" in answer.headers["set-cookie"].lower()
    assert proxied.get("/gallery").status_code == 200
    assert str(proxied.base_url).rstrip("/") + "/v1" in proxied.get("/docs").text
    with proxied.stream("GET", "/live/jobs") as stream:
        assert next(stream.iter_lines()).startswith("retry")


def test_other_origins_change_nothing_behind_a_proxy(proxied: httpx2.Client) -> None:
    port = proxied.base_url.port
    for origin in (
        f"http://localhost:{port}",
        f"https://localhost:{port}.evil.example",
        "https://evil.example",
        "https://localhost",
        "null",
    ):
        answer = proxied.post("/signin", data={"token": TOKEN}, headers={"origin": origin})
        assert answer.status_code == 403, origin
        assert f"https://localhost:{port}" in answer.text


def test_without_a_public_url_the_proxys_pages_are_those_of_another_site(
    tmp_path: Path, authority: Authority, port: int
) -> None:
    with (
        running_gateway(tmp_path / "data", token=TOKEN) as gateway,
        running_proxy(port, gateway.http, authority) as url,
        _client(url, authority) as client,
    ):
        answer = client.post("/signin", data={"token": TOKEN}, headers={"origin": url})
        assert answer.status_code == 403
        assert "--public-url" in answer.text


def test_the_public_name_is_a_host_of_the_farm_and_no_other(tmp_path: Path) -> None:
    with (
        running_gateway(tmp_path / "data", public_url="https://farm.example") as gateway,
        httpx2.Client(base_url=f"http://{gateway.http}") as http,
    ):
        for host, status in (
            ("farm.example", 200),
            ("FARM.example:443", 200),
            (str(gateway.http), 200),
            ("evil.example", 421),
            ("farm.example.evil.example", 421),
        ):
            assert http.get("/", headers={"host": host}).status_code == status, host
        # Straight to the farm: its own origin is as good as ever, and no TLS is pretended.
        own = {"origin": str(http.base_url).rstrip("/")}
        assert http.post("/signout", headers=own).status_code == 303
        answer = http.post("/signin", data={"token": "any-of-sixteen-x"}, headers=own)
        assert "secure" not in answer.headers["set-cookie"].lower()


@pytest.mark.parametrize(
    ("trusted", "statuses"),
    [((), {200, 429}), (("127.0.0.1",), {200}), (("10.0.0.0/8",), {200, 429})],
    ids=["nobody", "the proxy", "another"],
)
def test_callers_are_told_apart_by_what_a_trusted_proxy_says(
    tmp_path: Path,
    authority: Authority,
    port: int,
    trusted: tuple[str, ...],
    statuses: set[int],
) -> None:
    few = Limits(http_requests_per_s=0.001, http_burst=3)
    with (
        running_gateway(tmp_path / "data", trusted_proxies=trusted, limits=few) as gateway,
        httpx2.Client(base_url=f"http://{gateway.http}") as http,
    ):
        seen = {
            http.get("/docs", headers={"x-forwarded-for": f"198.51.100.{n}"}).status_code
            for n in range(6)
        }
        assert seen == statuses
        # What a caller makes up stands before what the proxy adds, and counts for nothing.
        spoofed = [
            http.get(
                "/docs", headers={"x-forwarded-for": f"203.0.113.{n}, 198.51.100.200"}
            ).status_code
            for n in range(6)
        ]
        assert 429 in spoofed


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("https://farm.example", "https://farm.example"),
        ("https://Farm.Example:443/", "https://farm.example"),
        ("http://10.1.2.3:8080", "http://10.1.2.3:8080"),
        ("https://[::1]:8443", "https://[::1]:8443"),
    ],
)
def test_a_public_url_is_read_as_browsers_write_origins(given: str, read: str) -> None:
    assert read_public_url(given) == read


@pytest.mark.parametrize(
    "given",
    [
        "farm.example",
        "ftp://farm.example",
        "https://farm.example/farm",
        "https://",
        "https://a@b.example",
        "https://farm.example:99999",
        "https://farm.example?x",
        "https://färm.example",
    ],
)
def test_what_is_no_origin_is_refused(given: str) -> None:
    with pytest.raises(ConfigInvalid, match="--public-url"):
        read_public_url(given)


def test_proxies_are_addresses_and_networks() -> None:
    assert read_proxies("127.0.0.1, 10.0.0.0/8,") == ("127.0.0.1", "10.0.0.0/8")
    with pytest.raises(ConfigInvalid, match=r"proxy\.example"):
        read_proxies("proxy.example")
