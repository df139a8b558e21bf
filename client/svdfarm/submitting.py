"""From images and settings to a job on the farm."""

from __future__ import annotations

import os
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, cast

from svdfarm import images, tracing, wire
from svdfarm.connection import Connection
from svdfarm.errors import ImageRejected, NotFound, Rejected, ShotRejected, Violation
from svdfarm.images import Image, ImageSource
from svdfarm.params import RenderParams
from svdfarm.resources import Estimate, OnBytes, Shot
from svdfarm.v1 import render_service_pb2 as rpc
from svdfarm.v1 import resources_pb2 as pb

SHOT_LIMIT = 10_000
CHUNK_BYTES = 256 * 2**10


@dataclass(frozen=True)
class NewShot:
    """One image to animate. A glob as `image` makes one shot per file."""

    image: ImageSource | Image
    params: RenderParams = field(default_factory=RenderParams)
    name: str = ""  # unset: the image's file name
    output_name: str = ""  # unset: the shot's name and the codec's extension

    @classmethod
    def again(cls, shot: Shot, **changes: Any) -> NewShot:
        """A shot of the farm once more, with `changes` of its settings; None is the default.

        Its image is the one that the farm has: it need not be here. With another codec its crf,
        which means something else there, and its output name, which has the old one's extension,
        are left to the farm.
        """
        output_name = shot.output_name
        if changes.get("codec", shot.params.codec) != shot.params.codec:
            changes = {"crf": None, **changes}
            output_name = ""
        params = replace(shot.params, **changes)
        return cls(images.on_farm(shot.image), params, shot.display_name, output_name)


Submission = ImageSource | NewShot


@dataclass(frozen=True)
class PreparedShot:
    """A shot whose image was read and checked."""

    image: Image
    message: pb.Shot


async def submit(
    connection: Connection,
    shots: Submission | Iterable[Submission],
    *,
    params: RenderParams,
    display_name: str,
    priority: int,
    webhook: str,
    request_id: str | None,
    use_cache: bool,
    progress: OnBytes | None,
) -> str:
    """The name of the job: all shots are accepted, or an error is raised and none is.

    `params` is for shots that bring none. Safe to repeat with one `request_id`.
    """
    with tracing.submitting("submit"):
        prepared = await _prepare(connection, shots, params)
        await _upload(connection, prepared, progress)
        request = rpc.CreateJobRequest(
            job=pb.Job(display_name=display_name, priority=priority, webhook=webhook),
            shots=[shot.message for shot in prepared],
            request_id=request_id or str(uuid.uuid4()),
            skip_cache=not use_cache,
        )
        return (await connection.call(connection.render.CreateJob, request)).name


async def estimate(
    connection: Connection,
    shots: Submission | Iterable[Submission],
    *,
    params: RenderParams,
    priority: int,
    use_cache: bool,
) -> Estimate:
    """What the job would take. Raises as `submit`."""
    prepared = await _prepare(connection, shots, params)
    request = rpc.EstimateJobRequest(
        job=pb.Job(priority=priority),
        shots=[shot.message for shot in prepared],
        skip_cache=not use_cache,
    )
    return wire.estimate_from_wire(await connection.call(connection.render.EstimateJob, request))


async def _prepare(
    connection: Connection, shots: Submission | Iterable[Submission], params: RenderParams
) -> Sequence[PreparedShot]:
    """`shots` with every image read, checked and hashed.

    Raises ShotRejected that names all shots at fault: nothing was sent yet.
    """
    prepared: list[PreparedShot] = []
    violations: list[Violation] = []
    for index, given in enumerate(_each(shots)):
        shot = given if isinstance(given, NewShot) else NewShot(given, params)
        try:
            prepared += await connection.aside(partial(_load, shot))
        except ImageRejected as error:
            violations.append(Violation(f"shots[{index}].image", f"cannot be used: {error}"))
        except ValueError as error:
            violations.append(Violation(f"shots[{index}]", str(error)))
    if violations:
        raise ShotRejected("; ".join(map(str, violations)), violations=violations)
    if not 0 < len(prepared) <= SHOT_LIMIT:
        raise Rejected(f"{len(prepared)} shots; allowed: from 1 to {SHOT_LIMIT}")
    _name(prepared)
    return prepared


async def _upload(
    connection: Connection, prepared: Sequence[PreparedShot], progress: OnBytes | None
) -> None:
    """Sends every image that the farm has not got. Raises ShotRejected for one it refuses."""
    images = {shot.image.sha256: shot.image for shot in prepared}.values()
    size_bytes, done_bytes = sum(image.size_bytes for image in images), 0
    async with aclosing(connection.at_once(partial(_send, connection), images)) as sent:
        async for image, refusal in sent:
            if refusal is not None:
                raise _blame(prepared, image, refusal) from refusal
            done_bytes += image.size_bytes
            if progress is not None and size_bytes:  # none where the farm has them all
                progress(done_bytes, size_bytes)


def _each(shots: Submission | Iterable[Submission]) -> Iterable[Submission]:
    if isinstance(shots, str | os.PathLike | bytes | NewShot) or hasattr(shots, "save"):
        return [cast(Submission, shots)]
    return shots


def _load(shot: NewShot) -> Sequence[PreparedShot]:
    found = [shot.image] if isinstance(shot.image, Image) else images.load(shot.image)
    if len(found) > 1 and (shot.name or shot.output_name):
        raise ValueError(f"{len(found)} files match {shot.image!r}: they cannot share one name")
    params = wire.params_to_wire(shot.params)
    return [
        PreparedShot(
            image,
            pb.Shot(
                image=f"images/{image.sha256}",
                params=params,
                display_name=shot.name,
                output_name=shot.output_name,
            ),
        )
        for image in found
    ]


def _name(prepared: Sequence[PreparedShot]) -> None:
    """Names the shots without a name after their images; of one image, rocket and rocket-2."""
    taken = {shot.message.display_name.casefold() for shot in prepared}
    seen: Counter[str] = Counter()
    for shot in prepared:
        stem = wire.plain_name(shot.image.stem)
        if shot.message.display_name or not stem:
            continue  # without a file name either, the farm finds one
        name = ""
        while not name or name.casefold() in taken:
            seen[stem] += 1
            name = stem if seen[stem] == 1 else f"{stem}-{seen[stem]}"
        taken.add(name.casefold())
        shot.message.display_name = name


async def _send(connection: Connection, image: Image) -> tuple[Image, Rejected | None]:
    """The image, which the farm has now, with the farm's refusal if it refuses it."""
    try:
        request = rpc.GetImageRequest(name=f"images/{image.sha256}")
        await connection.call(connection.render.GetImage, request)
    except NotFound:
        try:
            data = await connection.aside(image.read)
            await connection.send(connection.render.UploadImage, lambda: _chunks(data))
        except Rejected as error:
            return image, error
    return image, None


def _blame(prepared: Sequence[PreparedShot], image: Image, refusal: Rejected) -> ShotRejected:
    shots = [n for n, shot in enumerate(prepared) if shot.image.sha256 == image.sha256]
    message = f"cannot be used: {image.origin}: {refusal}"
    violations = [Violation(f"shots[{n}].image", message) for n in shots]
    return ShotRejected(
        str(violations[0]),
        violations=violations,
        reason=refusal.reason,
        metadata=refusal.metadata,
    )


def _chunks(data: bytes) -> Iterator[rpc.UploadImageRequest]:
    for start in range(0, len(data), CHUNK_BYTES):
        yield rpc.UploadImageRequest(data=data[start : start + CHUNK_BYTES])
