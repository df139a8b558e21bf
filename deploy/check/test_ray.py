"""What the chart tells Ray is what Ray, and the farm's workers, understand."""

from __future__ import annotations

import re
from typing import Any

import pydantic
import pytest
import yaml

from deploy.check.chart import CHART, Object
from deploy.check.tools import ROOT

ARGUMENTS = {
    "cpus",
    "drain_s",
    "engine",
    "forward_chunking",
    "gateway",
    "gpus",
    "group",
    "idle_s",
    "max_workers",
    "min_workers",
    "model",
    "model_offload",
}


def unknown(given: Any, model: type[pydantic.BaseModel]) -> list[str]:
    """The keys that Ray's schema does not have, which it would take and ignore."""
    return [key for key in given if key not in model.model_fields]


def test_serve_takes_its_configuration(ray_service: Object) -> None:
    from ray.serve.schema import ServeApplicationSchema, ServeDeploySchema

    given = yaml.safe_load(ray_service["spec"]["serveConfigV2"])
    taken = ServeDeploySchema.model_validate(given)

    assert unknown(given, ServeDeploySchema) == []
    for application in given["applications"]:
        assert unknown(application, ServeApplicationSchema) == []
    assert taken.proxy_location == "HeadOnly"
    groups = ray_service["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    assert [app.name for app in taken.applications] == [f"svdfarm-{g['groupName']}" for g in groups]
    for app in taken.applications:
        assert app.import_path == "farm.cluster.service:build"
        assert app.route_prefix == f"/{app.args['group']}"
        assert set(app.args) - {"dtype"} == ARGUMENTS
        assert "token" not in str(app.args)


def test_a_key_that_serve_would_ignore_is_found() -> None:
    from ray.serve.schema import ServeDeploySchema

    assert unknown({"applications": [], "proxy_place": "HeadOnly"}, ServeDeploySchema)


def test_the_farm_builds_what_serve_is_told(ray_service: Object) -> None:
    service = pytest.importorskip("farm.cluster.service")
    from ray.serve._private.api import call_user_app_builder_with_args_if_necessary as build

    for application in yaml.safe_load(ray_service["spec"]["serveConfigV2"])["applications"]:
        args = application["args"]
        deployment = build(service.build, args)._bound_deployment
        # `ray drain-node` is told so many seconds: Serve begins once no more than these are left.
        assert deployment._deployment_config.graceful_shutdown_timeout_s == args["drain_s"] + 10


def test_ray_sees_in_each_group_what_its_workers_take(ray_service: Object) -> None:
    from ray.autoscaler._private.kuberay import autoscaling_config

    config = yaml.safe_load(ray_service["spec"]["serveConfigV2"])
    groups = ray_service["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    for group, application in zip(groups, config["applications"], strict=True):
        resources = autoscaling_config._get_ray_resources_from_group_spec(group, is_head=False)
        args = application["args"]
        per_pod = max(1, resources.get("GPU", 0))

        assert resources[f"svdfarm-{group['groupName']}"] == 1000
        assert resources["CPU"] == args["cpus"] * per_pod
        assert resources.get("GPU", 0) == args["gpus"] * per_pod or not args["gpus"]
        assert args["min_workers"] == group["minReplicas"] * per_pod
        assert args["max_workers"] == group["maxReplicas"] * per_pod


def test_the_head_is_given_no_work(ray_service: Object) -> None:
    head = ray_service["spec"]["rayClusterConfig"]["headGroupSpec"]

    assert head["rayStartParams"]["num-cpus"] == "0"
    assert head["rayStartParams"]["num-gpus"] == "0"


def test_ray_scales_where_a_group_may_change(ray_service: Object) -> None:
    cluster = ray_service["spec"]["rayClusterConfig"]
    changing = any(g["minReplicas"] != g["maxReplicas"] for g in cluster["workerGroupSpecs"])
    head = cluster["headGroupSpec"]["template"]["spec"]

    assert cluster.get("enableInTreeAutoscaling", False) is changing
    assert head["automountServiceAccountToken"] is changing


def test_a_worker_may_end_its_shot_before_it_is_killed(ray_service: Object) -> None:
    config = yaml.safe_load(ray_service["spec"]["serveConfigV2"])
    cluster = ray_service["spec"]["rayClusterConfig"]
    drain_s = {app["args"]["drain_s"] for app in config["applications"]}.pop()
    head = cluster["headGroupSpec"]["template"]["spec"]

    # Serve gives each worker drain_s, and ten seconds more to go.
    told_s = drain_s + 10
    stop = head["containers"][0]["lifecycle"]["preStop"]
    if "gcsFaultToleranceOptions" in cluster:
        assert told_s < stop["sleep"]["seconds"] < head["terminationGracePeriodSeconds"]
    else:
        assert stop["exec"]["command"][-1] == _hook("head-stop")
        assert told_s + 10 < head["terminationGracePeriodSeconds"]
    for group in cluster["workerGroupSpecs"]:
        pod = group["template"]["spec"]
        (container,) = pod["containers"]
        assert container["lifecycle"]["preStop"]["exec"]["command"][-1] == _hook("worker-stop")
        assert {"name": "DRAIN_SECONDS", "value": str(drain_s)} in container["env"]
        assert pod["terminationGracePeriodSeconds"] >= told_s + 20
    assert ray_service["spec"]["rayClusterDeletionDelaySeconds"] >= drain_s


def _hook(name: str) -> str:
    return (CHART / "files" / "hooks" / f"{name}.sh").read_text().strip() + "\n"


def test_limits_are_requests(ray_service: Object) -> None:
    for group in ray_service["spec"]["rayClusterConfig"]["workerGroupSpecs"]:
        resources = group["template"]["spec"]["containers"][0]["resources"]
        assert resources["requests"] == resources["limits"]


def test_versions_are_those_of_the_lock_and_of_the_farm() -> None:
    import farm

    lock = (ROOT / "requirements" / "server.txt").read_text()
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    pinned = re.search(r"^ray==(\S+)", lock, re.MULTILINE)

    assert pinned is not None
    assert values["ray"]["version"] == pinned[1]
    assert chart["appVersion"] == farm.__version__
