"""What the chart renders is what Kubernetes, KubeRay and Ray take."""

from __future__ import annotations

import copy
from pathlib import Path

from deploy.check import schemas
from deploy.check.chart import (
    NAMESPACE,
    Object,
    containers,
    lint,
    named,
    objects,
    render,
)
from deploy.check.lifting import lift_pods
from deploy.check.manifests import manifest_file
from deploy.check.manifests import rendered as rendered_manifest
from farm.settings import KEYS

_BUILTIN = {
    "apps/v1",
    "autoscaling/v2",
    "batch/v1",
    "networking.k8s.io/v1",
    "policy/v1",
    "v1",
}


def test_helm_finds_nothing_to_complain_of(profile: str) -> None:
    assert lint(profile) == ""


def test_objects_of_built_in_kinds_are_valid(rendered: list[Object], tmp_path: Path) -> None:
    builtin = [found for found in rendered if not schemas.is_custom(found)]

    assert len(builtin) > 5
    assert schemas.builtin_mistakes(builtin, tmp_path) == ""


def test_objects_of_custom_kinds_are_valid(
    rendered: list[Object], crds: schemas.Validators
) -> None:
    custom = [
        found
        for found in rendered
        if schemas.is_custom(found) and not found["apiVersion"].startswith(schemas.WITHOUT_SCHEMA)
    ]

    assert custom
    assert [m for found in custom for m in schemas.custom_mistakes(found, crds)] == []


def test_pods_within_ray_objects_are_valid(ray_service: Object, tmp_path: Path) -> None:
    pods = lift_pods(ray_service)

    assert len(pods) > 1
    assert schemas.builtin_mistakes(pods, tmp_path) == ""


def test_an_unknown_field_of_a_pod_is_found(ray_service: Object, tmp_path: Path) -> None:
    pod = lift_pods(ray_service)[0]
    pod["spec"]["nodeSelektor"] = {}

    assert "nodeSelektor" in schemas.builtin_mistakes([pod], tmp_path)


def test_an_unknown_field_of_a_custom_kind_is_found(
    ray_service: Object, crds: schemas.Validators
) -> None:
    cluster = copy.deepcopy(ray_service)
    cluster["spec"]["rayClusterConfig"]["headGroupSpec"]["serviceTyp"] = "ClusterIP"

    assert "serviceTyp" in str(schemas.custom_mistakes(cluster, crds))


def test_only_kinds_that_every_cluster_knows_are_rendered(rendered: list[Object]) -> None:
    of = {found["apiVersion"] for found in rendered}

    assert of <= _BUILTIN | {"ray.io/v1", "monitoring.coreos.com/v1", "cert-manager.io/v1"}
    assert {found["metadata"]["namespace"] for found in rendered} == {NAMESPACE}
    assert len({named(found) for found in rendered}) == len(rendered)


def test_manifests_are_what_the_chart_renders(profile: str) -> None:
    assert manifest_file(profile).read_text() == rendered_manifest(profile), "run make manifests"


def test_rendering_twice_gives_the_same(profile: str) -> None:
    assert render(profile) == render(profile)


def test_the_page_has_a_port_and_knows_its_own_address() -> None:
    ingress = {"enabled": True, "host": "farm.example.com", "tls": {"existingSecret": "page"}}
    values = {
        "web": {"ingress": ingress, "trustedProxies": ["10.0.0.0/8", "::1"]},
        "networkPolicy": {"clients": [{"podSelector": {}}]},
    }
    found = {named(each): each for each in objects(render("single-gpu", values))}
    way_in = found["Ingress/farm-svdfarm-web"]["spec"]
    backend = way_in["rules"][0]["http"]["paths"][0]["backend"]["service"]
    service = found[f"Service/{backend['name']}"]["spec"]
    (gateway,) = containers(found["StatefulSet/farm-svdfarm-gateway"])
    given = {variable["name"]: variable.get("value") for variable in gateway["env"]}

    assert way_in["tls"] == [{"hosts": ["farm.example.com"], "secretName": "page"}]
    assert backend["port"]["name"] in {port["name"] for port in service["ports"]}
    assert given["FARM_PUBLIC_URL"] == "https://farm.example.com"
    assert given["FARM_TRUSTED_PROXIES"] == "10.0.0.0/8,::1"
    assert "Ingress" not in {each["kind"] for each in objects(render("single-gpu"))}


def test_the_farm_reads_every_variable_that_is_set_for_it(rendered: list[Object]) -> None:
    known = {f"FARM_{key.upper()}" for key in KEYS}
    given = {
        variable["name"]
        for found in rendered
        for container in containers(found)
        for variable in container.get("env", [])
    }

    assert {name for name in given if name.startswith("FARM_")} <= known


def test_a_pod_is_what_a_service_and_a_policy_select(rendered: list[Object]) -> None:
    templates = [
        found["spec"]["template"] for found in rendered if "template" in found.get("spec", {})
    ]
    (ray,) = [found for found in rendered if found["kind"] == "RayService"]
    pods = [*templates, *lift_pods(ray), *(found for found in rendered if found["kind"] == "Pod")]
    labels = [pod["metadata"]["labels"] for pod in pods]
    selectors = [
        found["spec"]["selector"].get("matchLabels", found["spec"]["selector"])
        for found in rendered
        if found["kind"] in ("Service", "PodDisruptionBudget", "StatefulSet", "Deployment")
    ]

    assert len(selectors) >= 3
    for selector in selectors:
        assert any(selector.items() <= of.items() for of in labels), selector
