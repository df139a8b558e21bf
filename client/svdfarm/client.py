"""The way in: a client of one farm."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from datetime import timedelta
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Self

from svdfarm.async_client import AsyncClient
from svdfarm.blocking import BlockingConnection, iterate, run
from svdfarm.jobs import JobHandle
from svdfarm.params import RenderParams
from svdfarm.patience import OnWaiting
from svdfarm.resources import Estimate, Job, JobState, OnBytes, Pruned, Video, Worker
from svdfarm.submitting import Submission
from svdfarm.tenants import NO_LIMITS, Tenant
from svdfarm.tokens import Identity, NewToken, Token


class Client:
    """A client of the farm at `address`.

    Every method raises errors of `svdfarm.errors` only. A farm that is away is tried again for
    `connect_timeout_s`; nothing else is ever repeated. Threads may share a client.

        with Client() as client:
            for video in client.submit("rocket.jpg", params=RenderParams(seed=42)).videos():
                video.save("out/")
    """

    def __init__(
        self,
        address: str = "127.0.0.1:50051",
        token: str | None = None,
        *,
        connect_timeout_s: float = 20.0,
        call_timeout_s: float = 60.0,
        on_waiting: OnWaiting | None = None,
        tls_ca: str | PathLike[str] | bytes | None = None,
        tls_cert: str | PathLike[str] | None = None,
        tls_key: str | PathLike[str] | None = None,
        tls_server_name: str | None = None,
        plaintext: bool = False,
    ) -> None:
        """`address` is grpcs://HOST:PORT for a farm with TLS, else HOST:PORT.

        `on_waiting(reason, limit_s)` is called when waiting for an absent farm begins. `tls_ca`
        is the CA of the farm's certificate, PEM as a file or as bytes, where gRPC does not know
        it; `tls_cert` and `tls_key` are files of what this client shows, where the farm asks;
        `tls_server_name` is what the farm's certificate must name, where not the host. A token
        goes to another machine without TLS only with `plaintext`. Raises Rejected for what
        cannot be used.
        """
        self._client = _BlockingClient(
            address,
            token,
            connect_timeout_s=connect_timeout_s,
            call_timeout_s=call_timeout_s,
            on_waiting=on_waiting,
            tls_ca=tls_ca,
            tls_cert=tls_cert,
            tls_key=tls_key,
            tls_server_name=tls_server_name,
            plaintext=plaintext,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection and every stream on it. Jobs go on."""
        run(self._client.close())

    def submit(
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
    ) -> JobHandle:
        """Submits one job: all shots are accepted, or an error is raised and none is.

        `shots` is an image, a NewShot, or any number of either; `params` is for bare images. All
        images are read and checked before anything is sent. `progress(bytes so far, bytes in all)`
        is called after each image that the farm has. A shot that the farm has rendered before, from
        the same image, settings, seed and model, gets that video, unless `use_cache` is off. A
        second submission with the same `request_id` (a UUID4) returns the first one's job.
        `webhook` is a URL that the farm tells of each ending of the job: see docs/WEBHOOKS.md.
        """
        job = self._client.submit(
            shots,
            params=params,
            display_name=display_name,
            priority=priority,
            webhook=webhook,
            request_id=request_id,
            use_cache=use_cache,
            progress=progress,
        )
        return JobHandle(run(job))

    def estimate(
        self,
        shots: Submission | Iterable[Submission],
        *,
        params: RenderParams | None = None,
        priority: int = 0,
        use_cache: bool = True,
    ) -> Estimate:
        """What a job would take, by what the farm has rendered before. No image is sent.

        Raises as `submit`: a job that would be refused is refused.
        """
        job = self._client.estimate(shots, params=params, priority=priority, use_cache=use_cache)
        return run(job)

    def job(self, name: str) -> JobHandle:
        """The job called `jobs/ID` or `ID`."""
        return JobHandle(self._client.job(name))

    def jobs(self) -> Generator[Job, None, None]:
        """All jobs, newest first."""
        return iterate(self._client.jobs())

    def prune(
        self, older_than: timedelta, states: Iterable[JobState] = (), *, dry_run: bool = False
    ) -> Pruned:
        """Deletes jobs that ended longer ago than that, and what nothing uses; tells how much.

        `states` narrows the jobs down to those that ended so. With `dry_run` nothing is deleted.
        Raises Rejected for a state in which no job ends.
        """
        return run(self._client.prune(older_than, states, dry_run=dry_run))

    def workers(self) -> Generator[Worker, None, None]:
        """All workers that the farm knows of."""
        return iterate(self._client.workers())

    def drain_worker(self, name: str) -> Worker:
        """Lets a worker end its shot and gives it no other. Raises NotFound."""
        return run(self._client.drain_worker(name))

    def uncordon_worker(self, name: str) -> Worker:
        """Gives a cordoned worker shots again. Raises NotFound."""
        return run(self._client.uncordon_worker(name))

    def create_token(
        self,
        display_name: str,
        scopes: Iterable[str],
        *,
        tenant: str = "",
        expires_in: timedelta | None = None,
    ) -> NewToken:
        """A new token for somebody else; its text is told here, and never again.

        `scopes` are of `svdfarm.Scope`; without `tenant` it is `default`, and without `expires_in`
        the token is good until it is revoked. A farm's first token has to be an operator's that
        never expires. Raises Rejected.
        """
        made = self._client.create_token(display_name, scopes, tenant=tenant, expires_in=expires_in)
        return run(made)

    def tokens(self) -> Generator[Token, None, None]:
        """All tokens, the oldest first, revoked and expired ones too."""
        return iterate(self._client.tokens())

    def revoke_token(self, name: str) -> Token:
        """Makes a token (`tokens/ID`, `ID` or all of it) good for nothing, within a minute.

        Again is no error. Raises NotFound, and Rejected where no operator could get in without it.
        """
        return run(self._client.revoke_token(name))

    def whoami(self) -> Identity:
        """Who this client is to the farm."""
        return run(self._client.whoami())

    def create_tenant(
        self,
        name: str,
        *,
        display_name: str = "",
        weight: float = 1.0,
        limits: Mapping[str, float | None] = NO_LIMITS,
    ) -> Tenant:
        """A new tenant, for operators: whose jobs, images and videos nobody else sees.

        `weight` is its part of the farm beside those of others; `limits` has those of
        `TenantLimits` by name, such as {"max_queued_shots": 5000}. Raises Rejected.
        """
        return run(
            self._client.create_tenant(
                name, display_name=display_name, weight=weight, limits=limits
            )
        )

    def update_tenant(
        self,
        name: str,
        *,
        display_name: str | None = None,
        weight: float | None = None,
        limits: Mapping[str, float | None] = NO_LIMITS,
    ) -> Tenant:
        """Changes what is given of a tenant (`tenants/NAME` or `NAME`); a limit of None is lifted.

        It holds within seconds. Raises NotFound, Rejected.
        """
        return run(
            self._client.update_tenant(
                name, display_name=display_name, weight=weight, limits=limits
            )
        )

    def tenant(self, name: str) -> Tenant:
        """One tenant, and what it has taken. Raises NotFound."""
        return run(self._client.tenant(name))

    def tenants(self) -> Generator[Tenant, None, None]:
        """All tenants, by name."""
        return iterate(self._client.tenants())

    def download(
        self,
        video: str | Video,
        path: str | Path,
        *,
        overwrite: bool = False,
        progress: OnBytes | None = None,
    ) -> Path:
        """Saves a video (`jobs/ID/shots/ID/video`, or a Video) at `path`, whole or not at all.

        As `FinishedVideo.save`, but that `path` is the file's.
        """
        return run(self._client.download(video, path, overwrite=overwrite, progress=progress))

    def image(self, sha256: str) -> bytes:
        """An uploaded image's bytes, checked. Raises NotFound, DownloadBroken."""
        return run(self._client.image(sha256))


class _BlockingClient(AsyncClient):
    _connection_kind = BlockingConnection
