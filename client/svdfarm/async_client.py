"""The way in for asyncio. What each method does is told once, in svdfarm.client."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from svdfarm import downloading, submitting, tenants, tokens, wire
from svdfarm.async_connection import AsyncConnection
from svdfarm.async_jobs import AsyncJobHandle
from svdfarm.connection import Connection, Settings
from svdfarm.errors import NotFound
from svdfarm.paging import PAGE_SIZE, list_all
from svdfarm.params import RenderParams
from svdfarm.patience import OnWaiting
from svdfarm.resources import Estimate, Job, JobState, OnBytes, Pruned, Video, Worker
from svdfarm.submitting import Submission
from svdfarm.tenants import NO_LIMITS, Tenant
from svdfarm.tokens import Identity, NewToken, Token
from svdfarm.v1 import render_service_pb2 as rpc
from svdfarm.v1 import resources_pb2 as pb
from svdfarm.v1 import tenant_service_pb2 as tenant_rpc
from svdfarm.v1 import token_service_pb2 as token_rpc
from svdfarm.v1 import worker_service_pb2 as worker_rpc


class AsyncClient:
    """`Client` for asyncio: the same methods, to be awaited or iterated with `async for`.

    A client belongs to one event loop, that of its first call. Files are read and written, and
    bytes hashed, in threads.

        async with AsyncClient() as client:
            job = await client.submit("rocket.jpg", params=RenderParams(seed=42))
            async for video in job.videos():
                await video.save("out/")
    """

    _connection_kind: type[Connection] = AsyncConnection

    def __init__(
        self,
        address: str = "127.0.0.1:50051",
        token: str | None = None,
        *,
        connect_timeout_s: float = 20.0,
        call_timeout_s: float = 60.0,
        on_waiting: OnWaiting | None = None,
    ) -> None:
        """As `Client`."""
        settings = Settings(address, token, connect_timeout_s, call_timeout_s, on_waiting)
        self._connection = self._connection_kind(settings)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """As `Client.close`."""
        await self._connection.close()

    async def submit(
        self,
        shots: Submission | Iterable[Submission],
        *,
        params: RenderParams | None = None,
        display_name: str = "",
        priority: int = 0,
        webhook: str = "",
        request_id: str | None = None,
        use_cache: bool = True,
        progress: OnBytes | None = None,
    ) -> AsyncJobHandle:
        """As `Client.submit`."""
        name = await submitting.submit(
            self._connection,
            shots,
            params=params or RenderParams(),
            display_name=display_name,
            priority=priority,
            webhook=webhook,
            request_id=request_id,
            use_cache=use_cache,
            progress=progress,
        )
        return self.job(name)

    async def estimate(
        self,
        shots: Submission | Iterable[Submission],
        *,
        params: RenderParams | None = None,
        priority: int = 0,
        use_cache: bool = True,
    ) -> Estimate:
        """As `Client.estimate`."""
        return await submitting.estimate(
            self._connection,
            shots,
            params=params or RenderParams(),
            priority=priority,
            use_cache=use_cache,
        )

    def job(self, name: str) -> AsyncJobHandle:
        """As `Client.job`."""
        return AsyncJobHandle(self._connection, name)

    def jobs(self) -> AsyncGenerator[Job, None]:
        """As `Client.jobs`."""
        farm = self._connection
        request = rpc.ListJobsRequest(page_size=PAGE_SIZE)
        return list_all(
            farm, farm.render.ListJobs, request, lambda page: map(wire.job_from_wire, page.jobs)
        )

    async def prune(
        self, older_than: timedelta, states: Iterable[JobState] = (), *, dry_run: bool = False
    ) -> Pruned:
        """As `Client.prune`."""
        farm = self._connection
        request = rpc.PruneJobsRequest(
            states=[pb.Job.State.Value(state) for state in states], dry_run=dry_run
        )
        request.older_than.FromTimedelta(older_than)
        return wire.pruned_from_wire(await farm.call(farm.render.PruneJobs, request))

    def workers(self) -> AsyncGenerator[Worker, None]:
        """As `Client.workers`."""
        farm = self._connection
        request = worker_rpc.ListWorkersRequest(page_size=PAGE_SIZE)
        return list_all(
            farm,
            farm.workers.ListWorkers,
            request,
            lambda page: map(wire.worker_from_wire, page.workers),
        )

    async def drain_worker(self, name: str) -> Worker:
        """As `Client.drain_worker`."""
        farm = self._connection
        request = worker_rpc.DrainWorkerRequest(name=wire.worker_name(name))
        return wire.worker_from_wire(await farm.call(farm.workers.DrainWorker, request))

    async def uncordon_worker(self, name: str) -> Worker:
        """As `Client.uncordon_worker`."""
        farm = self._connection
        request = worker_rpc.UncordonWorkerRequest(name=wire.worker_name(name))
        return wire.worker_from_wire(await farm.call(farm.workers.UncordonWorker, request))

    async def create_tenant(
        self,
        name: str,
        *,
        display_name: str = "",
        weight: float = 1.0,
        limits: Mapping[str, float | None] = NO_LIMITS,
    ) -> Tenant:
        """As `Client.create_tenant`."""
        farm = self._connection
        request = tenants.create_request(name, display_name, weight, limits)
        return tenants.tenant_from_wire(await farm.call(farm.tenants.CreateTenant, request))

    async def update_tenant(
        self,
        name: str,
        *,
        display_name: str | None = None,
        weight: float | None = None,
        limits: Mapping[str, float | None] = NO_LIMITS,
    ) -> Tenant:
        """As `Client.update_tenant`."""
        farm = self._connection
        request = tenants.update_request(name, display_name, weight, limits)
        return tenants.tenant_from_wire(await farm.call(farm.tenants.UpdateTenant, request))

    async def tenant(self, name: str) -> Tenant:
        """As `Client.tenant`."""
        farm = self._connection
        request = tenants.get_request(name)
        return tenants.tenant_from_wire(await farm.call(farm.tenants.GetTenant, request))

    def tenants(self) -> AsyncGenerator[Tenant, None]:
        """As `Client.tenants`."""
        farm = self._connection
        request = tenant_rpc.ListTenantsRequest(page_size=PAGE_SIZE)
        return list_all(
            farm,
            farm.tenants.ListTenants,
            request,
            lambda page: map(tenants.tenant_from_wire, page.tenants),
        )

    async def create_token(
        self,
        display_name: str,
        scopes: Iterable[str],
        *,
        tenant: str = "",
        expires_in: timedelta | None = None,
    ) -> NewToken:
        """As `Client.create_token`."""
        farm = self._connection
        request = tokens.create_request(display_name, scopes, tenant, expires_in)
        made = await farm.call(farm.tokens.CreateToken, request)
        return NewToken(tokens.token_from_wire(made.token), made.text)

    def tokens(self) -> AsyncGenerator[Token, None]:
        """As `Client.tokens`."""
        farm = self._connection
        request = token_rpc.ListTokensRequest(page_size=PAGE_SIZE)
        return list_all(
            farm,
            farm.tokens.ListTokens,
            request,
            lambda page: map(tokens.token_from_wire, page.tokens),
        )

    async def revoke_token(self, name: str) -> Token:
        """As `Client.revoke_token`."""
        farm = self._connection
        request = tokens.revoke_request(name)
        return tokens.token_from_wire(await farm.call(farm.tokens.RevokeToken, request))

    async def whoami(self) -> Identity:
        """As `Client.whoami`."""
        farm = self._connection
        answer = await farm.call(farm.tokens.WhoAmI, token_rpc.WhoAmIRequest())
        return tokens.identity_from_wire(answer)

    async def download(
        self,
        video: str | Video,
        path: str | Path,
        *,
        overwrite: bool = False,
        progress: OnBytes | None = None,
    ) -> Path:
        """As `Client.download`."""
        found = video if isinstance(video, Video) else await self._video(video)
        path = Path(path)
        await downloading.save(
            self._connection, found, path, overwrite=overwrite, progress=progress
        )
        return path

    async def image(self, sha256: str) -> bytes:
        """As `Client.image`."""
        return await downloading.receive_image(self._connection, sha256)

    async def _video(self, name: str) -> Video:
        farm = self._connection
        request = rpc.GetShotRequest(name=name.removesuffix("/video"))
        shot = wire.shot_from_wire(await farm.call(farm.render.GetShot, request))
        if shot.video is None:
            raise NotFound(f"{shot.name} is {shot.state}: it has no video")
        return replace(shot.video, name=f"{shot.name}/video")
