"""Shots in little for `submit --draft`, and whole again for `promote`."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence

from farm.cli import tables
from farm.cli.exits import CommandFailed
from farm.cli.jobs_file.plan import Plan
from farm.jobs import draft
from farm.jobs.params import KNOWN_MODELS, SVD_XT, ModelInfo, RenderParams
from svdfarm import Client, NewShot, Shot, errors


def in_little(plan: Plan) -> Plan:
    """The plan under the names of its drafts."""
    shots = [
        dataclasses.replace(shot, output_name=f"{draft.PREFIX}{shot.output_name}")
        for shot in plan.shots
    ]
    return dataclasses.replace(plan, shots=shots)


def shrink(client: Client, plan: Plan) -> Plan:
    """The plan with every shot in little, its model named as its size was made for that one.

    Raises CommandFailed for a model that nobody knows.
    """
    served = _served(client)
    known = _known(served)
    usual = Counter(model.name for model in served).most_common(1)
    default = usual[0][0] if usual else SVD_XT.name
    shots = []
    for shot in plan.shots:
        name = shot.params.model or default
        if name not in known:
            raise CommandFailed(f"{shot.where}: no worker of this farm serves the model {name!r}")
        params = dataclasses.replace(shot.params, model=name)
        shots.append(dataclasses.replace(shot, params=draft.draft_of(params, known[name])))
    return dataclasses.replace(plan, shots=shots)


def whole(
    client: Client, picks: Sequence[Shot], sides_px: tuple[int, int] | None, steps: int | None
) -> list[NewShot]:
    """The picks at a size and steps; None is what each one's model has of its own.

    Raises CommandFailed where a pick is no draft of that: its own size and steps are not known.
    """
    known = _known(_served(client))
    promoted = []
    for shot in picks:
        model = known.get(shot.params.model or "")
        _check(shot, model, sized=sides_px is not None, stepped=steps is not None)
        own = (model.width_px, model.height_px) if model else (0, 0)
        width_px, height_px = sides_px or own
        again = NewShot.again(
            shot,
            width_px=width_px,
            height_px=height_px,
            step_count=steps or (model.step_count if model else 0),
        )
        name = again.output_name.removeprefix(draft.PREFIX)
        promoted.append(dataclasses.replace(again, output_name=name))
    return promoted


def describe(shots: Sequence[NewShot]) -> str:
    """How many of which size and steps, as a person is told before they are rendered."""
    kinds = Counter(
        (shot.params.model, shot.params.width_px, shot.params.height_px, shot.params.step_count)
        for shot in shots
    )
    return ", ".join(
        f"{n} shot{'s' * (n > 1)} of {tables.printable(model or '')} at {width}x{height} "
        f"in {steps} step{'s' * ((steps or 0) > 1)}"
        for (model, width, height, steps), n in kinds.items()
    )


def _check(shot: Shot, model: ModelInfo | None, *, sized: bool, stepped: bool) -> None:
    params, missing, own = shot.params, [], []
    little = draft.draft_of(RenderParams(), model) if model else RenderParams()
    if not sized and (params.width_px, params.height_px) != (little.width_px, little.height_px):
        missing.append("--size WxH")
        own += [f"{model.width_px}x{model.height_px}"] if model else ["size"]
    if not stepped and params.step_count != little.step_count:
        missing.append("--steps N")
        own += [f"{model.step_count} steps"] if model else ["steps"]
    if not missing:
        return
    made = f"{params.width_px}x{params.height_px}, {params.step_count} steps"
    name = params.model
    told = f"was not made from {name}'s own {' and '.join(own)}"
    if model is None:
        told = f"is of {name}, whose own {' and '.join(own)} are not known here"
    raise CommandFailed(
        f"{shot.display_name} ({made}): this draft {told}: say {' and '.join(missing)}"
    )


def _served(client: Client) -> list[ModelInfo]:
    """The models of the workers; none for a token that may not see those."""
    try:
        workers = list(client.workers())
    except errors.Unauthenticated as error:
        if error.reason != "SCOPE_MISSING":
            raise
        return []
    return [
        ModelInfo(model.name, model.width_px, model.height_px, model.frame_count, model.step_count)
        for worker in workers
        for model in worker.models
    ]


def _known(served: Sequence[ModelInfo]) -> Mapping[str, ModelInfo]:
    return {**KNOWN_MODELS, **{model.name: model for model in served}}
