"""The Serve application of one group of workers, as a RayService runs it.

`serveConfigV2` names one application a group: `import_path: farm.cluster.service:build`, `name:
svdfarm-GROUP`, `route_prefix: /GROUP`, and `args` as in `ServiceArgs`. Its workers run on nodes
that have the Ray resource `svdfarm-GROUP`. Their token is FARM_WORKER_TOKEN, or else FARM_TOKEN,
in every Pod, the head's too.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from ray.serve import Application
from ray.serve.config import AutoscalingConfig, AutoscalingPolicy

from farm.cluster.group import PATTERN, resource_name, told_group
from farm.cluster.replica import Worker, WorkerConfig, worker_app
from farm.settings import Settings

# A group starts for as long as it is wanted: the hub or a node may be away for hours, and what
# Serve has given up once it starts again only by a change of the application.
_START_LIMIT = 1_000_000
_SHARE = 0.001  # of the group's resource: a node has one, and so as many workers as GPUs


class ServiceInvalid(ValueError):
    """Arguments of an application that cannot be used; the message names each."""


class ServiceArgs(BaseModel):
    """`args` of an application in serveConfigV2."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, protected_namespaces=())

    gateway: Annotated[
        str, Field(pattern=r"^(grpcs?://)?([^\s:/\[\]]+|\[[0-9a-fA-F:]+\]):[0-9]{1,5}$")
    ]
    model: Annotated[
        str, Field(min_length=1)
    ]  # a known name, or a folder that is there in the Pods
    group: Annotated[str, Field(pattern=f"^{PATTERN}$")]
    dtype: Literal["float32", "float16", "bfloat16"] | None = None
    engine: Literal["default", "compiled", "stock"] = "default"
    device: Literal["cpu", "cuda"] | None = None  # None: cuda where a worker has a GPU
    gpus: Annotated[float, Field(ge=0)] = 1  # of each worker
    cpus: Annotated[float, Field(ge=0)] = 1  # of each worker
    min_workers: Annotated[int, Field(ge=0)] = 0
    max_workers: Annotated[int, Field(ge=1)] = 1
    drain_s: Annotated[float, Field(gt=0)] = 45.0  # that a worker has to end its shot
    model_offload: bool = False
    forward_chunking: bool = False
    memory: Literal["auto", "fast", "balanced", "low"] = "auto"
    deterministic: bool = False
    idle_s: Annotated[float, Field(ge=0)] = 300.0  # that a worker is kept which nobody needs

    @model_validator(mode="after")
    def _check_counts(self) -> Self:
        if self.min_workers > self.max_workers:
            raise ValueError(
                f"min_workers is {self.min_workers}; allowed: to max_workers, {self.max_workers}"
            )
        return self


class PodWorker(Worker):
    """A worker that has its token from its own Pod: Serve keeps what an application is given."""

    def __init__(self, config: WorkerConfig) -> None:
        settings = Settings.load()
        given = replace(
            config,
            token=settings.worker_token(),
            group=told_group(config.group),
            tls=settings.tls_for(config.gateway),
            plaintext=settings.get("plaintext", None, False),
            attention=settings.get("attention", None, "auto"),
        )
        super().__init__(given)


def build(args: dict[str, Any]) -> Application:
    """The application of one group. Raises ServiceInvalid."""
    given = read_args(args)
    device = given.device or ("cuda" if given.gpus else "cpu")
    config = WorkerConfig(
        gateway=given.gateway,
        model=given.model,
        group=given.group,
        device=device,
        dtype=given.dtype,
        engine=given.engine,
        model_offload=given.model_offload,
        forward_chunking=given.forward_chunking,
        memory=given.memory,
        deterministic=given.deterministic,
        threads=max(1, int(given.cpus)) if device == "cpu" else None,
        drain_s=given.drain_s,
    )
    policy = AutoscalingPolicy(
        policy_function="farm.cluster.scaling:DemandPolicy",
        policy_kwargs={
            "gateway": given.gateway,
            "model": Path(given.model).name,  # as a folder's shots name it
            "group": given.group,
            "min_workers": given.min_workers,
            "max_workers": given.max_workers,
            "idle_s": given.idle_s,
        },
    )
    scaled = AutoscalingConfig(
        min_replicas=given.min_workers,
        max_replicas=given.max_workers,
        upscale_delay_s=0,  # when to scale is the policy's to say, here and below
        downscale_delay_s=0,
        policy=policy,
    )
    return worker_app(
        config,
        count=scaled,
        cpus=given.cpus,
        gpus=given.gpus,
        resources={resource_name(given.group): _SHARE},
        worker=PodWorker,
        start_limit=_START_LIMIT,
    )


def read_args(args: Mapping[str, Any]) -> ServiceArgs:
    """The arguments, checked. Raises ServiceInvalid that names every one that is wrong."""
    try:
        return ServiceArgs.model_validate(dict(args))
    except ValidationError as error:
        told = "; ".join(_problem(found) for found in error.errors())
        raise ServiceInvalid(f"args of farm.cluster.service:build: {told}") from error


def _problem(found: Any) -> str:
    key = ".".join(map(str, found["loc"]))
    match found["type"]:
        case "missing":
            return f"{key} is missing"
        case "extra_forbidden":
            known = list(ServiceArgs.model_fields)
            close = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"allowed: {', '.join(known)}"
            return f"unknown key {key!r}; {hint}"
        case "value_error":
            return str(found["ctx"]["error"])
        case _:
            return f"{key} is {found['input']!r}: {found['msg']}"
