"""Tenants on the command line."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from tests.unit.cli.conftest import Command

_numbers = itertools.count(1)


@pytest.fixture
def name(on_farm: Command) -> str:
    """A tenant of the farm that the tests share."""
    name = f"acme-{next(_numbers)}"
    assert on_farm("tenant", "create", name, "--max-queued", "500").code == 0
    return name


def shown(on_farm: Command, name: str) -> dict[str, Any]:
    (line,) = on_farm("tenant", "show", name, "--json").lines
    found: dict[str, Any] = json.loads(line)
    return found


def test_a_tenant_is_made_changed_listed_and_shown(on_farm: Command, name: str) -> None:
    changed = on_farm(
        "tenant", "set", name, "--weight", "2.5", "--max-stored", "50GiB", "--max-streams", "4"
    )
    assert changed.code == 0
    assert f"{name}, weight 2.5" in changed.lines[0]
    assert "shots that wait or render  0 of 500" in changed.out
    assert "images and videos          0 bytes of 50 GiB" in changed.out
    more = ("--gpu-hours-per-day", "1.5", "--max-requests", "0", "--display-name", "Acme")
    on_farm("tenant", "set", name, *more)
    told = shown(on_farm, name)
    assert (told["name"], told["display_name"], told["weight"]) == (f"tenants/{name}", "Acme", 2.5)
    assert told["limits"] == {
        "max_queued_shots": 500,
        "max_stored_bytes": 50 * 2**30,
        "max_streams": 4,
        "max_requests_per_minute": 0,
        "max_gpu_seconds_per_day": 5400.0,
    }
    assert any(line.split()[0] == name for line in on_farm("tenant", "list").lines)
    names = [json.loads(line)["name"] for line in on_farm("tenant", "list", "--json").lines]
    assert f"tenants/{name}" in names
    assert "tenants/default" in names


def test_none_lifts_a_limit(on_farm: Command, name: str) -> None:
    assert on_farm("tenant", "set", name, "--max-queued", "none").code == 0
    assert set(shown(on_farm, name)["limits"].values()) == {None}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["--weight", "0"], "weight is 0; allowed: from 0.001 to 1000"),
        (["--weight", "nan"], "weight is nan; allowed"),
        (["--weight", "1e-320"], "weight is 9.99989e-321; allowed"),
        (["--max-queued", "-1"], "--max-queued is '-1'; allowed: a whole number from 0, or none"),
        (["--max-queued", "9" * 30], "allowed: a whole number from 0 to 9223372036854775807"),
        (["--max-queued", "9" * 5000], "allowed: a whole number from 0, or none"),
        (["--max-stored", "9999999TiB"], "max_stored_bytes is 10995115178248372224; allowed"),
        (["--max-stored", "50"], "--max-stored is '50'; allowed: a number and B, KiB"),
        (["--gpu-hours-per-day", "inf"], "--gpu-hours-per-day is 'inf'; allowed: hours from 0"),
        (
            ["--gpu-hours-per-day", "1e300"],
            "is 3.6e+303; allowed: from 0 to 1000000000000, or none",
        ),
        ([], "nothing is to be changed; allowed: --display-name, --weight"),
    ],
)
def test_a_wrong_value_is_told(on_farm: Command, name: str, given: list[str], told: str) -> None:
    ended = on_farm("tenant", "set", name, *given)
    assert ended.code == 1
    assert told in ended.err


@pytest.mark.parametrize("name", ["", "Acme", "a/b", "tenants/"])
def test_a_name_that_none_can_have_is_told(on_farm: Command, name: str) -> None:
    ended = on_farm("tenant", "create", name)
    assert ended.code == 1
    assert "name is" in ended.err
    assert "allowed" in ended.err


def test_a_tenant_that_is_not_there_is_told(on_farm: Command) -> None:
    for verb in (["show", "nobody"], ["set", "nobody", "--weight", "2"]):
        ended = on_farm("tenant", *verb)
        assert ended.code == 1
        assert "there is no tenant tenants/nobody" in ended.err
