"""A Ray cluster with the application of one group, as KubeRay makes it, in a process of its own.

    python -m tests.integration.ray_service GATEWAY WORKERS DRAIN_S

Its head is one node and its workers another, in this process's care as they are in that of `ray
start`, a Pod's first process: SIGTERM has Ray drain the workers' node, and ends both.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

_STORE_BYTES = 80_000_000
_ALIKE = {"include_dashboard": False, "object_store_memory": _STORE_BYTES}
_GRACE_S = 10  # beyond drain_s, as docs/RELIABILITY.md says


def start(gateway: str, workers: int, drain_s: float) -> Any:
    """The cluster, once the application is deployed; its second node has the workers."""
    os.environ["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"] = str(drain_s + _GRACE_S)
    import ray
    from ray import serve
    from ray.cluster_utils import Cluster
    from ray.serve.context import _get_global_client
    from ray.serve.schema import ServeDeploySchema

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, **_ALIKE})
    add_workers(cluster, workers)
    drain_and_end = signal.getsignal(signal.SIGTERM)
    ray.init(address=cluster.address, log_to_driver=False)
    signal.signal(signal.SIGTERM, drain_and_end)  # the driver puts its own in its place
    serve.start(proxy_location="Disabled")
    args = {"gateway": gateway, "model": "tiny", "group": "one", "gpus": 0, "cpus": 1}
    args |= {"min_workers": workers, "max_workers": workers, "drain_s": drain_s}
    application = {
        "name": "svdfarm-one",
        "route_prefix": "/one",
        "import_path": "farm.cluster.service:build",
        "args": args,
    }
    config = ServeDeploySchema.model_validate({"applications": [application]})
    _get_global_client().deploy_apps(config)
    return cluster


def add_workers(cluster: Any, workers: int) -> Any:
    """One more node, with room for so many workers."""
    return cluster.add_node(num_cpus=workers, resources={"svdfarm-one": 1}, **_ALIKE)


def main() -> None:
    """Serves until SIGTERM; says `ready` once the application is deployed."""
    cluster = start(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
    print("ready", json.dumps({"address": cluster.address}), flush=True)
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
