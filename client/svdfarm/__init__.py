"""The client SDK of a render farm for Stable Video Diffusion.

Loads grpcio and protobuf, nothing of the farm itself.
"""

from svdfarm.async_client import AsyncClient
from svdfarm.async_jobs import AsyncFinishedVideo, AsyncJobHandle
from svdfarm.client import Client
from svdfarm.errors import (
    DeadlineExceeded,
    DiskFull,
    DownloadBroken,
    FarmFailed,
    ImageRejected,
    NotFound,
    Rejected,
    ResourceExhausted,
    SaveFailed,
    ShotRejected,
    SvdfarmError,
    TargetExists,
    Unauthenticated,
    Unreachable,
    Violation,
)
from svdfarm.jobs import FinishedVideo, JobHandle
from svdfarm.params import RenderParams
from svdfarm.resources import (
    Attempt,
    Delivery,
    DeliveryState,
    Estimate,
    Failure,
    Job,
    JobState,
    LogLine,
    Model,
    Progress,
    Pruned,
    Shot,
    ShotState,
    Video,
    Worker,
    WorkerState,
)
from svdfarm.submitting import NewShot
from svdfarm.tenants import Tenant, TenantLimits, TenantUsage
from svdfarm.tokens import Identity, NewToken, Scope, Token

__all__ = [
    "AsyncClient",
    "AsyncFinishedVideo",
    "AsyncJobHandle",
    "Attempt",
    "Client",
    "DeadlineExceeded",
    "Delivery",
    "DeliveryState",
    "DiskFull",
    "DownloadBroken",
    "Estimate",
    "Failure",
    "FarmFailed",
    "FinishedVideo",
    "Identity",
    "ImageRejected",
    "Job",
    "JobHandle",
    "JobState",
    "LogLine",
    "Model",
    "NewShot",
    "NewToken",
    "NotFound",
    "Progress",
    "Pruned",
    "Rejected",
    "RenderParams",
    "ResourceExhausted",
    "SaveFailed",
    "Scope",
    "Shot",
    "ShotRejected",
    "ShotState",
    "SvdfarmError",
    "TargetExists",
    "Tenant",
    "TenantLimits",
    "TenantUsage",
    "Token",
    "Unauthenticated",
    "Unreachable",
    "Video",
    "Violation",
    "Worker",
    "WorkerState",
]
