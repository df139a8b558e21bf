"""The farm at FARM_ADDRESS, if there is one, and its workers."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from farm import __version__
from farm.cli.connecting import Secured, as_arguments
from farm.cli.doctor.check import Check, fail, ok, warn
from farm.cli.doctor.ports import Bound, probe_port, unbindable
from farm.cli.tables import model_name
from farm.gateway.config import Address, ConfigInvalid
from svdfarm import Client, Worker, errors
from svdfarm.resources import WorkerState
from svdfarm.target import PLAIN, SECURE

_TIMEOUT_S = 3.0
_MOST_WORKERS = 1000


@dataclass(frozen=True)
class Answer:
    """What the gateway said: its workers, or an error of the SDK."""

    workers: tuple[Worker, ...] = ()
    error: errors.SvdfarmError | None = None


def check_gateway(
    text: str,
    token: str | None,
    secured: Secured | None = None,
    worker_address: str | None = None,
) -> list[Check]:
    """The check of the farm's address, and of each worker."""
    try:
        address = Address.parse(text.removeprefix(SECURE).removeprefix(PLAIN))
    except ConfigInvalid as error:
        return [fail("gateway", str(error), "Correct --address, FARM_ADDRESS or farm.toml.")]
    bound = probe_port(address)
    answer = None if bound in (Bound.FREE, Bound.FORBIDDEN) else ask(text, token, secured)
    return judge_gateway(address, bound, answer, for_workers(text, address, worker_address))


def for_workers(text: str, address: Address, worker_address: str | None) -> str:
    """What workers on other machines dial, as far as it can be known here."""
    scheme = SECURE if text.startswith(SECURE) else ""
    if not worker_address:
        return f"{scheme}{address}"
    try:
        dialled = Address.parse(worker_address)
    except ConfigInvalid:  # told by the gateway
        return f"{scheme}{address}"
    host = platform.node() if dialled.is_unspecified else dialled.host
    return f"{scheme}{Address(host, dialled.port)}"


def ask(address: str, token: str | None, secured: Secured | None = None) -> Answer:
    """Asks once who the workers are."""
    secured = secured or as_arguments(None, plaintext=False)
    try:
        with Client(
            address, token, connect_timeout_s=0, call_timeout_s=_TIMEOUT_S, **secured
        ) as client:
            return Answer(tuple(islice(client.workers(), _MOST_WORKERS)))
    except errors.SvdfarmError as error:
        return Answer(error=error)


def judge_gateway(
    address: Address, bound: Bound, answer: Answer | None, for_workers: str
) -> list[Check]:
    """Is there a farm, does it let us in, and who works for it?"""
    if answer is None:
        if bound is Bound.FREE:
            return [ok("gateway", f"{address} is free: no farm runs there")]
        return [unbindable("gateway", address, bound, "--address")]
    match answer.error:
        case None:
            return [
                _gateway(address, answer.workers, for_workers),
                *map(judge_worker, answer.workers),
            ]
        case errors.Unauthenticated(reason="SCOPE_MISSING"):
            told = "its workers are for a token with scope operate"
            return [ok("gateway", f"a farm answers at {address} and knows the token; {told}")]
        case errors.Unauthenticated():
            found = f"the farm at {address} refuses the token, or wants one: {answer.error}"
            advice = "Set FARM_TOKEN to the one that you were given."
        case errors.TlsFailed():
            found = str(answer.error)
            advice = "A farm's TLS is of its FARM_TLS_CERT; what is trusted here, of FARM_TLS_CA."
        case errors.Rejected():
            found, advice = str(answer.error), "Correct FARM_TOKEN, or the address."
        case errors.FarmFailed() | errors.ResourceExhausted():
            found = str(answer.error)
            advice = "See the gateway's log; if it is no farm, give this one another --address."
        case _ if bound is Bound.TAKEN:
            return [unbindable("gateway", address, bound, "--address")]
        case _:
            found = str(answer.error)
            advice = "Start a farm there, or name another with --address or FARM_ADDRESS."
    return [fail("gateway", found, advice)]


def _gateway(address: Address, workers: Sequence[Worker], for_workers: str) -> Check:
    tls = ", with TLS" if for_workers.startswith(SECURE) else ""
    found = f"a farm answers at {address}{tls}"
    count = len(workers)
    active = sum(worker.state is WorkerState.ACTIVE for worker in workers)
    if not workers:
        advice = f"Start some on each GPU machine: farm worker --gateway {for_workers}."
        return warn("gateway", f"{found}; no worker is connected", advice)
    told = f"{found}; {active} of {count} {'worker' if count == 1 else 'workers'} active"
    if not active:
        return warn("gateway", told, "Wait for the others, or start more: farm worker.")
    return ok("gateway", told)


def judge_worker(worker: Worker) -> Check:
    """Is it well?"""
    models = ", ".join(model_name(model.name) for model in worker.models) or "no model"
    name = worker.name.removeprefix("workers/")
    found = f"{name} {worker.state}, {worker.device}, {models}, {worker.shot or 'idle'}"
    if worker.error is not None or worker.state is WorkerState.FAILED:
        why = worker.error.message if worker.error is not None else "it does not say why"
        advice = f"See the log of the workers on {worker.hostname}; Ray starts another."
        return fail("worker", f"{found}: {why}", advice)
    if worker.version != __version__:
        found += f", svdfarm {worker.version}"
        advice = f"This command is {__version__}: install one version everywhere."
        return warn("worker", found, advice)
    return ok("worker", found)
