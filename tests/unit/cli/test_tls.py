"""`farm` at a farm with TLS, and what its verbs are told about it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from farm.cli.exits import CommandFailed
from farm.cli.own_tls import environment, gateway_arguments, own_tls
from farm.gateway.server import Gateway
from farm.gateway.tls_files import TlsFiles
from farm.settings import Settings
from svdfarm import Client
from svdfarm.tls import Tls
from tests.certificates import Authority
from tests.running import running_gateway
from tests.unit.cli.conftest import Command


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def secure(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    files = authority.issue().files
    with running_gateway(tmp_path_factory.mktemp("secure"), tls=files) as gateway:
        yield gateway


def test_the_ca_is_a_flag_a_variable_or_in_farm_toml(
    secure: Gateway, authority: Authority, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"grpcs://{secure.address}"
    refused = command("jobs", "--address", address)
    assert refused.code == 1
    assert "is not trusted" in refused.err
    assert command("--tls-ca", authority.cert, "jobs", "--address", address).code == 0
    Path("farm.toml").write_text(f'address = "{address}"\ntls_ca = "{authority.cert}"\n')
    assert command("jobs").code == 0
    Path("farm.toml").unlink()
    monkeypatch.setenv("FARM_TLS_CA", str(authority.cert))
    assert command("jobs", "--address", address).code == 0


def test_plaintext_at_a_farm_with_tls_ends_with_1_and_the_right_address(
    secure: Gateway, command: Command
) -> None:
    ended = command("jobs", "--address", str(secure.address))
    assert ended.code == 1
    assert f"dial grpcs://{secure.address}" in ended.err
    assert "farm up" not in ended.err


def test_a_token_goes_to_another_machine_only_with_plaintext(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FARM_TOKEN", "a-token-of-this-test")
    arguments = ("jobs", "--address", "nobody.invalid:1", "--connect-timeout", "0")
    assert "the token is not sent" in command(*arguments).err
    assert "no farm answers" in command("--plaintext", *arguments).err
    monkeypatch.setenv("FARM_PLAINTEXT", "true")
    assert "no farm answers" in command(*arguments).err
    assert "the token is not sent" in command("--no-plaintext", *arguments).err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--tls-cert", "a.crt"], "--tls-key is missing"),
        (["--tls-cert", "a.crt", "--tls-key", "a.key"], "a.crt cannot be read"),
        (["--address", "0.0.0.0:1", "--worker-address", "0.0.0.0:2"], "--tls-cert and --tls-key"),
    ],
)
def test_a_gateway_that_cannot_be_secured_says_why(
    arguments: list[str], told: str, cwd: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FARM_TOKEN", "a-token-of-this-test")
    ended = program("gateway", "--data", "data", *arguments)
    assert ended.returncode == 1
    assert told in ended.stderr


def program(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A verb that configures the logs of its whole process."""
    command = [sys.executable, "-m", "farm", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_a_gateway_with_tls_says_where_it_is(authority: Authority, cwd: Path) -> None:
    pair = authority.issue(name="own")
    arguments = ["--address", "127.0.0.1:0", "--http", "127.0.0.1:0", "--data", "data"]
    arguments += ["--tls-cert", str(pair.cert), "--tls-key", str(pair.key), "--stop-on-eof"]
    gateway = subprocess.Popen(
        [sys.executable, "-m", "farm", "gateway", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert gateway.stdin is not None
    assert gateway.stdout is not None
    with gateway:
        ready = next(line for line in gateway.stdout if line.startswith("ready "))
        address = ready.split()[1]
        assert address.startswith("grpcs://127.0.0.1:")
        with Client(address, tls_ca=authority.cert) as client:
            assert list(client.jobs()) == []
        gateway.stdin.close()
        assert gateway.wait(30) == 0


def test_a_worker_is_told_what_is_wrong_before_ray_starts(
    cwd: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = program("worker", "--gateway", "grpcs://farm.example:1", "--tls-ca", "missing.pem")
    assert ended.returncode == 1
    assert "missing.pem cannot be read" in ended.stderr
    monkeypatch.setenv("FARM_TOKEN", "a-token-of-this-test")
    ended = program("worker", "--gateway", "farm.example:1")
    assert ended.returncode == 1
    assert "the token is not sent" in ended.stderr


def test_own_workers_trust_the_farms_certificate_whatever_hosts_it_is_for(
    authority: Authority, tmp_path: Path, cwd: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = authority.issue("*.farm.example", name="wild")
    found = own_tls(pair.files, None)
    for name, value in environment(found).items():
        if value:
            monkeypatch.setenv(name, value)
    with running_gateway(tmp_path / "data", tls=pair.files) as gateway:
        address = f"grpcs://{gateway.address}"
        tls = Settings.load().tls_for(address)
        assert tls is not None
        given = {"tls_ca": tls.ca, "tls_server_name": tls.server_name}
        with Client(address, **given) as client:  # type: ignore[arg-type]
            assert list(client.workers()) == []


def test_own_workers_take_what_is_given(authority: Authority) -> None:
    given = Tls(authority.cert, "w.crt", "w.key", "farm.example")
    assert own_tls(authority.issue(name="own").files, given) == given
    assert own_tls(None, given) is None


def test_own_workers_need_a_certificate_where_callers_do(authority: Authority) -> None:
    pair = authority.issue(name="own")
    files = TlsFiles(pair.cert, pair.key, authority.cert)
    assert gateway_arguments(files)[-2:] == ["--tls-client-ca", str(authority.cert)]
    with pytest.raises(CommandFailed, match="FARM_TLS_CLIENT_CERT and FARM_TLS_CLIENT_KEY"):
        own_tls(files, None)


def test_a_broken_certificate_stops_up(authority: Authority) -> None:
    pair = authority.issue(name="own")
    pair.key.write_text("no PEM\n")
    with pytest.raises(CommandFailed, match=r"own\.key holds no private key"):
        own_tls(pair.files, None)
