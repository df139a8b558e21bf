"""A farm of real processes, broken under load; see `__main__`."""

import os

# This process starts programs while its clients' threads are in gRPC, whose handlers of a fork then
# abort the child now and then.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
