"""The door: REST, SSE and webhooks in front of the services."""

import cadre_kit  # noqa: F401 - it sets gRPC up, which is imported by what follows
