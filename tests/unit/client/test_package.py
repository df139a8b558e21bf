"""What `import svdfarm` brings, and what it must not."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import svdfarm
from svdfarm import errors


def test_importing_the_client_loads_nothing_of_the_farm() -> None:
    unwanted = ("torch", "ray", "farm", "PIL", "yaml", "rich", "typer", "numpy", "sqlalchemy")
    script = f"import sys, svdfarm; print([m for m in {unwanted!r} if m in sys.modules])"

    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)

    assert ended.stdout.strip() == b"[]"


def test_the_public_names_are_exactly_these_errors_and_values() -> None:
    tree = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.SvdfarmError)
    }

    assert tree < set(svdfarm.__all__)
    assert svdfarm.__all__ == sorted(svdfarm.__all__)
    assert set(svdfarm.__all__) - tree == {
        "AsyncClient",
        "AsyncFinishedVideo",
        "AsyncJobHandle",
        "Attempt",
        "Client",
        "Delivery",
        "DeliveryState",
        "Estimate",
        "Failure",
        "FinishedVideo",
        "Identity",
        "Job",
        "JobHandle",
        "JobState",
        "LogLine",
        "Model",
        "NewShot",
        "NewToken",
        "Progress",
        "Pruned",
        "RenderParams",
        "Scope",
        "Shot",
        "ShotState",
        "Tenant",
        "TenantLimits",
        "TenantUsage",
        "Token",
        "Video",
        "Violation",
        "Worker",
        "WorkerState",
    }


@pytest.mark.parametrize(
    ("kind", "async_kind"),
    [
        (svdfarm.Client, svdfarm.AsyncClient),
        (svdfarm.JobHandle, svdfarm.AsyncJobHandle),
        (svdfarm.FinishedVideo, svdfarm.AsyncFinishedVideo),
    ],
)
def test_both_clients_have_the_same_methods_with_the_same_parameters(
    kind: type, async_kind: type
) -> None:
    def methods(of: type) -> dict[str, list[inspect.Parameter]]:
        return {
            name: list(inspect.signature(method).parameters.values())
            for name, method in vars(of).items()
            if not name.startswith("_")
        }

    assert methods(kind) == methods(async_kind)


def test_both_clients_are_made_in_the_same_way() -> None:
    assert inspect.signature(svdfarm.Client) == inspect.signature(svdfarm.AsyncClient)


def test_the_tree_at_the_top_of_the_errors_is_the_real_one() -> None:
    lines = (errors.__doc__ or "").splitlines()
    drawn = [word for line in lines for word in line.replace("│", " ").split()[1:2] if "─" in line]

    def names(kind: type[errors.SvdfarmError]) -> list[str]:
        return [name for sub in kind.__subclasses__() for name in [sub.__name__, *names(sub)]]

    assert drawn == names(errors.SvdfarmError)


@pytest.mark.parametrize(
    "address",
    [
        "http://farm:50051",
        "farm",
        "farm:",
        ":50051",
        "farm:0",
        "farm:70000",
        "farm:\u0665\u0660",
        "a/b:1",
        "",
    ],
)
def test_an_address_that_is_none_is_refused_before_any_call(address: str) -> None:
    with pytest.raises(svdfarm.Rejected, match="HOST:PORT"):
        svdfarm.Client(address)


@pytest.mark.parametrize("token", ["secret\n", "secret ", "sécret", "sec\x00ret"])
def test_a_token_that_cannot_be_sent_is_refused_and_not_shown(token: str) -> None:
    with pytest.raises(svdfarm.Rejected) as caught:
        svdfarm.Client(token=token)

    assert token.strip() not in str(caught.value)
