"""The verbs that run programs: `up`, `gateway`, `worker`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Annotated

import typer

from farm import __version__
from farm.cli.durations import read_duration_s
from farm.cli.exits import CommandFailed
from farm.cli.options import Token, WebhookPrivate, WebhookSecret
from farm.cli.readiness import tell_ready
from farm.cli.server_options import (
    DEFAULT_HTTP,
    Artifacts,
    BindAddress,
    Data,
    Database,
    Deterministic,
    Device,
    DirectUpload,
    Dtype,
    Engine,
    ForwardChunking,
    Http,
    Memory,
    Model,
    ModelOffload,
    OpenMetrics,
    PublicUrl,
    Retention,
    StopOnEof,
    TrustedProxies,
    WorkerAddress,
    WorkerCount,
)
from farm.cli.sizes import read_size_bytes
from farm.cli.tls_options import (
    Plaintext,
    TlsCa,
    TlsCert,
    TlsClientCa,
    TlsKey,
    first,
    server_tls,
)
from farm.jobs.webhooks import WebhookInvalid, Webhooks
from farm.settings import DEFAULT_ADDRESS, Flags, Settings, s3_endpoint, s3_region

_CHECK_EVERY_S = 2.0


def register(app: typer.Typer) -> None:
    """Adds the verbs to the command."""
    app.command()(up)
    app.command()(gateway)
    app.command()(worker)


def up(
    ctx: typer.Context,
    address: BindAddress = None,
    http: Http = None,
    open_metrics: OpenMetrics = None,
    public_url: PublicUrl = None,
    trusted_proxies: TrustedProxies = None,
    data: Data = None,
    database: Database = None,
    artifacts: Artifacts = None,
    direct_upload: DirectUpload = None,
    retention: Retention = None,
    webhook_secret: WebhookSecret = None,
    webhook_private: WebhookPrivate = None,
    workers: WorkerCount = None,
    model: Model = None,
    device: Device = "auto",
    dtype: Dtype = None,
    engine: Engine = "default",
    model_offload: ModelOffload = False,
    forward_chunking: ForwardChunking = False,
    memory: Memory = "auto",
    deterministic: Deterministic = False,
    worker_address: WorkerAddress = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    tls_client_ca: TlsClientCa = None,
    plaintext: Plaintext = None,
    token: Token = None,
) -> None:
    """Runs a farm on this machine: gateway, a local Ray, workers. Ctrl-C drains it."""
    check_choice("--device", device, ("auto", "cpu", "cuda"))
    check_choice("--engine", engine, ("default", "compiled", "stock"))
    check_choice("--memory", memory, ("auto", "fast", "balanced", "low"))
    from farm.cli.supervisor import FarmProcesses, FarmSettings
    from svdfarm.target import SECURE

    settings = Settings.load()
    flags = ctx.obj if isinstance(ctx.obj, Flags) else Flags()
    given_retention = settings.find("retention", retention)
    _retention_s(given_retention)  # a wrong one is told before anything starts
    webhooks = _webhooks(settings, webhook_secret, webhook_private)
    wanted = FarmSettings(
        address=settings.get("address", address or flags.address, DEFAULT_ADDRESS),
        http=settings.get("http", http, DEFAULT_HTTP),
        open_metrics=settings.get("open_metrics", open_metrics, False),
        public_url=settings.find("public_url", public_url),
        trusted_proxies=settings.find("trusted_proxies", trusted_proxies),
        data=data_folder(settings, data),
        database=settings.find("database", database),
        artifacts=settings.find("artifacts", artifacts),
        direct_upload=settings.get("direct_upload", direct_upload, False),
        retention=given_retention,
        webhook_secret=settings.find("webhook_secret", webhook_secret),
        webhook_private=webhooks.private,
        workers=settings.find("workers", workers),
        model=_model(settings.find("model", model)),
        device=settings.get("device", None if device == "auto" else device, "auto"),
        dtype=dtype,
        engine=engine,
        model_offload=model_offload,
        forward_chunking=forward_chunking,
        memory=memory,
        deterministic=settings.get("deterministic", deterministic or None, False),
        worker_address=settings.find("worker_address", worker_address),
        token=settings.find("token", token or flags.token),
        tls=server_tls(settings, tls_cert, tls_key, tls_client_ca),
        worker_tls=settings.tls_for(SECURE, flags.tls_ca),
        plaintext=settings.get("plaintext", first(plaintext, flags.plaintext), False),
        worker_token=settings.find("worker_token", None),
    )
    if wanted.worker_address is not None and wanted.worker_address.endswith(":0"):
        raise CommandFailed("--worker-address has port 0; the workers need to know it: give one")
    stop = _stop_on_signals()
    with FarmProcesses(wanted) as farm:
        farm.run(stop)


def gateway(
    ctx: typer.Context,
    address: BindAddress = None,
    http: Http = None,
    open_metrics: OpenMetrics = None,
    public_url: PublicUrl = None,
    trusted_proxies: TrustedProxies = None,
    data: Data = None,
    database: Database = None,
    artifacts: Artifacts = None,
    direct_upload: DirectUpload = None,
    retention: Retention = None,
    webhook_secret: WebhookSecret = None,
    webhook_private: WebhookPrivate = None,
    worker_address: WorkerAddress = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    tls_client_ca: TlsClientCa = None,
    plaintext: Plaintext = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="NAME",
            help="What shots that name no model get.  [default: what the workers serve]",
            show_default=False,
        ),
    ] = None,
    token: Token = None,
    stop_on_eof: StopOnEof = False,
) -> None:
    """Runs the gateway alone: users and workers come to it."""
    from farm.gateway.config import (
        Address,
        ConfigInvalid,
        GatewayConfig,
        read_proxies,
        read_public_url,
    )
    from farm.gateway.server import Gateway, run
    from farm.logs import configure_logs
    from farm.store.bucket import Bucket
    from farm.store.errors import StoreError
    from farm.store.postgres import read_url
    from farm.tracing import configure_traces
    from svdfarm.target import SECURE

    settings = Settings.load()
    flags = ctx.obj if isinstance(ctx.obj, Flags) else Flags()
    database_url = settings.find("database", database)
    given_artifacts = settings.find("artifacts", artifacts)
    given_worker_address = settings.find("worker_address", worker_address)
    given_public_url = settings.find("public_url", public_url)
    retention_s = _retention_s(settings.find("retention", retention))
    webhooks = _webhooks(settings, webhook_secret, webhook_private)
    stall_s = read_duration_s(settings.get("stall_timeout", None, "10m"), "stall_timeout")
    reserve_bytes = read_size_bytes(settings.get("disk_reserve", None, "1GiB"), "disk_reserve")
    configure_logs()
    if problem := configure_traces("svdfarm-gateway", __version__):
        print(problem, file=sys.stderr)  # noqa: T201

    def ready(gateway: Gateway) -> None:
        scheme = SECURE if tls else ""
        tell_ready(f"{scheme}{gateway.address}")

    tls = server_tls(settings, tls_cert, tls_key, tls_client_ca)
    try:
        config = GatewayConfig(
            address=Address.parse(
                settings.get("address", address or flags.address, DEFAULT_ADDRESS)
            ),
            http=Address.parse(settings.get("http", http, DEFAULT_HTTP)),
            open_metrics=settings.get("open_metrics", open_metrics, False),
            public_url=read_public_url(given_public_url) if given_public_url else None,
            trusted_proxies=read_proxies(settings.get("trusted_proxies", trusted_proxies, "")),
            data=data_folder(settings, data),
            database=read_url(database_url) if database_url else None,
            artifacts=(
                Bucket.read(given_artifacts, s3_endpoint(), s3_region())
                if given_artifacts
                else None
            ),
            direct_upload=settings.get("direct_upload", direct_upload, False),
            worker_address=Address.parse(given_worker_address) if given_worker_address else None,
            token=settings.find("token", token or flags.token),
            tls=tls,
            plaintext=settings.get("plaintext", first(plaintext, flags.plaintext), False),
            worker_token=settings.find("worker_token", None),
            default_model=model,
            webhooks=webhooks,
            retention_s=retention_s,
            stall_s=stall_s,
            disk_reserve_bytes=reserve_bytes,
            share_cache=settings.get("share_cache", None, False),
        )
        if stop_on_eof:
            _terminate_on_eof()
        asyncio.run(run(config, ready))
    except (ConfigInvalid, StoreError) as error:
        raise CommandFailed(str(error)) from error


def worker(
    ctx: typer.Context,
    gateway: Annotated[
        str | None,
        typer.Option(
            "--gateway",
            metavar="HOST:PORT",
            help="The gateway to work for; grpcs://HOST:PORT with TLS.  "
            f"[FARM_GATEWAY; default: {DEFAULT_ADDRESS}]",
            show_default=False,
        ),
    ] = None,
    workers: WorkerCount = None,
    model: Model = None,
    device: Device = "auto",
    dtype: Dtype = None,
    engine: Engine = "default",
    model_offload: ModelOffload = False,
    forward_chunking: ForwardChunking = False,
    memory: Memory = "auto",
    deterministic: Deterministic = False,
    ray_address: Annotated[
        str | None,
        typer.Option(
            "--ray-address",
            metavar="ADDRESS",
            help="A Ray cluster that is there already, such as `auto`.  [default: a local one]",
            show_default=False,
        ),
    ] = None,
    tls_ca: TlsCa = None,
    plaintext: Plaintext = None,
    token: Token = None,
    stop_on_eof: StopOnEof = False,
) -> None:
    """Runs workers alone: they dial a gateway."""
    check_choice("--device", device, ("auto", "cpu", "cuda"))
    check_choice("--engine", engine, ("default", "compiled", "stock"))
    check_choice("--memory", memory, ("auto", "fast", "balanced", "low"))
    from farm.cli import connecting
    from farm.cluster.credential import TokenRefused, check_token
    from farm.cluster.local import WorkerSettings, WorkersLost, WorkersNotStarted
    from farm.cluster.local import workers as running
    from farm.logs import configure_logs
    from farm.render.errors import RenderError
    from farm.render.folder import describe
    from svdfarm.target import Target

    settings = Settings.load()
    flags = ctx.obj if isinstance(ctx.obj, Flags) else Flags()
    configure_logs()
    address = settings.get("gateway", gateway or flags.address, DEFAULT_ADDRESS)
    wanted_model = _model(settings.find("model", model))
    wanted_token = settings.worker_token(token or flags.token)
    stop = _stop_on_signals()
    if stop_on_eof:
        _terminate_on_eof()
    try:
        if wanted_model is not None:
            describe(wanted_model)  # a folder that is none is told before Ray starts
        given_plaintext = settings.get("plaintext", first(plaintext, flags.plaintext), False)
        tls = settings.tls_for(address, tls_ca or flags.tls_ca)
        with connecting.told_to_the_user():  # what is wrong with these is told before Ray starts
            target = Target.read(address, wanted_token, tls, plaintext=given_plaintext)
        check_token(target, wanted_token)
        wanted = WorkerSettings(
            gateway=address,
            token=wanted_token,
            tls=tls,
            plaintext=given_plaintext,
            model=wanted_model,
            count=settings.find("workers", workers),
            device=device,
            dtype=dtype,
            engine=engine,
            model_offload=model_offload,
            forward_chunking=forward_chunking,
            memory=memory,
            deterministic=settings.get("deterministic", deterministic or None, False),
            attention=check_choice(
                "FARM_ATTENTION",
                settings.get("attention", None, "auto"),
                ("auto", "measured", "torch"),
            ),
            ray_address=ray_address,
        )
        with running(wanted) as workers_:
            started = workers_.started
            kind = "GPU" if started.device == "cuda" else "CPU"
            print(f"{started.count} {kind} workers of {started.model}", file=sys.stderr)  # noqa: T201
            told = ""
            while (problem := workers_.problem()) and not stop.wait(0.5):
                if problem != told:
                    told = problem
                    print(f"waiting for a gateway: {problem}", file=sys.stderr)  # noqa: T201
            if not stop.is_set():
                tell_ready(address)
            while not stop.wait(_CHECK_EVERY_S):
                workers_.check()
    except (RenderError, TokenRefused, WorkersLost, WorkersNotStarted) as error:
        raise CommandFailed(str(error)) from error


def data_folder(settings: Settings, flag: Path | None) -> Path:
    """Where jobs and videos are kept."""
    default = Path.home() / ".local" / "share" / "svdfarm"
    return Path(settings.get("data", str(flag) if flag else None, str(default))).expanduser()


def _retention_s(given: str | None) -> float | None:
    return read_duration_s(given, "retention") if given else None


def _webhooks(settings: Settings, secret: str | None, private: bool | None) -> Webhooks:
    try:
        return Webhooks.read(
            settings.find("webhook_secret", secret),
            private=settings.get("webhook_private", private, False),
        )
    except WebhookInvalid as error:
        raise CommandFailed(str(error)) from error


def _model(model: str | None) -> str | None:
    """A folder is named in full: the worker that loads it has another working directory."""
    if model is not None and Path(model).is_dir():
        return str(Path(model).resolve())
    return model


def check_choice(flag: str, given: str, allowed: tuple[str, ...]) -> str:
    """What was given. Raises CommandFailed that names the flag."""
    if given not in allowed:
        raise CommandFailed(f"{flag} is {given!r}; allowed: {', '.join(allowed)}")
    return given


def _stop_on_signals() -> threading.Event:
    """An event that SIGTERM and SIGINT set; a second one ends the process at once."""
    stop = threading.Event()

    def on_signal(number: int, _: object) -> None:
        if stop.is_set():
            os._exit(128 + number)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    return stop


def _terminate_on_eof() -> None:
    """Stops this process when the one that started it is gone: it held our standard input."""

    def wait() -> None:
        with contextlib.suppress(OSError, ValueError):
            while os.read(0, 1024):
                continue
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="stop-on-eof", daemon=True).start()
