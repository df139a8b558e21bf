"""Tells jobs' webhooks that they have ended, again and again where nobody takes the message."""

from __future__ import annotations

import asyncio
import contextlib

import structlog

from farm import __version__
from farm.gateway.post import NotAnswered, Poster
from farm.jobs.webhooks import WebhookInvalid, Webhooks, judge, read_url, sign
from farm.store import deliveries
from farm.store.deliveries import Claimed
from farm.store.store import Store

log = structlog.get_logger()

_AT_ONCE = 8
_LOOK_S = 10.0  # at least so often: another gateway's claims may have run out


class Notifier:
    """Sends what `farm.store.deliveries` has. Several gateways may: each message is claimed."""

    def __init__(self, store: Store, webhooks: Webhooks) -> None:
        self._store = store
        self._webhooks = webhooks
        self._woken = asyncio.Event()
        self._sending_count = 0

    def wake(self) -> None:
        """Has it look again: there may be something to send."""
        self._woken.set()

    async def run(self) -> None:
        """Sends until cancelled; nothing at all where there is no secret to sign with."""
        if not self._webhooks.keys:
            return
        poster = Poster(private=self._webhooks.private)
        try:
            async with asyncio.TaskGroup() as sending:
                while True:
                    self._woken.clear()
                    try:
                        wait_s = await self._send_due(poster, sending)
                    except Exception as error:  # a store that is away: it may come back
                        log.error("webhooks.failed", exc_info=error)
                        wait_s = _LOOK_S
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._woken.wait(), wait_s)
        finally:
            poster.close()

    async def _send_due(self, poster: Poster, sending: asyncio.TaskGroup) -> float:
        """Begins to send what is due; returns how long there will be nothing else."""
        database, clock = self._store.database, self._store.clock
        next_s = await database.read(deliveries.next_time_s, clock.steady_s())
        now_s, free = clock.wall_s(), _AT_ONCE - self._sending_count
        if next_s is None or not free:
            return _LOOK_S
        if next_s > now_s:
            return min(next_s - now_s, _LOOK_S)
        for claimed in await database.write(deliveries.claim, now_s, clock.steady_s(), free):
            self._sending_count += 1
            sending.create_task(self._send(poster, claimed))
        return 0.0

    async def _send(self, poster: Poster, claimed: Claimed) -> None:
        try:
            status, told = await self._post(poster, claimed)
            verdict = judge(claimed.attempt_count + 1, status)
            now_s = self._store.clock.wall_s()
            settled = await self._store.database.write(
                deliveries.settle, claimed, verdict, told, now_s
            )
            log.info(
                "webhook.told",
                job=f"jobs/{claimed.job_id}",
                id=claimed.id,
                state=verdict.state,
                message=told,
                settled=settled,
            )
        except Exception as error:  # it is sent again when its claim has run out
            log.error("webhook.failed", id=claimed.id, exc_info=error)
        finally:
            self._sending_count -= 1
            self.wake()

    async def _post(self, poster: Poster, claimed: Claimed) -> tuple[int | None, str | None]:
        """The status that the webhook answered with, and, where it took nothing, what happened."""
        time_s = int(self._store.clock.wall_s())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"svdfarm/{__version__}",
            "webhook-id": claimed.id,
            "webhook-timestamp": str(time_s),
            "webhook-signature": sign(self._webhooks.keys, claimed.id, time_s, claimed.body),
        }
        try:
            url = read_url(claimed.url, private=self._webhooks.private)
            status = await poster.post(url, headers, claimed.body)
        except WebhookInvalid as error:  # it was allowed when the job came
            return None, f"it {error}"
        except NotAnswered as error:
            return None, str(error)
        if 200 <= status < 300:
            return status, None
        redirect = ": redirects are not followed" if 300 <= status < 400 else ""
        return status, f"it answered {status}{redirect}"
