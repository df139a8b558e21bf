"""Tenants over the wire."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from farm.gateway.server import Gateway
from svdfarm.v1 import tenant_service_pb2 as pb
from svdfarm.v1 import tenant_service_pb2_grpc as pb_grpc
from tests.unit.gateway.conftest import Caller, reason


@pytest.fixture
def service(gateway: Gateway) -> Iterator[pb_grpc.TenantServiceStub]:
    with grpc.insecure_channel(str(gateway.address)) as channel:
        yield pb_grpc.TenantServiceStub(channel)


def create(service: pb_grpc.TenantServiceStub, name: str, **given: object) -> pb.Tenant:
    tenant = pb.Tenant(name=name, **given)  # type: ignore[arg-type]
    return service.CreateTenant(pb.CreateTenantRequest(tenant=tenant))


def update(service: pb_grpc.TenantServiceStub, *paths: str, **given: object) -> pb.Tenant:
    tenant = pb.Tenant(name="tenants/acme", **given)  # type: ignore[arg-type]
    mask = FieldMask(paths=paths)
    return service.UpdateTenant(pb.UpdateTenantRequest(tenant=tenant, update_mask=mask))


def test_a_tenant_is_made_changed_and_shown(service: pb_grpc.TenantServiceStub) -> None:
    limits = pb.TenantLimits(max_streams=0, max_gpu_seconds_per_day=1.5)
    made = create(service, "tenants/acme", display_name="Acme", weight=2.0, limits=limits)
    assert (made.name, made.display_name, made.weight) == ("tenants/acme", "Acme", 2.0)
    assert made.limits == limits
    assert made.HasField("create_time")
    changed = update(
        service, "limits.max_streams", "limits.max_stored_bytes", limits={"max_stored_bytes": 7}
    )
    assert changed.limits == pb.TenantLimits(max_stored_bytes=7, max_gpu_seconds_per_day=1.5)
    assert (changed.display_name, changed.weight) == ("Acme", 2.0)
    changed = update(service, "limits", "weight", "display_name")
    assert (changed.limits, changed.weight, changed.display_name) == (pb.TenantLimits(), 1.0, "")
    assert service.GetTenant(pb.GetTenantRequest(name="tenants/acme")) == changed
    with pytest.raises(grpc.RpcError) as caught:
        create(service, "tenants/acme")
    assert reason(caught.value) == "TENANT_EXISTS"


def test_tenants_come_in_pages_with_what_they_have_taken(
    service: pb_grpc.TenantServiceStub, caller: Caller
) -> None:
    for name in ("zeta", "acme"):
        create(service, f"tenants/{name}")
    caller.create(caller.shot(), caller.shot(seed=8))
    first = service.ListTenants(pb.ListTenantsRequest(page_size=2))
    assert [tenant.name for tenant in first.tenants] == ["tenants/acme", "tenants/default"]
    used = first.tenants[1].usage
    assert (used.queued_shots, used.gpu_seconds_today) == (2, 0.0)
    assert used.stored_bytes > 1000  # its image
    last = service.ListTenants(pb.ListTenantsRequest(page_size=2, page_token=first.next_page_token))
    assert [tenant.name for tenant in last.tenants] == ["tenants/zeta"]
    assert last.next_page_token == ""


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"name": ""}, "tenant.name is ''; allowed: tenants/ and 1 to 63 of a-z"),
        ({"name": "tenants/"}, "tenant.name is 'tenants/'"),
        ({"name": "acme"}, "tenant.name is 'acme'"),
        ({"weight": 0.0}, "tenant.weight is 0; allowed: from 0.001 to 1000"),
        ({"weight": float("nan")}, "tenant.weight is nan"),
        ({"weight": 5e-324}, "tenant.weight is 4.94066e-324"),
        ({"limits": {"max_streams": -1}}, "tenant.limits.max_streams is -1"),
        (
            {"limits": {"max_gpu_seconds_per_day": float("inf")}},
            "tenant.limits.max_gpu_seconds_per_day is inf",
        ),
        ({"display_name": "x" * 129}, "tenant.display_name is too long"),
    ],
)
def test_a_wrong_value_is_told(
    service: pb_grpc.TenantServiceStub, given: dict[str, object], told: str
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        create(service, **{"name": "tenants/acme"} | given)  # type: ignore[arg-type]
    assert caught.value.details().startswith(told)
    assert reason(caught.value) == "INVALID_FIELD"


def test_an_update_names_what_it_changes(service: pb_grpc.TenantServiceStub) -> None:
    create(service, "tenants/acme")
    with pytest.raises(grpc.RpcError, match="update_mask is empty; allowed: display_name"):
        update(service)
    with pytest.raises(grpc.RpcError, match="update_mask has 'name'"):
        update(service, "name")
    with pytest.raises(grpc.RpcError, match=r"tenant.limits.max_streams is -1"):
        update(service, "limits.max_streams", limits={"max_streams": -1})
    with pytest.raises(grpc.RpcError, match="there is no tenant tenants/other"):
        service.GetTenant(pb.GetTenantRequest(name="tenants/other"))
