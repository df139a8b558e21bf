"""Tenants by the SDK."""

from __future__ import annotations

import dataclasses
import uuid
from typing import Any

import pytest

from svdfarm import AsyncClient, Client, NotFound, Rejected, TenantLimits
from tests.unit.client.running_farm import RunningFarm


@pytest.fixture
def name() -> str:
    return f"t-{uuid.uuid4()}"


def test_a_tenant_is_made_changed_and_shown(client: Client, name: str) -> None:
    made = client.create_tenant(name, display_name="Acme", limits={"max_streams": 4})
    assert (made.name, made.display_name, made.weight) == (f"tenants/{name}", "Acme", 1.0)
    assert made.limits == TenantLimits(max_streams=4)
    limits = {"max_streams": None, "max_queued_shots": 5, "max_gpu_seconds_per_day": 0.5}
    changed = client.update_tenant(name, weight=2, limits=limits)
    expected = TenantLimits(max_queued_shots=5, max_gpu_seconds_per_day=0.5)
    assert changed == dataclasses.replace(made, weight=2.0, limits=expected)
    assert client.tenant(made.name) == changed
    assert changed in list(client.tenants())
    with pytest.raises(Rejected) as caught:
        client.create_tenant(name)
    assert caught.value.reason == "TENANT_EXISTS"
    with pytest.raises(NotFound):
        client.tenant("nobody")


async def test_a_tenant_is_made_from_asyncio_too(farm: RunningFarm, name: str) -> None:
    async with AsyncClient(farm.address) as client:
        made = await client.create_tenant(name)
        changed = await client.update_tenant(name, display_name="A")
        assert await client.tenant(name) == changed == dataclasses.replace(made, display_name="A")
        assert changed in [tenant async for tenant in client.tenants()]


@pytest.mark.parametrize(
    "given",
    [
        {"weight": float("nan")},
        {"weight": "2"},
        {"weight": True},
        {"weight": 10**400},
        {"weight": 0.0},
        {"limits": {"max_streams": 1.5}},
        {"limits": {"max_streams": True}},
        {"limits": {"max_streams": -1}},
        {"limits": {"max_stored_bytes": 2**63}},
        {"limits": {"max_gpu_seconds_per_day": float("inf")}},
        {"limits": {"max_gpu_seconds_per_day": "1"}},
        {"limits": {"max_gpu_seconds_per_day": -1}},
        {"limits": {"max_everything": 1}},
        {"limits": {3: 1}},
        {"limits": [("max_streams", 1)]},
        {"limits": None},
        {"display_name": 5},
        {"display_name": "\ud800"},
        {"display_name": "x" * 129},
    ],
)
def test_a_wrong_value_is_rejected(client: Client, name: str, given: dict[str, Any]) -> None:
    with pytest.raises(Rejected, match="allowed"):
        client.create_tenant(name, **given)
    client.create_tenant(name)
    with pytest.raises(Rejected, match="allowed"):
        client.update_tenant(name, **given)


@pytest.mark.parametrize("name", ["", "tenants/", "A", None, 5, "\ud800", b"a"])
def test_a_wrong_name_is_rejected(client: Client, name: Any) -> None:
    for ask in (client.create_tenant, client.tenant):
        with pytest.raises(Rejected, match="allowed"):
            ask(name)
    with pytest.raises(Rejected, match="allowed"):
        client.update_tenant(name, weight=1.0)


def test_a_change_of_nothing_is_rejected(client: Client, name: str) -> None:
    with pytest.raises(Rejected, match=r"nothing of tenants/.* is to be changed"):
        client.update_tenant(name)
