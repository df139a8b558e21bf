"""What workers show their gateway, and what of ours they are not to know."""

from __future__ import annotations

from pathlib import Path

import pytest

from farm.cluster.credential import TokenRefused, check_token
from farm.cluster.local import prepare_environment
from farm.jobs.access import Scope
from farm.settings import NOT_FOR_WORKERS, Settings
from tests.hostile.conftest import FARM_TOKEN, WORKER_TOKEN, keep_token
from tests.running import eventually, free_port, running_gateway


def test_a_token_that_lets_no_worker_in_is_told_before_anything_starts(tmp_path: Path) -> None:
    with running_gateway(tmp_path / "data", token=FARM_TOKEN, worker_token=WORKER_TOKEN) as gateway:
        address = str(gateway.address)
        of_users = keep_token(gateway._store.database, Scope.RENDER, Scope.OPERATE)
        for token in (FARM_TOKEN, WORKER_TOKEN):
            check_token(address, token)
        for token, words in (
            (None, "wants a token"),
            ("another-token-of-nobody", "does not know the token"),
        ):
            with pytest.raises(TokenRefused, match=f"{words}.*FARM_WORKER_TOKEN"):
                check_token(address, token)
        eventually(lambda: gateway._keyring.token(of_users.split("_")[1]))
        with pytest.raises(TokenRefused, match="with scope work") as refused:
            check_token(address, of_users)
        assert of_users.rpartition("_")[2] not in str(refused.value)


def test_a_gateway_that_is_away_may_still_come() -> None:
    check_token(f"127.0.0.1:{free_port()}", None)


def test_workers_show_their_own_token_before_the_farms(tmp_path: Path) -> None:
    def shown(flag: str | None = None, **environ: str) -> str | None:
        return Settings.load(environ, tmp_path).worker_token(flag)

    assert shown() is None
    assert shown(FARM_TOKEN="farm") == "farm"
    assert shown(FARM_TOKEN="farm", FARM_WORKER_TOKEN="worker") == "worker"
    assert shown("flag", FARM_TOKEN="farm", FARM_WORKER_TOKEN="worker") == "flag"


def test_a_ray_of_our_own_wants_a_secret_that_is_new_at_every_start() -> None:
    first: dict[str, str] = {}
    second: dict[str, str] = {}
    for environ in (first, second):
        prepare_environment(environ, own_ray=True)

    assert first["RAY_AUTH_MODE"] == "token"
    assert len(first["RAY_AUTH_TOKEN"]) == 64
    assert first["RAY_AUTH_TOKEN"] != second["RAY_AUTH_TOKEN"]


@pytest.mark.parametrize(
    "given",
    [
        {"RAY_AUTH_MODE": "disabled", "RAY_AUTH_TOKEN": "mine"},
        {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": "/a/file"},
    ],
)
def test_what_a_user_set_for_ray_stays(given: dict[str, str]) -> None:
    environ = dict(given)
    prepare_environment(environ, own_ray=True)
    assert {k: v for k, v in environ.items() if k.startswith("RAY_AUTH")} == given


def test_a_ray_that_is_there_already_has_its_own_way() -> None:
    environ: dict[str, str] = {}
    prepare_environment(environ, own_ray=False)
    assert not [name for name in environ if name.startswith("RAY_AUTH")]


def test_no_secret_of_a_gateway_is_left_for_workers() -> None:
    environ = dict.fromkeys([*NOT_FOR_WORKERS, "HF_TOKEN", "FARM_WORKER_TOKEN"], "a secret")
    prepare_environment(environ, own_ray=True)
    assert {name for name, value in environ.items() if value == "a secret"} == {
        "HF_TOKEN",
        "FARM_WORKER_TOKEN",
    }
