"""With TLS whoever dials the gateway trusts its CA; without it, that is said in so many words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from deploy.check.chart import Object, containers, objects, render

SECRET = "farm-tls"
TLS: Object = {"tls": {"enabled": True, "existingSecret": SECRET}}


def _variables(found: Object) -> dict[str, Any]:
    return {each["name"]: each.get("value") for each in found.get("env", [])}


def _dialling(rendered: list[Object]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each container that dials the gateway, and its variables."""
    for found in rendered:
        for container in containers(found):
            name = container.get("name", "")
            if name in ("ray-head", "ray-worker", "health", "render"):
                yield name, _variables(container)


def test_everybody_is_told_whom_to_trust_or_that_nothing_is_encrypted(
    rendered: list[Object],
) -> None:
    (gateway,) = [
        _variables(container)
        for found in rendered
        if found["kind"] in ("StatefulSet", "Deployment")
        for container in containers(found)
    ]
    secure = "FARM_TLS_CERT" in gateway
    callers = list(_dialling(rendered))

    assert {name for name, _ in callers} == {"ray-head", "ray-worker", "health", "render"}
    assert gateway.get("FARM_PLAINTEXT") == (None if secure else "true")
    for name, variables in callers:
        assert ("FARM_TLS_CA" in variables) is secure, name
        assert ("FARM_PLAINTEXT" in variables) is not secure, name
        address = variables.get("FARM_ADDRESS", "grpcs://" if secure else "")
        assert address.startswith("grpcs://") is secure, name


def test_only_the_gateway_has_the_key(rendered: list[Object]) -> None:
    for found in rendered:
        for volume in _volumes(found):
            if volume["name"] == "tls" and found["kind"] not in ("StatefulSet", "Deployment"):
                assert volume["secret"]["items"] == [{"key": "ca.crt", "path": "ca.crt"}]


def _volumes(found: Any) -> Iterator[Object]:
    if isinstance(found, dict):
        for key, value in found.items():
            if key == "volumes":
                yield from value
            else:
                yield from _volumes(value)
    elif isinstance(found, list):
        for item in found:
            yield from _volumes(item)


def test_no_probe_speaks_what_the_gateway_does_not() -> None:
    for values, scheme, grpc in ((TLS, "HTTPS", False), ({}, "HTTP", True)):
        (gateway,) = [f for f in objects(render("cpu-smoke", values)) if f["kind"] == "StatefulSet"]
        (container,) = containers(gateway)
        probes = [container[f"{kind}Probe"] for kind in ("startup", "readiness", "liveness")]
        assert ["grpc" in probe for probe in probes] == [False, grpc, False]
        assert {p["httpGet"]["scheme"] for p in probes if "httpGet" in p} == {scheme}


def test_prometheus_trusts_the_same_ca() -> None:
    rendered = objects(render("ha", TLS))
    (monitor,) = [
        found
        for found in rendered
        if found["kind"] == "PodMonitor" and found["metadata"]["name"].endswith("-gateway")
    ]
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]

    assert endpoint["scheme"] == "https"
    assert endpoint["tlsConfig"]["ca"]["secret"] == {"name": SECRET, "key": "ca.crt"}
    assert endpoint["tlsConfig"]["serverName"] == "farm-svdfarm-gateway.svdfarm.svc"


def test_the_certificate_is_for_every_name_that_is_dialled() -> None:
    values = {"tls": {"enabled": True, "certManager": {"issuer": "ca", "hosts": ["farm.example"]}}}
    rendered = objects(render("single-gpu", values))
    (certificate,) = [found for found in rendered if found["kind"] == "Certificate"]
    names = certificate["spec"]["dnsNames"]
    dialled = {
        address.removeprefix("grpcs://").rpartition(":")[0]
        for _, variables in _dialling(rendered)
        if (address := variables.get("FARM_ADDRESS"))
    }

    assert certificate["apiVersion"] == "cert-manager.io/v1"
    assert certificate["spec"]["issuerRef"] == {
        "group": "cert-manager.io",
        "kind": "Issuer",
        "name": "ca",
    }
    assert certificate["spec"]["secretName"] == "farm-svdfarm-tls"
    assert {*dialled, "farm-svdfarm-gateway-workers.svdfarm.svc"} <= set(names)
    assert {"localhost", "farm.example"} <= set(names)
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("own", [True, False])
def test_workers_have_a_token_of_their_own_or_the_farms(own: bool) -> None:
    values: Object = {"token": {"worker": {"existingSecret": "workers"}}} if own else {}
    for name, variables in _dialling(objects(render("single-gpu", values))):
        has = {key for key in variables if key.endswith("_TOKEN") and key.startswith("FARM_")}
        of_worker = own and name.startswith("ray-")
        assert has == {"FARM_WORKER_TOKEN" if of_worker else "FARM_TOKEN"}, name
