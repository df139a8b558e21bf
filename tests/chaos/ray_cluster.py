"""A Ray cluster whose workers' node is lost and replaced at each line of standard input.

python -m tests.chaos.ray_cluster GATEWAY WORKERS
"""

from __future__ import annotations

import sys

from tests.integration.ray_service import add_workers, start


def main() -> None:
    """Says `ready` once the application is deployed, `lost` after each loss; ends with input."""
    gateway, workers = sys.argv[1], int(sys.argv[2])
    cluster = start(gateway, workers, 1.0)
    (node,) = cluster.worker_nodes
    print("ready", flush=True)
    for _ in sys.stdin:
        cluster.remove_node(node, allow_graceful=False)  # SIGKILL, to its raylet
        print("lost", flush=True)
        node = add_workers(cluster, workers)
    cluster.shutdown()


if __name__ == "__main__":
    main()
