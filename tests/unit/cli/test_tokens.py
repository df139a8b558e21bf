"""`farm token`: what is printed where, and the first token without a gateway."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from farm.gateway.config import Address
from tests.hostile.conftest import FARM_TOKEN
from tests.postgres import PostgresServer
from tests.running import LOOPBACK, eventually, running_gateway
from tests.unit.cli.conftest import Command
from tests.unit.client.running_farm import RunningFarm, running_farm

EVERYWHERE = Address("0.0.0.0", 0)


@pytest.fixture
def guarded(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> Iterator[RunningFarm]:
    """A farm with FARM_TOKEN, which the command has too."""
    with running_farm(tmp_path / "farm", FARM_TOKEN) as farm:
        monkeypatch.setenv("FARM_ADDRESS", farm.address)
        monkeypatch.setenv("FARM_TOKEN", FARM_TOKEN)
        yield farm


def test_the_token_alone_is_on_stdout(guarded: RunningFarm, command: Command) -> None:
    made = command("token", "create", "Ann", "--scope", "render", "--expires", "90d")

    (text,) = made.lines
    assert made.code == 0
    assert text.startswith("svdfarm_")
    assert text.rpartition("_")[2] not in made.err
    assert "scopes render, expires 20" in made.err
    shown = command("--token", text, "token", "show").out
    assert "(Ann), expires 20" in shown
    assert "tenant default, scopes render" in shown


def test_a_token_is_told_as_json(guarded: RunningFarm, command: Command) -> None:
    scopes = ("--scope", "render", "--scope", "operate")
    made = json.loads(command("token", "create", "Ann", *scopes, "--json").out)
    who = json.loads(command("token", "show", "--token", made["text"], "--json").out)

    assert made["scopes"] == who["scopes"] == ["operate", "render"]
    assert who["token"]["name"] == made["name"]
    assert "text" not in who["token"]


def test_a_revoked_token_is_listed_and_refused(guarded: RunningFarm, command: Command) -> None:
    text = command("token", "create", "Ann", "--scope", "render").out.strip()
    token_id = text.split("_")[1]

    revoked = command("token", "revoke", token_id, "nobody")
    listed = command("token", "list").out
    eventually(lambda: command("jobs", "--token", text).code == 1)
    refused = command("jobs", "--token", text).err

    assert revoked.lines == [f"tokens/{token_id} revoked"]
    assert revoked.code == 1
    assert "error: name is no token's name" in revoked.err
    assert f"{token_id}  Ann   revoked  default" in listed
    assert f"tokens/{token_id} (Ann) was revoked at" in refused
    assert json.loads(command("token", "list", "--json").lines[0])["revoke_time"]
    assert text.rpartition("_")[2] not in listed + refused


def test_a_whole_token_that_was_found_is_revoked(guarded: RunningFarm, command: Command) -> None:
    text = command("token", "create", "Ann", "--scope", "render").out.strip()
    assert command("token", "revoke", text).lines == [f"tokens/{text.split('_')[1]} revoked"]


def test_a_scope_that_is_none_is_told_with_those_that_are(
    guarded: RunningFarm, command: Command
) -> None:
    refused = command("token", "create", "Ann", "--scope", "root")
    assert refused.code == 1
    assert "scopes[0] is 'root'; allowed: render, operate, work, metrics" in refused.err
    assert "--scope" in command("token", "create", "Ann").err
    assert (
        "--expires is '1y'"
        in command("token", "create", "Ann", "--scope", "render", "--expires", "1y").err
    )


def test_a_farm_without_tokens_says_so(on_farm: Command) -> None:
    assert on_farm("token", "list").err == "this farm has no tokens\n"
    assert "no token of the farm's table; tenant default" in on_farm("token", "show").out
    refused = on_farm("token", "create", "Ann", "--scope", "render")
    assert "first token of a farm has to have scope operate" in refused.err


def test_a_first_token_made_offline_lets_a_farm_start_for_other_machines(
    command: Command, cwd: Path
) -> None:
    offline = ("token", "create", "root", "--scope", "operate", "--offline", "--data", "data")
    made = command(*offline)
    assert made.code == 0
    assert f"a new farm was made in {(cwd / 'data').resolve()}" in made.err
    again = command(*offline)
    assert "new farm" not in again.err

    addresses = {"address": EVERYWHERE, "worker_address": LOOPBACK}
    with running_gateway(cwd / "data", plaintext=True, **addresses) as gateway:  # type: ignore[arg-type]
        address = f"127.0.0.1:{gateway.address.port}"
        shown = command("--address", address, "--token", made.out.strip(), "token", "show")
        assert "(root), expires never" in shown.out
        assert "ask it, without --offline" in command(*offline).err


def test_offline_too_the_first_token_keeps_operators_in(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    offline = ("token", "create", "Ann", "--scope", "render", "--offline", "--data", "data")
    assert "has to have scope operate" in command(*offline).err
    assert (
        "scopes[0] is 'root'"
        in command(*offline, "--scope", "root").err
        + command("token", "create", "Ann", "--scope", "root", "--offline", "--data", "data").err
    )
    monkeypatch.setenv("FARM_TOKEN", FARM_TOKEN)  # of a client: no gateway is known to have it
    assert "has to have scope operate" in command(*offline).err


def test_a_token_made_offline_is_known_at_once_to_gateways_on_postgresql(
    command: Command, postgres: PostgresServer, cwd: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        postgres.database() as url,
        running_gateway(cwd / "data", database=url, token=FARM_TOKEN) as gateway,
    ):
        plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
        monkeypatch.setenv("FARM_DATABASE", plain)
        made = command("token", "create", "root", "--scope", "operate", "--offline")
        assert made.code == 0
        show = ("--address", str(gateway.address), "--token", made.out.strip(), "token", "show")
        eventually(lambda: command(*show).code == 0, timeout_s=4)


def test_a_data_folder_without_offline_is_a_mistake(on_farm: Command) -> None:
    refused = on_farm("token", "create", "Ann", "--scope", "render", "--data", "x")
    assert "--data and --database are for --offline" in refused.err
