"""Starts workers: on this machine, or on a Ray cluster that is there already."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from farm.jobs.params import default_model
from farm.render.hub import REPOSITORIES, fetch
from farm.settings import NOT_FOR_WORKERS
from svdfarm.tls import Tls

if TYPE_CHECKING:
    from ray.serve import Application
    from ray.serve.handle import DeploymentHandle

log = structlog.get_logger()

APPLICATION = "svdfarm"
_OBJECT_STORE_BYTES = 100_000_000  # nothing of ours travels through it
_DEFAULT_CPU_WORKERS = 2

# Ray reads these when it is imported, and hands them to every process that it starts.
_RAY_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_worker_niceness": "0",  # 15 by default: everything else on the machine would go first
}
_RAY_TOKENS = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")


class WorkersNotStarted(Exception):
    """No worker could be started; the message says why and what to do."""


class WorkersLost(Exception):
    """The cluster that held the workers is gone."""


@dataclass(frozen=True)
class WorkerSettings:
    """What to start; None leaves the choice to the machine."""

    gateway: str
    token: str | None = None
    tls: Tls | None = None
    plaintext: bool = False
    model: str | None = None  # None: default_model
    count: int | None = None  # None: one a GPU, two on a CPU
    device: str = "auto"
    dtype: str | None = None
    engine: str = "default"
    model_offload: bool = False
    forward_chunking: bool = False
    memory: str = "auto"
    deterministic: bool = False
    attention: str = "auto"
    drain_s: float = 45.0  # Serve waits for a minute
    ray_address: str | None = None  # None: a Ray of our own, on this machine


@dataclass(frozen=True)
class Started:
    """What was started."""

    count: int
    model: str
    device: str


@dataclass(frozen=True)
class Running:
    """Workers that run; they are warm, and dial their gateway."""

    started: Started
    _handle: DeploymentHandle[Any]

    def check(self) -> None:
        """Raises WorkersLost where Ray has lost every node, and the workers with them."""
        if not _has_nodes():
            raise WorkersLost("Ray has no node left, and so no worker: start again")

    def problem(self) -> str:
        """Why one of them has no gateway; empty where it has."""
        return str(self._handle.remote().result(timeout_s=30)["problem"])


@contextlib.contextmanager
def workers(settings: WorkerSettings) -> Iterator[Running]:
    """Workers for the length of a with block: warm on entry, drained on exit.

    Raises WorkersNotStarted, and ModelUnavailable for a model that cannot be fetched.
    """
    prepare_environment(os.environ, own_ray=settings.ray_address is None)
    import ray
    from ray import serve

    from farm.cluster.replica import WorkerConfig, worker_app

    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    if settings.ray_address is None:
        ray.init(
            address="local",  # not one that somebody else runs here
            num_cpus=max(_cores(), settings.count or _DEFAULT_CPU_WORKERS),
            include_dashboard=False,
            object_store_memory=_OBJECT_STORE_BYTES,
        )
    else:
        ray.init(address=settings.ray_address)
    for number, handler in handlers.items():  # Ray puts its own in their place
        signal.signal(number, handler)
    try:
        started = _plan(settings, int(ray.cluster_resources().get("GPU", 0)))
        on_gpu = started.device == "cuda"
        if settings.ray_address is None and started.model in REPOSITORIES:
            # Once, here, not by every worker; and what is wrong with it is told at once.
            fetch(started.model, settings.dtype or ("float16" if on_gpu else "float32"), None)
        config = WorkerConfig(
            gateway=settings.gateway,
            token=settings.token,
            tls=settings.tls,
            plaintext=settings.plaintext,
            model=started.model,
            device=started.device,
            dtype=settings.dtype,
            engine=settings.engine,
            model_offload=settings.model_offload,
            forward_chunking=settings.forward_chunking,
            memory=settings.memory,
            deterministic=settings.deterministic,
            attention=settings.attention,
            threads=None if on_gpu else max(1, _cores() // started.count),
            drain_s=settings.drain_s,
        )
        serve.start(proxy_location="Disabled")
        app = worker_app(config, count=started.count, cpus=1, gpus=1 if on_gpu else 0)
        try:
            handle = _run(app, started)
            yield Running(started, handle)
        finally:
            log.info("workers.draining")
            if _has_nodes():  # without one, there is nobody to answer these
                serve.delete(APPLICATION)
                serve.shutdown()
    finally:
        ray.shutdown()


def prepare_environment(environ: MutableMapping[str, str], *, own_ray: bool) -> None:
    """Sets what Ray is to know where nobody has, and takes what no worker is to know.

    A Ray of our own wants a secret from whoever talks to it, a new one at every start; one that is
    there already has its own way.
    """
    for name, value in _RAY_SETTINGS.items():
        environ.setdefault(name, value)
    if own_ray:
        environ.setdefault("RAY_AUTH_MODE", "token")
        # Ray would otherwise keep one for all to read in $HOME.
        if not any(environ.get(name) for name in _RAY_TOKENS):
            environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    for name in NOT_FOR_WORKERS:
        environ.pop(name, None)


def _run(app: Application, started: Started) -> DeploymentHandle[Any]:
    from ray import serve

    try:
        return serve.run(app, name=APPLICATION, route_prefix=None)
    except RuntimeError as error:  # what Serve raises for a deployment that does not come up
        raise WorkersNotStarted(f"no worker of {started.model} could start: {error}") from error


def _has_nodes() -> bool:
    import ray

    return any(node["Alive"] for node in ray.nodes())


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _plan(settings: WorkerSettings, gpu_count: int) -> Started:
    device = settings.device
    if device == "auto":
        device = "cuda" if gpu_count else "cpu"
    if device == "cuda" and not gpu_count:
        raise WorkersNotStarted(
            "--device cuda, and Ray finds no GPU here: check nvidia-smi, or take --device cpu"
        )
    if device == "cuda":
        count = settings.count or gpu_count
        if count > gpu_count:
            raise WorkersNotStarted(f"--workers {count}, and there are {gpu_count} GPUs")
    else:
        count = settings.count or min(_DEFAULT_CPU_WORKERS, _cores())
    model = settings.model or default_model(on_gpu=device == "cuda")
    return Started(count, model, device)
