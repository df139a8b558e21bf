"""What users send, checked: images, and jobs with their shots. All or nothing."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import secrets
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import grpc
import structlog

from farm.container.image import MAX_IMAGE_BYTES
from farm.container.parts import Size
from farm.gateway import names
from farm.gateway.convert import image_to_wire
from farm.gateway.wall import Refusal, Violation, invalid, invalid_fields
from farm.jobs.cache import cache_key
from farm.jobs.names import NameInvalid, check_output_name, check_shot_name
from farm.jobs.params import (
    MAX_SHOTS_PER_JOB,
    SEED_MAX,
    ModelInfo,
    problems,
    resolve,
)
from farm.jobs.retention import GRACE_S, Policy
from farm.jobs.states import FINAL_JOB_STATES, REQUEUED_STATES, JobState, ShotState
from farm.jobs.webhooks import WebhookInvalid, Webhooks, read_url
from farm.render.errors import ImageRejected
from farm.render.sandbox.images import measure_image
from farm.render.sandbox.pool import POOL, Cancellation
from farm.store import deletion, inputs, quotas
from farm.store.errors import NotFound, QuotaExceeded
from farm.store.records import Image, NewJob, NewShot, image_key
from farm.store.store import Store
from farm.wire import WordUnknown, params_from_wire
from svdfarm.v1 import render_service_pb2 as pb
from svdfarm.v1 import resources_pb2

log = structlog.get_logger()

JOB_FIELDS = ("display_name", "priority")  # what a caller may set in a job


async def receive_image(
    store: Store,
    requests: AsyncIterator[pb.UploadImageRequest],
    decoders: asyncio.Semaphore,
    check_room: Callable[[], None],
    tenant: str,
) -> resources_pb2.Image:
    """Reads, checks and stores one image of a tenant's; the same bytes twice make one.

    The bytes wait on disk, and `decoders` says how many are decoded at a time: many uploads at
    once cost no memory. `check_room` raises where the disk is low: it is asked before each part is
    written, as many uploads that began with room may fill what is kept back. Raises QuotaExceeded.
    """
    read = store.database.read
    await read(quotas.check_bytes, tenant, 1)
    path = store.spool / f"{uuid.uuid4().hex}.image"
    try:
        sha256, size_bytes = await _spool(path, requests, check_room)
        async with decoders:
            size = await _measure(path)
        check_room()  # it is copied to where it stays
        if not await read(inputs.owns, sha256, tenant):
            await read(quotas.check_bytes, tenant, size_bytes)
        image = Image(sha256, size_bytes, *size)
        now_s = store.clock.wall_s()
        key = image_key(sha256)
        try:
            await store.publish(key, path, inputs.put_image, image, now_s, tenant=tenant)
        except QuotaExceeded:  # another upload was faster
            await store.database.write(deletion.note_unnamed, [key])
            raise
    except ImageRejected as error:
        raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, str(error), "IMAGE_REJECTED") from error
    finally:
        path.unlink(missing_ok=True)
    return image_to_wire(image)


async def _measure(path: Path) -> Size:
    """The image's size, by a process that decodes it and has ended, whoever gives up waiting."""
    for layer in await asyncio.to_thread(POOL.untold):
        log.warning("images.exposed", missing=layer)
    cancellation = Cancellation()
    measuring = asyncio.ensure_future(asyncio.to_thread(measure_image, path, cancellation))
    try:
        return await asyncio.shield(measuring)
    except asyncio.CancelledError:
        cancellation.cancel()
        await asyncio.wait([measuring])
        measuring.exception()  # taken note of, and of no use to anybody
        raise


async def find_image(store: Store, sha256: str, sees: str | None) -> Image:
    """An image that is here, and will be for as long as it takes to send its job.

    Raises NotFound.
    """
    read, write = store.database.read, store.database.write
    image = await read(inputs.get_image, sha256, sees=sees)
    now_s = store.clock.wall_s()
    # Not at each question: most images are asked for by many jobs.
    noted = await read(inputs.is_wanted_since, sha256, now_s - GRACE_S / 2, sees=sees)
    if not noted and not await write(inputs.want_image, sha256, now_s, sees=sees):
        raise NotFound("image", f"images/{sha256}")  # it was collected in between
    return image


async def _spool(
    path: Path, requests: AsyncIterator[pb.UploadImageRequest], check_room: Callable[[], None]
) -> tuple[str, int]:
    digest, size_bytes = hashlib.sha256(), 0
    with path.open("wb") as file:
        async for request in requests:
            size_bytes += len(request.data)
            if size_bytes > MAX_IMAGE_BYTES:
                raise Refusal(
                    grpc.StatusCode.RESOURCE_EXHAUSTED,
                    f"the image has more than {MAX_IMAGE_BYTES} bytes; send a smaller file",
                    "IMAGE_TOO_LARGE",
                    {"limit_bytes": str(MAX_IMAGE_BYTES)},
                )
            check_room()
            digest.update(request.data)
            file.write(request.data)
    return digest.hexdigest(), size_bytes


def read_job(
    request: pb.CreateJobRequest,
    models: Mapping[str, ModelInfo],
    default_model: str,
    webhooks: Webhooks,
    tenant: str,
) -> NewJob:
    """The job that a request of `tenant` describes, every parameter resolved. Raises Refusal."""
    if not 1 <= len(request.shots) <= MAX_SHOTS_PER_JOB:
        raise invalid("shots", f"has {len(request.shots)}; allowed: from 1 to {MAX_SHOTS_PER_JOB}")
    violations = list(_job_violations(request.job, JOB_FIELDS))
    violations += _webhook_violations(request.job.webhook, webhooks)
    shots = []
    for index, message in enumerate(request.shots):
        try:
            shot = _read_shot(index, message, models, default_model)
            shots.append(dataclasses.replace(shot, cache_key=None) if request.skip_cache else shot)
        except Refusal as refusal:
            violations += refusal.violations
    violations += _repeated_output_names(shots)
    if violations:
        raise invalid_fields(tuple(violations))
    return NewJob(
        display_name=request.job.display_name,
        priority=request.job.priority,
        shots=tuple(shots),
        request_id=names.request_id(request.request_id),
        request_sha256=_content_sha256(request),
        webhook=request.job.webhook or None,
        tenant=tenant,
    )


def _content_sha256(request: pb.CreateJobRequest) -> str:
    content = pb.CreateJobRequest(
        job=request.job, shots=request.shots, skip_cache=request.skip_cache
    )
    return hashlib.sha256(content.SerializeToString(deterministic=True)).hexdigest()


def read_update(request: pb.UpdateJobRequest) -> dict[str, Any]:
    """What is to be changed in a job: field to new value. Raises Refusal."""
    paths = request.update_mask.paths
    wrong = [path for path in paths if path not in JOB_FIELDS]
    if wrong or not paths:
        given = f"has {wrong[0]!r}" if wrong else "is empty"
        raise invalid("update_mask", f"{given}; allowed: {', '.join(JOB_FIELDS)}")
    violations = tuple(_job_violations(request.job, paths))
    if violations:
        raise invalid_fields(violations)
    return {path: getattr(request.job, path) for path in paths}


def read_requeue(request: pb.RequeueJobRequest) -> tuple[set[ShotState], set[int]]:
    """Shots of which states, and which by their numbers, are to be requeued. Raises Refusal."""
    known = resources_pb2.Shot.State
    given = (_state_name(dict(known.items()), state) for state in request.states)
    states = set()
    for name in given:
        if name not in REQUEUED_STATES:
            allowed = ", ".join(sorted(REQUEUED_STATES))
            raise invalid("states", f"has {name}; allowed: {allowed}")
        states.add(ShotState(name))
    return states or {ShotState.FAILED}, read_shot_numbers(request)


def read_shot_numbers(request: pb.RequeueJobRequest | pb.CancelJobRequest) -> set[int]:
    """The numbers of the shots that a request about a job names. Raises Refusal."""
    numbers = set()
    for index, name in enumerate(request.shots):
        key = names.shot_key(name, f"shots[{index}]")
        if f"jobs/{key.job_id}" != request.name:
            raise invalid(f"shots[{index}]", f"is {name!r}; allowed: shots of {request.name}")
        numbers.add(key.number)
    return numbers


def read_prune(request: pb.PruneJobsRequest) -> Policy:
    """Which jobs may be pruned. Raises Refusal."""
    older_than_s = request.older_than.ToNanoseconds() / 1e9
    if not request.HasField("older_than") or older_than_s < 0:
        given = f"is {older_than_s:g} s" if request.HasField("older_than") else "is missing"
        raise invalid("older_than", f"{given}; allowed: from 0 s")
    known = resources_pb2.Job.State
    states = set()
    for name in (_state_name(dict(known.items()), state) for state in request.states):
        if name not in FINAL_JOB_STATES:
            allowed = ", ".join(sorted(FINAL_JOB_STATES))
            raise invalid("states", f"has {name}; allowed: {allowed}. Cancel other jobs first")
        states.add(JobState(name))
    return Policy(older_than_s, frozenset(states) or FINAL_JOB_STATES)


def _state_name(known: Mapping[str, int], given: int) -> str:
    return next((name for name, number in known.items() if number == given), str(given))


def _job_violations(job: resources_pb2.Job, fields: Collection[str]) -> Iterator[Violation]:
    if "display_name" in fields:
        if len(job.display_name) > 128:
            yield Violation("job.display_name", "is longer than 128 characters")
        if "\0" in job.display_name:  # which PostgreSQL cannot keep
            yield Violation("job.display_name", "has a NUL character")
    if "priority" in fields and not 0 <= job.priority <= 100:
        yield Violation("job.priority", f"is {job.priority}; allowed: from 0 to 100")


def _webhook_violations(given: str, webhooks: Webhooks) -> Iterator[Violation]:
    if not given:
        return
    if not webhooks.keys:
        yield Violation(
            "job.webhook",
            "is set, and this farm tells none: its gateway needs FARM_WEBHOOK_SECRET to sign with",
        )
    try:
        read_url(given, private=webhooks.private)
    except WebhookInvalid as error:
        yield Violation("job.webhook", str(error))


def _read_shot(
    index: int,
    message: resources_pb2.Shot,
    models: Mapping[str, ModelInfo],
    default_model: str,
) -> NewShot:
    field = f"shots[{index}]"
    image_sha256 = names.image_sha256(message.image, f"{field}.image")
    try:
        given = params_from_wire(message.params)
    except WordUnknown as error:
        raise invalid(f"{field}.{error.field}", str(error)) from error
    model = models.get(given.model or default_model)
    if model is None:
        known = ", ".join(sorted(models))
        raise invalid(f"{field}.model", f"is {given.model!r}; this farm knows {known}")
    params = resolve(given, model, seed=secrets.randbelow(SEED_MAX))
    # Once more with the defaults: one of them can contradict what was given.
    found = tuple(problems(given)) or tuple(problems(params))
    if found:
        raise invalid_fields(
            tuple(
                Violation(f"{field}.{p.field}", f"is {p.given}; allowed: {p.allowed}")
                for p in found
            )
        )
    display_name = message.display_name or f"shot-{index + 1}"
    try:
        check_shot_name(display_name)
    except NameInvalid as error:
        raise invalid(f"{field}.display_name", str(error)) from error
    try:
        output_name = message.output_name or f"{display_name}.{params.container}"
        check_output_name(output_name, [params.container])
    except NameInvalid as error:
        raise invalid(f"{field}.output_name", str(error)) from error
    key = cache_key(image_sha256, params, model.identity)
    return NewShot(display_name, output_name, image_sha256, params, key)


def _repeated_output_names(shots: list[NewShot]) -> Iterator[Violation]:
    counted = Counter(shot.output_name for shot in shots)
    for index, shot in enumerate(shots):
        if counted[shot.output_name] > 1:
            yield Violation(
                f"shots[{index}].output_name",
                f"is {shot.output_name!r}, as that of {counted[shot.output_name] - 1} other "
                "shots; every video needs a name of its own",
            )
