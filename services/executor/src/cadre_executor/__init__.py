"""Validates, stores, runs and schedules workflows."""

import cadre_kit  # noqa: F401 - it sets gRPC up, which is imported by what follows
