"""What can be set about the sandbox."""

from pathlib import Path

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
    sandbox_max_cpus: float = Field(
        4, ge=0.1, le=64, description="Ceiling of a program's CPUs at once."
    )
    sandbox_sessions: int = Field(
        16, ge=0, le=1000, description="Sessions that are open at once; more are refused."
    )
    sandbox_max_session_idle_seconds: float = Field(
        3600, ge=1, le=3600, description="Ceiling of how long a session may be idle, in seconds."
    )
    sandbox_max_session_seconds: float = Field(
        86_400, ge=1, le=86_400, description="Ceiling of how long a session may live, in seconds."
    )
    sandbox_hosts: str = Field(
        "",
        pattern=r"^$|^[^,\s/]+(,[^,\s/]+)*$",
        description="Hosts that programs in mode docker may ask to reach, through a proxy; empty: no network.",
    )
    allowed_addresses: str = Field(
        "", description="Hosts and networks that are reached although they are not public."
    )
    sandbox_docker: bool = Field(
        True,
        description="Offer mode docker where a Docker engine answers.",
    )
    sandbox_docker_host: str = Field(
        "unix:///var/run/docker.sock", description="Where the Docker engine listens."
    )
    sandbox_docker_image: str = Field(
        "python:3.11-slim-bookworm", description="Image that programs in mode docker run in."
    )
    sandbox_docker_pool: int = Field(
        2, ge=0, le=64, description="Started containers that wait, for each package set."
    )
    sandbox_docker_runtime: str = Field(
        "", description="Runtime of the engine; empty: runsc (gVisor) when it is installed."
    )
    sandbox_packages: str = Field(
        "numpy,pandas,matplotlib",
        pattern=r"^$|^[A-Za-z0-9._-]+(,[A-Za-z0-9._-]+)*$",
        description="Packages that programs in mode docker may ask for.",
    )
    sandbox_prepared_packages: str = Field(
        "",
        pattern=r"^$|^[A-Za-z0-9._-]+(,[A-Za-z0-9._-]+)*$",
        description="Package set whose image is built, and whose containers wait, from the start.",
    )
    sandbox_wheels: Path | None = Field(
        None, description="Folder of wheels that packages are installed from, instead of an index."
    )

    def listed(self, names: str) -> list[str]:
        """A list of names, as it is written in a setting."""
        return sorted(filter(None, names.split(",")))
