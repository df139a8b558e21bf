"""The Ray actor that holds a GPU: a shell around the renderer and the lease loop."""

from __future__ import annotations

import asyncio
import atexit
import dataclasses
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog
from ray import serve
from ray.serve.config import AutoscalingConfig

from farm import __version__
from farm.cluster.agent import Agent
from farm.logs import configure_logs
from farm.tracing import configure_traces, flush
from svdfarm.tls import Tls

log = structlog.get_logger()


@dataclass(frozen=True)
class WorkerConfig:
    """What one worker needs to know."""

    gateway: str
    model: str
    group: str = ""  # as the gateway is told; empty: it is in none
    token: str | None = None
    tls: Tls | None = None  # for a gateway at grpcs://; its files are those of the worker's machine
    plaintext: bool = False  # whether the token may be sent without TLS over a network
    device: str = "auto"
    dtype: str | None = None
    engine: str = "default"
    model_offload: bool = False
    forward_chunking: bool = False
    memory: str = "auto"  # or a name of farm.render.memory.PROFILES
    deterministic: bool = False
    attention: str = "auto"  # or a word of farm.render.kernels.CHOICES
    threads: int | None = None  # None: torch's own choice, right for a worker with a GPU
    drain_s: float = 45.0


class Worker:
    """Serve's view of a worker: made, asked for its health, told to go."""

    def __init__(self, config: WorkerConfig) -> None:
        configure_logs()
        if problem := configure_traces("svdfarm-worker", __version__):
            log.warning("traces.off", because=problem)
        self._healthy = True
        self._drain_s = config.drain_s
        self._gateway = config.gateway
        self._agent = Agent(
            config.gateway,
            config.token,
            folder=Path(tempfile.gettempdir()),
            version=__version__,
            group=config.group,
            tls=config.tls,
            plaintext=config.plaintext,
            on_broken_device=self._break,
        )
        self._agent.start()
        # Ray ends a process that gets SIGTERM at once, without Serve's knowledge.
        atexit.register(self._agent.drain, self._drain_s)
        try:
            # Here, not above: Serve's controller imports this module and has no use for torch.
            from farm.cluster import canary
            from farm.render.cpu import keep_freed_memory, use_threads
            from farm.render.determinism import use_determinism
            from farm.render.engine import Engine
            from farm.render.load import load
            from farm.render.memory import Memory, choose_memory
            from farm.render.renderer import EngineRenderer

            if config.threads is not None:
                use_threads(config.threads)
                keep_freed_memory()
            use_determinism(config.deterministic)
            model = load(config.model, device=config.device, dtype=config.dtype)
            asked = Memory(config.model_offload, config.forward_chunking)
            profile, memory = choose_memory(config.memory, asked, model.device)
            log.info("worker.memory", profile=profile, **dataclasses.asdict(memory))
            engine = Engine(model, config.engine, memory, config.attention)
            engine.warm_up(lambda progress: log.info("worker.compiling", progress=str(progress)))
            renderer = EngineRenderer(engine)
            fault = canary.fault(renderer)
        except BaseException:
            self._agent.stop()
            raise
        self._agent.serve(renderer, fault)

    def check_health(self) -> None:
        """Serve's hook: a device in error is only healed by a new process."""
        if not self._healthy or not self._agent.alive:
            raise RuntimeError("the worker is in error; this process must be replaced")

    def __call__(self) -> dict[str, str]:
        """Who this replica is, the GPUs that Ray gave it, and why it has no gateway, if so."""
        problem = self._agent.problem or f"nobody answers at {self._gateway}"
        return {
            "worker": f"workers/{self._agent.id}",
            "problem": "" if self._agent.connected else problem,
            "cuda_visible_devices": os.environ.get("CUDA_VISIBLE_DEVICES", ""),
        }

    async def __del__(self) -> None:
        """Serve's hook before it ends the process: no shot is lost, none is taken."""
        await asyncio.to_thread(self._agent.drain, self._drain_s)
        await asyncio.to_thread(self._agent.stop)
        await asyncio.to_thread(flush)
        atexit.unregister(self._agent.drain)

    def _break(self) -> None:
        self._healthy = False


def worker_app(
    config: WorkerConfig,
    *,
    count: int | AutoscalingConfig,
    cpus: float,
    gpus: float,
    resources: Mapping[str, float] | None = None,
    worker: type[Worker] = Worker,
    start_limit: int = 2,
) -> serve.Application:
    """The Serve application of `count` workers, each with its share of Ray's resources.

    After `start_limit` failed starts Serve gives the deployment up.
    """
    replicas = {"num_replicas": count} if isinstance(count, int) else {"autoscaling_config": count}
    configure = serve.deployment(
        name="worker",
        **replicas,
        ray_actor_options={"num_cpus": cpus, "num_gpus": gpus, "resources": dict(resources or {})},
        max_ongoing_requests=1,
        max_constructor_retry_count=start_limit,
        health_check_period_s=2,
        health_check_timeout_s=10,
        graceful_shutdown_wait_loop_s=0.1,
        graceful_shutdown_timeout_s=config.drain_s + 10,
    )
    application: serve.Application = configure(worker).bind(config)
    return application
