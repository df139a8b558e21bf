"""Puts the gateway together and runs it until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable, Collection
from typing import TypeVar

import grpc
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio
from grpc_reflection.v1alpha import reflection

from farm.gateway.auth import Auth
from farm.gateway.calls import CountedCalls
from farm.gateway.collector import Collector
from farm.gateway.config import Address, ConfigInvalid, GatewayConfig
from farm.gateway.dispatch import Dispatcher
from farm.gateway.feed import Feed
from farm.gateway.http import HttpServer, http_server, listen
from farm.gateway.keyring import FarmTokens, Keyring
from farm.gateway.metrics import Metrics
from farm.gateway.notifier import Notifier
from farm.gateway.private import PrivateEndpoint
from farm.gateway.quotas import Limited, Quotas
from farm.gateway.render_service import RenderService
from farm.gateway.roster import Roster
from farm.gateway.scrape import Scraper
from farm.gateway.session_service import SessionService
from farm.gateway.tenant_service import TenantService
from farm.gateway.tls import HANDSHAKE_S, Certificates
from farm.gateway.token_service import TokenService
from farm.gateway.traced_calls import TracedCalls
from farm.gateway.traces import Traces
from farm.gateway.undecodable import DecodedRequests
from farm.gateway.worker_service import WorkerService
from farm.gateway.workers import Workers
from farm.store.deliveries import DELIVERIES
from farm.store.errors import StoreError
from farm.store.room import Room
from farm.store.store import Store
from farm.store.tenants import TENANTS
from farm.store.tokens import TOKENS
from farm.store.workers import WORKERS
from farm.web.app import Web
from farm.web.farm import FURTHER_CALL
from svdfarm.v1 import (
    render_service_pb2_grpc,
    session_service_pb2_grpc,
    tenant_service_pb2_grpc,
    token_service_pb2_grpc,
    worker_service_pb2_grpc,
)

log = structlog.get_logger()

T = TypeVar("T")

USER_SERVICES = (
    "svdfarm.v1.RenderService",
    "svdfarm.v1.WorkerService",
    "svdfarm.v1.TokenService",
    "svdfarm.v1.TenantService",
)
WORKER_SERVICES = ("svdfarm.v1.SessionService",)


class Gateway:
    """A gateway that serves; made by `open`, ended by `stop`."""

    def __init__(
        self, config: GatewayConfig, store: Store, certificates: Certificates | None = None
    ) -> None:
        self._config = config
        self._store = store
        self._workers = Workers()
        self._feed = Feed()
        room = Room(config.data, config.disk_reserve_bytes)
        given = FarmTokens(config.token, config.worker_token, loopback=config.exposed is None)
        self._keyring = Keyring(store, given)
        self._metrics = Metrics()
        self._scraper = Scraper(self._metrics, store, self._workers, self._feed, room)
        self._traces = Traces(store)
        self._dispatcher = Dispatcher(
            store, self._workers, self._feed, room, config.stall_s, self._metrics, self._traces
        )
        self._roster = Roster(store, self._workers, self._dispatcher.wake)
        self._collector = Collector(store, config.retention_s)
        self._notifier = Notifier(store, config.webhooks)
        self._quotas = Quotas(store)
        self._health = health_aio.HealthServicer()
        self._render = RenderService(
            store,
            self._roster,
            self._feed,
            self._dispatcher,
            self._collector,
            room,
            self._metrics,
            self._traces,
            default_model=config.default_model,
            webhooks=config.webhooks,
            share_cache=config.share_cache,
            limits=config.limits,
        )
        self._sessions = SessionService(
            store,
            self._workers,
            self._feed,
            self._dispatcher,
            self._roster,
            self._metrics,
            self._traces,
            heartbeat_s=config.heartbeat_s,
            reconnect_grace_s=config.reconnect_grace_s,
            limits=config.limits,
        )
        self._certificates = certificates
        self._credentials: list[grpc.ServerCredentials] = []  # of ports that are served
        self._calls = CountedCalls(self._metrics.rpcs)
        self._servers: list[grpc.aio.Server] = []
        self._http: HttpServer | None = None
        self._private = PrivateEndpoint()
        self._web = Web(self._private.target, config.public_url)
        self._tasks: list[asyncio.Task[None]] = []
        self._serving = False
        self.address = config.address
        self.worker_address = config.worker_address or config.address
        self.http = config.http

    async def start(self) -> None:
        """Binds every port and serves. Raises ConfigInvalid where a port cannot be had."""
        loop = asyncio.get_running_loop()

        def on_loop(tell: Callable[[T], None]) -> Callable[[T], None]:
            def told(job_ids: T) -> None:
                with contextlib.suppress(RuntimeError):  # the loop has ended: nobody watches
                    loop.call_soon_threadsafe(tell, job_ids)

            return told

        self._store.database.on_commit = on_loop(self._on_commit)
        self._store.database.on_news = on_loop(self._on_news)
        await self._keyring.load()
        self._check_guarded()
        await self._quotas.load()
        await self._start_http()
        limits = self._config.limits
        # Without a port of their own, workers come to that of the users.
        sessions = 0 if self._config.worker_address else limits.sessions
        users = self._new_server(limits.streams_per_connection, limits.concurrent_rpcs + sessions)
        # All that comes over HTTP comes by a few connections here.
        rpcs = limits.concurrent_rpcs
        private = self._new_server(rpcs, rpcs, uncounted=FURTHER_CALL)
        for server in (users, private):
            self._serve_users(server)
        session_server = users
        names: tuple[str, ...] = USER_SERVICES + WORKER_SERVICES
        if self._config.worker_address is not None:
            session_server = self._new_server(limits.streams_per_connection, limits.sessions)
            names = USER_SERVICES
            health_pb2_grpc.add_HealthServicer_to_server(self._health, session_server)
        session_service_pb2_grpc.add_SessionServiceServicer_to_server(
            self._sessions, session_server
        )
        self._serve_health(users, names)
        self.address = self._bind(users, self._config.address)
        self._private.serve(private)
        self.worker_address = self.address
        if self._config.worker_address is not None:
            self.worker_address = self._bind(session_server, self._config.worker_address)
        for server in self._servers:
            await server.start()
        self._tasks.append(asyncio.create_task(self._dispatcher.run()))
        self._tasks.append(asyncio.create_task(self._sessions.run()))
        self._tasks.append(asyncio.create_task(self._roster.run()))
        self._tasks.append(asyncio.create_task(self._collector.run()))
        self._tasks.append(asyncio.create_task(self._notifier.run()))
        self._tasks.append(asyncio.create_task(self._keyring.run()))
        self._tasks.append(asyncio.create_task(self._quotas.run()))
        for name in ("", *USER_SERVICES, *WORKER_SERVICES):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        self._serving = True
        self._dispatcher.wake()
        tls = self._certificates is not None
        log.info("gateway.ready", address=str(self.address), http=str(self.http), tls=tls)

    async def stop(self) -> None:
        """Takes no more calls, lets those under way end, and closes the store."""
        log.info("gateway.stopping")
        self._serving = False
        await self._health.enter_graceful_shutdown()
        self._render.stop()
        await self._sessions.close()
        self._web.stop()
        grace_s = self._config.stop_grace_s
        await asyncio.gather(*(server.stop(grace_s) for server in self._servers))
        await self._web.close()
        await self._calls.ended()
        if self._http is not None:
            self._http.should_exit = True
        for task in self._tasks[1:]:
            task.cancel()
        self._scraper.stop()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(StoreError):
            await self._keyring.note_uses()
        await self._traces.stop()
        self._private.remove()
        await asyncio.to_thread(self._store.close)

    def _on_commit(self, changed: set[str]) -> None:
        self._wake(changed)

    def _on_news(self, changed: frozenset[str] | None) -> None:
        """Other gateways changed these jobs, or workers, or, with None, perhaps any."""
        self._wake({WORKERS, DELIVERIES, TOKENS, TENANTS} if changed is None else changed)
        self._dispatcher.look_after(changed)

    def _wake(self, changed: Collection[str]) -> None:
        if WORKERS in changed:
            self._feed.wake_all()  # what a job waits for may have come, or gone
            self._roster.look()
        if TOKENS in changed:
            self._keyring.look()
        if DELIVERIES in changed:
            self._notifier.wake()
        if TENANTS in changed:
            self._quotas.look()
            self._feed.wake_all()  # the jobs' notices may have changed
        for job_id in changed:
            self._feed.wake(job_id)
        self._dispatcher.wake()

    def _check_guarded(self) -> None:
        exposed = self._config.exposed
        if exposed is not None and not self._keyring.lets_operators_in:
            raise ConfigInvalid(
                f"{exposed} can be reached from other machines, and no token is set: set "
                "FARM_TOKEN to a secret of your own, or make the farm's first token before its "
                "start (farm token create NAME --scope operate --offline, with its --data or "
                "--database), or bind to 127.0.0.1"
            )

    async def _start_http(self) -> None:
        # uvicorn would end the process where the port is taken: the socket is ours.
        try:
            sock = listen(self._config.http)
        except OSError as error:
            raise ConfigInvalid(
                f"--http {self._config.http} cannot be bound: {error.strerror}"
            ) from error
        self.http = Address(self._config.http.host, sock.getsockname()[1])
        context = self._certificates.http_context() if self._certificates else None
        self._http = http_server(
            lambda: self._serving,
            self._scraper,
            self._metrics,
            self._keyring,
            self.http,
            self._config,
            self._web.app,
            context,
        )
        self._tasks.append(asyncio.create_task(self._http.serve(sockets=[sock])))

    def _new_server(
        self, streams_per_connection: int, rpcs: int, uncounted: str | None = None
    ) -> grpc.aio.Server:
        limits = self._config.limits
        server = grpc.aio.server(
            interceptors=[
                self._calls,
                Auth(self._keyring),
                Limited(self._quotas, uncounted),
                TracedCalls(),
                DecodedRequests(),
            ],
            maximum_concurrent_rpcs=rpcs,
            options=[
                ("grpc.max_receive_message_length", limits.message_bytes),
                ("grpc.max_send_message_length", limits.message_bytes),
                ("grpc.max_concurrent_streams", streams_per_connection),
                ("grpc.keepalive_time_ms", 60_000),
                ("grpc.keepalive_timeout_ms", 20_000),
                ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
                ("grpc.http2.max_ping_strikes", 2),
                ("grpc.so_reuseport", 0),  # a port in use is an error, not a share
                ("grpc.server_handshake_timeout_ms", round(HANDSHAKE_S * 1000)),
            ],
        )
        self._servers.append(server)
        return server

    def _serve_users(self, server: grpc.aio.Server) -> None:
        limits = self._config.limits
        render_service_pb2_grpc.add_RenderServiceServicer_to_server(self._render, server)
        worker_service_pb2_grpc.add_WorkerServiceServicer_to_server(
            WorkerService(self._store, self._roster, limits), server
        )
        token_service_pb2_grpc.add_TokenServiceServicer_to_server(
            TokenService(self._store, self._keyring, limits), server
        )
        tenant_service_pb2_grpc.add_TenantServiceServicer_to_server(
            TenantService(self._store, limits), server
        )

    def _serve_health(self, server: grpc.aio.Server, names: tuple[str, ...]) -> None:
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        served = (*names, "grpc.health.v1.Health", reflection.SERVICE_NAME)
        reflection.enable_server_reflection(served, server)

    def _bind(self, server: grpc.aio.Server, address: Address) -> Address:
        try:
            if self._certificates is None:
                port = server.add_insecure_port(str(address))
            else:
                self._credentials.append(self._certificates.server_credentials())
                port = server.add_secure_port(str(address), self._credentials[-1])
        except RuntimeError as error:
            raise ConfigInvalid(f"{address} cannot be bound: is it in use?") from error
        return Address(address.host, port)


@contextlib.asynccontextmanager
async def serving(config: GatewayConfig) -> AsyncIterator[Gateway]:
    """A gateway for the length of a with block. Raises ConfigInvalid."""
    certificates = Certificates(config.tls) if config.tls else None
    store = await asyncio.to_thread(
        Store.open,
        config.data,
        config.database,
        config.artifacts,
        direct_upload=config.direct_upload,
        lease_s=config.lease_s,
    )
    gateway = Gateway(config, store, certificates)
    try:
        await gateway.start()
        yield gateway
    finally:
        await gateway.stop()


async def run(config: GatewayConfig, ready: Callable[[Gateway], None]) -> None:
    """Serves until SIGTERM or SIGINT; calls `ready` once calls are answered."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with serving(config) as gateway:
        ready(gateway)
        await stop.wait()
