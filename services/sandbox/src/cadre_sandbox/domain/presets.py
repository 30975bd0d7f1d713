"""What one word grants a program, and how it, the request's limits and the operator's ceiling become one."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum

from cadre_sandbox.domain.executions import LimitOutOfRange, Limits

__all__ = ["DEFAULT_OUTPUT_BYTES", "Preset", "granted", "within"]

DEFAULT_OUTPUT_BYTES = 1024 * 1024
LEAST_MEMORY_MB = 32


class Preset(Enum):
    """What a program may use, in one word."""

    NONE = "none"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    MAX = "max"


@dataclass(frozen=True, kw_only=True)
class _Grant:
    cpus: float
    memory_mb: int
    timeout_seconds: float


_GRANTS: Mapping[Preset, _Grant] = {
    Preset.NONE: _Grant(cpus=1.0, memory_mb=256, timeout_seconds=10),
    Preset.LOW: _Grant(cpus=0.5, memory_mb=256, timeout_seconds=30),
    Preset.MEDIUM: _Grant(cpus=1.0, memory_mb=512, timeout_seconds=60),
    Preset.HIGH: _Grant(cpus=2.0, memory_mb=1024, timeout_seconds=120),
    Preset.MAX: _Grant(cpus=4.0, memory_mb=2048, timeout_seconds=300),
}


def granted(asked: Limits, preset: Preset, ceiling: Limits) -> Limits:
    """The limits of a program: what was asked for, else the preset's, at most the ceiling's. 0 asks for nothing.

    Raises LimitOutOfRange for what was asked for beyond the ceiling.
    """
    grant = _GRANTS[preset]
    timeout = asked.timeout_seconds or min(grant.timeout_seconds, ceiling.timeout_seconds)
    _check("timeout_seconds", timeout, 0.001, ceiling.timeout_seconds)
    cpus = asked.cpus or min(grant.cpus, ceiling.cpus)
    _check("cpus", cpus, 0.1, ceiling.cpus)
    cpu = asked.cpu_seconds or min(timeout * cpus, ceiling.cpu_seconds)
    _check("cpu_seconds", cpu, 0.0001, ceiling.cpu_seconds)
    memory = asked.memory_mb or min(grant.memory_mb, ceiling.memory_mb)
    _check("memory_mb", memory, LEAST_MEMORY_MB, ceiling.memory_mb)
    output = asked.output_bytes or min(DEFAULT_OUTPUT_BYTES, ceiling.output_bytes)
    _check("output_bytes", output, 1, ceiling.output_bytes)
    return Limits(
        timeout_seconds=timeout,
        cpu_seconds=cpu,
        memory_mb=memory,
        output_bytes=output,
        cpus=cpus,
    )


def within(asked: Limits, session: Limits) -> Limits:
    """The limits of one call in a session, whose memory and CPUs are settled. Raises LimitOutOfRange."""
    timeout = asked.timeout_seconds or session.timeout_seconds
    _check("timeout_seconds", timeout, 0.001, session.timeout_seconds)
    cpu = asked.cpu_seconds or min(timeout * session.cpus, session.cpu_seconds)
    _check("cpu_seconds", cpu, 0.0001, session.cpu_seconds)
    output = asked.output_bytes or session.output_bytes
    _check("output_bytes", output, 1, session.output_bytes)
    return replace(session, timeout_seconds=timeout, cpu_seconds=cpu, output_bytes=output)


def _check(name: str, value: float, least: float, most: float) -> None:
    # Said this way round so that a value which is no number is refused as well.
    if not least <= value <= most:
        raise LimitOutOfRange(
            f"{name} is {value:.15g}; it may be {least:.15g} to {most:.15g}",
            resolution=f"Ask for less; a session has limits of its own, and the operator's ceiling is"
            f" CADRE_SANDBOX_MAX_{name.upper()}.",
            metadata={"limit": name, "value": f"{value:g}", "ceiling": f"{most:g}"},
        )
