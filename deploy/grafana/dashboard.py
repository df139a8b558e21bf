"""The dashboard, as Grafana imports it: a row of panels for each question, and the gateway's own.

`make manifests` writes it where the chart and deploy/grafana have it.
"""

from __future__ import annotations

from typing import Any

Panel = dict[str, Any]

_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_FARM = 'farm="$farm"'
_MODEL = f'{_FARM}, model=~"$model"'
_WORKER = f'{_FARM}, worker=~"$worker"'
_RATE = "[$__rate_interval]"
_DONE = f'svdfarm_attempts_ended_total{{{_FARM}, outcome="SUCCEEDED"}}'


def _panel(kind: str, title: str, unit: str, about: str, *targets: tuple[str, str]) -> Panel:
    """`targets` are queries with what to call their lines, such as {{state}}."""
    return {
        "type": kind,
        "title": title,
        "description": about,
        "datasource": _SOURCE,
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": letter, "datasource": _SOURCE, "expr": query, "legendFormat": legend}
            for letter, (query, legend) in zip("ABCD", targets, strict=False)
        ],
    }


def number(title: str, query: str, unit: str = "short", about: str = "") -> Panel:
    """One figure, with its course behind it."""
    panel = _panel("stat", title, unit, about, (query, ""))
    reduced = {"calcs": ["lastNotNull"]}
    panel["options"] = {"reduceOptions": reduced, "colorMode": "value", "graphMode": "area"}
    return panel


def lines(
    title: str, *targets: tuple[str, str], unit: str = "short", about: str = "", stack: bool = False
) -> Panel:
    """Lines over time, or areas on top of each other."""
    panel = _panel("timeseries", title, unit, about, *targets)
    drawn: dict[str, Any] = {"lineWidth": 1, "fillOpacity": 20 if stack else 0}
    if stack:
        drawn["stacking"] = {"mode": "normal"}
    panel["fieldConfig"]["defaults"]["custom"] = drawn
    legend = {"displayMode": "list", "placement": "bottom"}
    panel["options"] = {"legend": legend, "tooltip": {"mode": "multi"}}
    return panel


def bars(title: str, target: tuple[str, str], unit: str, about: str = "", most: int = 1) -> Panel:
    """A bar for each series, as it is now."""
    panel = _panel("bargauge", title, unit, about, target)
    panel["fieldConfig"]["defaults"]["max"] = most
    panel["targets"][0]["instant"] = True
    reduced = {"calcs": ["lastNotNull"]}
    panel["options"] = {"reduceOptions": reduced, "orientation": "horizontal"}
    return panel


def _quantile(of: float, metric: str, by: str = "le") -> str:
    return f"histogram_quantile({of}, sum by ({by}) (rate({metric}_bucket{{{_FARM}}}{_RATE})))"


def _of_farm(metric: str, by: str, labels: str = _MODEL) -> str:
    """Each gateway tells of the whole farm: each thing once."""
    return f"sum by ({by}) (max by (state, model) ({metric}{{{labels}}}))"


def _now(metric: str, state: str) -> str:
    return f'sum(max by (state, model) ({metric}{{{_MODEL}, state="{state}"}}))'


def _stage_mean() -> str:
    took, count = (
        f"sum by (stage) (rate(svdfarm_stage_seconds_{part}{{{_FARM}}}{_RATE}))"
        for part in ("sum", "count")
    )
    return f"{took} / {count}"


def _hourly(metric: str, *labels: str) -> str:
    selected = ", ".join((_FARM, *labels))
    return f"sum by (reason) (rate({metric}{{{selected}}}{_RATE})) * 3600 > 0"


def _failing() -> str:
    ended = "svdfarm_attempts_ended_total"
    failed = f'sum(rate({ended}{{{_FARM}, outcome="FAILED"}}{_RATE}))'
    return f"{failed} / sum(rate({ended}{{{_FARM}}}{_RATE}))"


GLANCE = [
    number("Shots that wait", _now("svdfarm_shots", "QUEUED")),
    number("Shots that render", _now("svdfarm_shots", "RENDERING")),
    number("Workers that are ACTIVE", _now("svdfarm_workers", "ACTIVE")),
    number(
        "The oldest waits",
        f"max(svdfarm_queue_oldest_wait_seconds{{{_MODEL}}})",
        "s",
        "Of shots that may start: those of paused jobs are left out.",
    ),
    number("Videos an hour", f"sum(increase({_DONE}[1h]))"),
    number("Attempts that fail", _failing(), "percentunit"),
    lines(
        "Shots by state",
        (_of_farm("svdfarm_shots", "state"), "{{state}}"),
        about="Gateways tell of the whole farm; each shot is counted once.",
        stack=True,
    ),
    lines(
        "Workers by state",
        (_of_farm("svdfarm_workers", "state"), "{{state}}"),
        about="STARTING loads and compiles; FAILED is silent or could not start.",
        stack=True,
    ),
    lines(
        "Videos, and those that were there already",
        (f"sum(rate({_DONE}{_RATE})) * 3600", "rendered an hour"),
        (f"sum(rate(svdfarm_cache_hits_total{{{_FARM}}}{_RATE})) * 3600", "from the cache an hour"),
    ),
]
GPU = [
    lines(
        "How much a device is used",
        (
            f"clamp_max(rate(svdfarm_worker_busy_seconds_total{{{_WORKER}}}{_RATE}), 1)",
            "{{worker}}",
        ),
        unit="percentunit",
        about="The share of time in which a clip was on it.",
    ),
    bars(
        "Of the last 24 hours",
        (f"increase(svdfarm_worker_busy_seconds_total{{{_WORKER}}}[24h]) / 86400", "{{worker}}"),
        "percentunit",
        "Of a day: a worker that came an hour ago has 4 % at most.",
    ),
    lines(
        "GPU memory",
        (f"svdfarm_gpu_memory_used_bytes{{{_WORKER}}}", "{{worker}}"),
        (f"max(svdfarm_gpu_memory_total_bytes{{{_WORKER}}})", "of"),
        unit="bytes",
        about="None where workers render on CPUs.",
    ),
    lines(
        "Shots given to workers",
        (
            f"sum by (shape) (rate(svdfarm_claims_total{{{_FARM}}}{_RATE})) * 3600",
            "{{shape}} an hour",
        ),
        about="warm: the worker had that size and length before, and has compiled for it.",
        stack=True,
    ),
]
SLOW = [
    lines(
        "1. Does it wait? Time in the queue",
        (_quantile(0.5, "svdfarm_queue_wait_seconds"), "half wait less"),
        (_quantile(0.95, "svdfarm_queue_wait_seconds"), "95 % wait less"),
        (f"max(svdfarm_queue_oldest_wait_seconds{{{_MODEL}}})", "the oldest, now"),
        unit="s",
        about="Long: too few workers of its model, others' jobs first, or a low priority.",
    ),
    lines(
        "2. Does it render long? Time by stage",
        (_stage_mean(), "{{stage}}"),
        unit="s",
        about="The mean of shots that succeeded. A trace shows it of one shot: docs/TRACES.md.",
        stack=True,
    ),
    lines(
        "3. Is it rendered twice? Retries",
        (_hourly("svdfarm_retries_total"), "{{reason}} an hour"),
        about="docs/errors.md has the reasons.",
    ),
    lines(
        "Why attempts fail",
        (_hourly("svdfarm_attempts_ended_total", 'outcome="FAILED"'), "{{reason}} an hour"),
    ),
    lines(
        "Who takes no shots",
        (_of_farm("svdfarm_workers", "state", f'{_MODEL}, state!="ACTIVE"'), "{{state}}"),
        stack=True,
    ),
    lines(
        "Late reports",
        (f"sum(increase(svdfarm_stale_reports_total{{{_FARM}}}{_RATE}))", "refused"),
        about="Work that was done twice: its lease had run out.",
    ),
]
GATEWAY = [
    lines(
        "Calls that fail",
        (f'sum by (code) (rate(svdfarm_rpcs_total{{{_FARM}, code!="OK"}}{_RATE})) > 0', "{{code}}"),
        unit="reqps",
    ),
    lines(
        "Images and videos",
        (f"sum by (direction) (rate(svdfarm_bytes_total{{{_FARM}}}{_RATE}))", "{{direction}}"),
        unit="Bps",
    ),
    lines(
        "Disk",
        (f"min(svdfarm_disk_free_bytes{{{_FARM}}})", "free"),
        (f"max(svdfarm_disk_reserve_bytes{{{_FARM}}})", "kept back: below it nothing starts"),
        unit="bytes",
    ),
    number("The store answers", f"min(svdfarm_store_up{{{_FARM}}})", about="1: yes."),
    number("Leases", f"sum(svdfarm_leases{{{_FARM}}})"),
    number("Memory", f"max(process_resident_memory_bytes{{{_FARM}}})", "bytes"),
]
ROWS = {
    "The farm at a glance": GLANCE,
    "A GPU's day": GPU,
    "Why is my job slow": SLOW,
    "The gateway": GATEWAY,
}


def _variable(name: str, label: str, query: str, *, many: bool) -> dict[str, Any]:
    found = {
        "name": name,
        "type": "query",
        "label": label,
        "datasource": _SOURCE,
        "query": {"query": query, "refId": name},
        "includeAll": many,
        "multi": many,
        "refresh": 2,
    }
    if many:
        found |= {"allValue": ".*", "current": {"text": "All", "value": "$__all"}}
    return found


def _placed() -> list[Panel]:
    """Every panel with its place in a grid 24 wide: numbers in fours, all else by two or three."""
    placed: list[Panel] = []
    y = 0
    for title, panels in ROWS.items():
        placed.append({"type": "row", "title": title, "collapsed": False, "panels": []})
        placed[-1]["gridPos"] = {"x": 0, "y": y, "w": 24, "h": 1}
        x, y, height = 0, y + 1, 0
        for panel in panels:
            w, h = (4, 4) if panel["type"] == "stat" else (8, 8)
            if x + w > 24:
                x, y = 0, y + height
            panel["gridPos"] = {"x": x, "y": y, "w": w, "h": h}
            x, height = x + w, h
            placed.append(panel)
        y += height
    return [{"id": number, **panel} for number, panel in enumerate(placed, start=1)]


def dashboard() -> dict[str, Any]:
    """The whole of it."""
    source = {
        "name": "datasource",
        "type": "datasource",
        "query": "prometheus",
        "label": "Prometheus",
    }
    of_farm = 'svdfarm_workers{farm="$farm"}'
    busy = 'svdfarm_worker_busy_seconds_total{farm="$farm"}'
    return {
        "uid": "svdfarm",
        "title": "svdfarm",
        "tags": ["svdfarm"],
        "timezone": "",
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {
            "list": [
                source,
                _variable("farm", "Farm", "label_values(svdfarm_store_up, farm)", many=False),
                _variable("model", "Model", f"label_values({of_farm}, model)", many=True),
                _variable("worker", "Worker", f"label_values({busy}, worker)", many=True),
            ]
        },
        "panels": _placed(),
    }
