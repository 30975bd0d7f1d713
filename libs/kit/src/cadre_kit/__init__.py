"""How any Cadre service starts, serves, fails, traces and stops."""

import os

# gRPC reads it when it is imported, so it comes before that. What gRPC otherwise does around a fork crashes one in
# forty of the processes that a service starts from uvloop, before they have begun: no service forks but to do that.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
