"""What a RayService may give the application of a group, and what Serve is told."""

from __future__ import annotations

from typing import Any

import pytest
from ray.serve.schema import ServeDeploySchema

from farm.cluster.service import ServiceInvalid, build, read_args

GIVEN: dict[str, Any] = {"gateway": "farm-gateway:50052", "model": "svd-xt", "group": "h100"}


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"gpu": 1}, "unknown key 'gpu'; did you mean gpus?"),
        ({"colour": 1}, "unknown key 'colour'; allowed: gateway, model"),
        ({"gateway": "http://farm:50052"}, "gateway is 'http://farm:50052': "),
        ({"gateway": "farm"}, "gateway is 'farm': "),
        ({"group": "H100"}, "group is 'H100': "),
        ({"dtype": "int8"}, "dtype is 'int8': "),
        ({"max_workers": "4"}, "max_workers is '4': "),
        ({"max_workers": 0}, "max_workers is 0: "),
        ({"min_workers": 2}, "min_workers is 2; allowed: to max_workers, 1"),
        ({"gpus": -1}, "gpus is -1: "),
        ({"drain_s": 0}, "drain_s is 0: "),
    ],
)
def test_a_wrong_argument_is_named(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(ServiceInvalid) as refused:
        build({**GIVEN, **wrong})
    assert told in str(refused.value)


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(ServiceInvalid, match=r"gateway is missing; .*unknown key 'x'; .*idle_s"):
        read_args({"model": "svd", "group": "one", "x": 1, "idle_s": -1})


def test_a_group_is_placed_on_its_own_nodes_and_scaled_by_demand(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FARM_TOKEN", "a-secret-of-the-pods")
    application = build(
        {**GIVEN, "model": "/models/nano", "gpus": 2, "cpus": 4, "max_workers": 6, "drain_s": 600}
    )
    deployment = application._bound_deployment
    options = deployment.ray_actor_options
    assert options is not None
    assert (options["num_gpus"], options["num_cpus"]) == (2, 4)
    assert options["resources"] == {"svdfarm-h100": 0.001}
    config = deployment._deployment_config
    assert config.graceful_shutdown_timeout_s > 605  # the hand-back included
    scaled = config.autoscaling_config
    assert scaled is not None
    assert (scaled.min_replicas, scaled.max_replicas) == (0, 6)
    assert scaled.policy.policy_kwargs["model"] == "nano"  # as its workers and shots name it
    told = f"{scaled.model_dump()} {deployment.init_args}"
    assert "a-secret" not in told  # Serve keeps and shows these


@pytest.mark.parametrize(("gpus", "device", "threads"), [(1, "cuda", None), (0, "cpu", 2)])
def test_a_worker_with_a_gpu_uses_it(gpus: int, device: str, threads: int | None) -> None:
    (config,) = build({**GIVEN, "gpus": gpus, "cpus": 2})._bound_deployment.init_args
    assert (config.device, config.threads) == (device, threads)


def test_serve_takes_what_a_chart_writes() -> None:
    application = {
        "name": "svdfarm-h100",
        "route_prefix": "/h100",
        "import_path": "farm.cluster.service:build",
        "args": GIVEN,
    }
    assert ServeDeploySchema.model_validate({"applications": [application]})
