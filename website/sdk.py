"""The reference of the SDK: what `svdfarm` offers, in mkdocstrings' words for where to put it."""

from __future__ import annotations

import svdfarm

# What a reader looks for together; a test of the build fails for a name in none of these.
GROUPS = {
    "Clients": ["Client", "AsyncClient"],
    "Jobs and videos": ["JobHandle", "FinishedVideo", "AsyncJobHandle", "AsyncFinishedVideo"],
    "What is submitted": ["NewShot", "RenderParams"],
    "What the farm tells": [
        *["Job", "JobState", "Shot", "ShotState", "Progress", "Failure", "Video", "Attempt"],
        *["LogLine", "Estimate", "Delivery", "DeliveryState", "Pruned", "Worker", "WorkerState"],
        *["Model", "Tenant", "TenantLimits", "TenantUsage", "Token", "NewToken", "Scope"],
        "Identity",
    ],
    "Errors": [
        *["SvdfarmError", "Rejected", "Violation", "ShotRejected", "ImageRejected", "NotFound"],
        *["Unauthenticated", "Unreachable", "TlsFailed", "DeadlineExceeded", "ResourceExhausted"],
        *["DiskFull", "DownloadBroken", "SaveFailed", "TargetExists", "FarmFailed"],
    ],
}


def page() -> str:
    """A heading for each group, and each name's docstrings and signatures below it."""
    known = {name for names in GROUPS.values() for name in names}
    if lost := sorted(known.symmetric_difference(svdfarm.__all__)):
        raise SystemExit(f"website/sdk.py and svdfarm.__all__ differ in {', '.join(lost)}")
    lines = ["# The Python SDK", "", "Examples are in [From Python](../SDK.md).", ""]
    for title, names in GROUPS.items():
        lines += [f"## {title}", ""]
        for name in names:
            lines += [f"::: svdfarm.{name}", "    options: {heading_level: 3}", ""]
    return "\n".join(lines)
