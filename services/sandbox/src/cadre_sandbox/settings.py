"""What can be set about the sandbox."""

from pydantic import Field

from cadre_kit.settings import Port, ServiceSettings

__all__ = ["SandboxSettings"]


class SandboxSettings(ServiceSettings):
    """Each field is the environment variable `CADRE_<FIELD>`."""

    sandbox_port: Port = Field(7412, description="Port of the gRPC service.")
    sandbox_concurrency: int = Field(4, ge=1, le=64, description="How many programs run at once.")
    sandbox_queue: int = Field(
        64,
        ge=0,
        le=10_000,
        description="How many more may wait; beyond it callers are told to come back.",
    )
    sandbox_allow_weaker: bool = Field(
        False, description="Run code also where the walls that it should have do not all hold."
    )
    sandbox_first_uid: int = Field(
        58_000,
        ge=1_000,
        le=2**31,
        description="First of the user ids that programs run as, one for each under way; needs root.",
    )
    sandbox_max_timeout_seconds: float = Field(
        300, gt=0, le=300, description="Ceiling of a program's wall clock, in seconds."
    )
    sandbox_max_cpu_seconds: float = Field(
        300, gt=0, le=300, description="Ceiling of a program's CPU time, in seconds."
    )
    sandbox_max_memory_mb: int = Field(
        2048, ge=32, le=2048, description="Ceiling of a program's memory, in MiB."
    )
    sandbox_max_output_bytes: int = Field(
        4 * 1024 * 1024,
        ge=1024,
        le=16 * 1024 * 1024,
        description="Ceiling of stdout, stderr and result, in bytes each.",
    )
