"""A client and a farm that do not fit, and the words in which each side says so."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from farm.gateway.server import Gateway
from farm.gateway.tls_files import TlsFiles
from svdfarm import AsyncClient, Client, Rejected, TlsFailed, Unreachable
from tests.certificates import YESTERDAY, Authority, Pair
from tests.running import free_port, running_gateway

TOKEN = "a-token-of-this-test"
PROMPT_S = 10.0  # a client tries a farm that is away for 20 s


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def secure(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway with TLS and a token."""
    folder = tmp_path_factory.mktemp("secure")
    with running_gateway(folder, tls=authority.issue().files, token=TOKEN) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def mutual(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway that asks its callers for a certificate."""
    pair = authority.issue(name="mutual")
    files = TlsFiles(pair.cert, pair.key, authority.cert)
    with running_gateway(tmp_path_factory.mktemp("mutual"), tls=files) as gateway:
        yield gateway


def _jobs(address: str, **settings: object) -> list[object]:
    with Client(address, **settings) as client:  # type: ignore[arg-type]
        return list(client.jobs())


def test_a_client_that_trusts_the_ca_is_let_in(secure: Gateway, authority: Authority) -> None:
    address = f"grpcs://{secure.address}"
    assert _jobs(address, token=TOKEN, tls_ca=authority.cert) == []
    assert _jobs(address, token=TOKEN, tls_ca=authority.cert.read_bytes()) == []


async def test_so_is_one_on_an_event_loop(secure: Gateway, authority: Authority) -> None:
    client = AsyncClient(f"grpcs://{secure.address}", TOKEN, tls_ca=str(authority.cert))
    async with client:
        assert [job async for job in client.jobs()] == []


def test_the_farms_own_certificate_will_do_as_its_ca(tmp_path: Path) -> None:
    pair = Authority(tmp_path / "pki").issue()
    with running_gateway(tmp_path / "data", tls=pair.files) as gateway:
        assert _jobs(f"grpcs://{gateway.address}", tls_ca=pair.cert) == []


@contextmanager
def refused(words: str) -> Iterator[None]:
    started = time.monotonic()
    with pytest.raises(TlsFailed, match=words):
        yield
    assert time.monotonic() - started < PROMPT_S


def test_an_untrusted_certificate_is_told_at_once(secure: Gateway, tmp_path: Path) -> None:
    with refused(r"is not trusted .*tls_ca or FARM_TLS_CA"):
        _jobs(f"grpcs://{secure.address}")
    with refused("is not trusted"):
        _jobs(f"grpcs://{secure.address}", tls_ca=Authority(tmp_path / "other").cert)


async def test_it_is_told_on_an_event_loop_too(secure: Gateway) -> None:
    async with AsyncClient(f"grpcs://{secure.address}") as client:
        with refused("is not trusted"):
            [job async for job in client.jobs()]


def test_a_certificate_for_other_hosts_is_told(authority: Authority, tmp_path: Path) -> None:
    pair = authority.issue("farm.example", name="elsewhere")
    with running_gateway(tmp_path / "data", tls=pair.files) as gateway:
        address = f"grpcs://{gateway.address}"
        with refused(r"is not for 127\.0\.0\.1.*FARM_TLS_SERVER_NAME"):
            _jobs(address, tls_ca=authority.cert)
        named = "farm.example"
        assert _jobs(address, tls_ca=authority.cert, tls_server_name=named) == []
        with refused(r"is not for other\.example"):
            _jobs(address, tls_ca=authority.cert, tls_server_name="other.example")
        with refused(r"is not for 127\.0\.0\.1"):
            _jobs(address, tls_ca=pair.cert)


def test_a_certificate_that_expired_while_the_farm_ran_is_told(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from farm.gateway import tls_files

    pair = authority.issue(name="old", not_after=YESTERDAY)
    # The start refuses it; what a farm holds may expire afterwards.
    monkeypatch.setattr(tls_files, "_tried", lambda *_: {"notAfter": "yesterday"})
    with running_gateway(tmp_path / "data", tls=pair.files) as gateway, refused("expired.*renew"):
        _jobs(f"grpcs://{gateway.address}", tls_ca=authority.cert)


def test_plaintext_at_a_farm_with_tls_is_told(secure: Gateway) -> None:
    with refused(f"speaks TLS: dial grpcs://{secure.address}"):
        _jobs(str(secure.address), token=TOKEN)


def test_tls_at_a_farm_without_it_is_told(gateway: Gateway, authority: Authority) -> None:
    with refused(f"speaks no TLS: dial {gateway.address}"):
        _jobs(f"grpcs://{gateway.address}", tls_ca=authority.cert)


def test_tls_at_the_http_port_is_told(secure: Gateway, authority: Authority) -> None:
    with refused("no gRPC.*HTTP port"):
        _jobs(f"grpcs://{secure.http}", tls_ca=authority.cert)


def test_a_farm_that_asks_for_a_certificate_lets_in_who_shows_one(
    mutual: Gateway, authority: Authority
) -> None:
    mine = authority.issue("me", name="client")
    address = f"grpcs://{mutual.address}"
    assert _jobs(address, tls_ca=authority.cert, tls_cert=mine.cert, tls_key=mine.key) == []


def test_who_shows_none_or_anothers_is_told(
    mutual: Gateway, authority: Authority, tmp_path: Path
) -> None:
    address = f"grpcs://{mutual.address}"
    with refused("wants a client certificate.*FARM_TLS_CLIENT_CERT"):
        _jobs(address, tls_ca=authority.cert)
    others = Authority(tmp_path / "other").issue("me", name="client")
    with refused("wants another client certificate"):
        _jobs(address, tls_ca=authority.cert, tls_cert=others.cert, tls_key=others.key)


def test_a_farm_that_is_away_is_still_only_away(authority: Authority) -> None:
    with pytest.raises(Unreachable, match=r"no farm answers at grpcs://127\.0\.0\.1"):
        _jobs(f"grpcs://127.0.0.1:{free_port()}", tls_ca=authority.cert, connect_timeout_s=0.1)


def test_a_farm_that_comes_up_with_tls_while_a_client_waits_is_told(
    authority: Authority, tmp_path: Path
) -> None:
    """The first tries find nobody; what they found says nothing about who comes."""
    from farm.gateway.config import Address

    address = Address("127.0.0.1", free_port())
    waiting, ended = threading.Event(), threading.Event()
    told: list[BaseException] = []

    def ask() -> None:
        try:
            _jobs(str(address), on_waiting=lambda *_: waiting.set())
        except TlsFailed as error:
            told.append(error)
        ended.set()

    threading.Thread(target=ask).start()
    assert waiting.wait(10)
    with running_gateway(tmp_path, address=address, tls=authority.issue(name="late").files):
        assert ended.wait(20)
    assert "speaks TLS" in str(told)


@pytest.mark.parametrize("address", ["farm.example:50051", "grpc://10.0.0.1:50051", "[2001::1]:1"])
def test_a_token_is_not_sent_in_plaintext_to_another_machine(address: str) -> None:
    with pytest.raises(Rejected, match=r"the token is not sent .*grpcs://.*FARM_PLAINTEXT"):
        Client(address, TOKEN)
    Client(address, TOKEN, plaintext=True).close()
    Client(address).close()


@pytest.mark.parametrize("address", ["localhost:1", "127.0.0.2:1", "[::1]:1", "unix:/run/farm"])
def test_on_this_machine_it_is(address: str) -> None:
    Client(address, TOKEN).close()


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Authority(tmp_path / "mine").issue("me", name="client")


def test_a_file_that_cannot_be_used_is_named(pair: Pair, tmp_path: Path) -> None:
    missing, garbled = tmp_path / "missing.pem", tmp_path / "garbled.pem"
    garbled.write_text("no PEM\n")
    other = Authority(tmp_path / "other").issue("me")
    for settings, told in (
        ({"tls_ca": missing}, r"tls_ca .*missing\.pem cannot be read: no such file"),
        ({"tls_ca": garbled}, r"tls_ca .*garbled\.pem holds no certificate"),
        ({"tls_ca": b"no PEM"}, "the tls_ca given holds no certificate"),
        ({"tls_cert": pair.cert}, "tls_key is missing"),
        ({"tls_key": pair.key}, "tls_cert is missing"),
        ({"tls_cert": pair.cert, "tls_key": missing}, r"tls_key .*missing\.pem cannot be read"),
        ({"tls_cert": pair.cert, "tls_key": other.key}, "do not belong together"),
        ({"tls_cert": garbled, "tls_key": pair.key}, "are no certificate and key in PEM"),
    ):
        with pytest.raises(Rejected, match=told):
            Client("grpcs://farm.example:1", **settings)  # type: ignore[arg-type]


def test_files_of_tls_at_an_address_without_it_are_refused(authority: Authority) -> None:
    with pytest.raises(Rejected, match=r"write grpcs://127\.0\.0\.1:1, or leave the files out"):
        Client("127.0.0.1:1", tls_ca=authority.cert)


@pytest.mark.parametrize("address", ["https://farm:1", "grpcs://", "grpcs://farm", "grpcs://a/b:1"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(Rejected, match=r"allowed: HOST:PORT, .*grpcs://HOST:PORT"):
        Client(address)


def test_several_hosts_need_one_name() -> None:
    with pytest.raises(Rejected, match="give the farm's gateways one name"):
        Client("gw-1:50051,gw-2:50051")


def test_addresses_without_a_name_are_checked_by_the_name_that_is_given(
    secure: Gateway, authority: Authority
) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    address = f"grpcs://ipv4:{nobody},{secure.address}"
    known = {"token": TOKEN, "tls_ca": authority.cert}
    assert _jobs(address, tls_server_name="localhost", **known) == []
    with pytest.raises(Unreachable):
        _jobs(address, tls_server_name="another.example", connect_timeout_s=1.0, **known)


def test_a_silent_port_is_away_and_holds_nobody_up_for_long() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        started = time.monotonic()
        with pytest.raises(Unreachable):
            _jobs(address, connect_timeout_s=0)
        assert time.monotonic() - started < PROMPT_S
