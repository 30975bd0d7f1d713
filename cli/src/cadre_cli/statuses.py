"""`cadre status`: what the gateway says about every service, and what the supervisor knows about its processes."""

import time
from dataclasses import asdict, dataclass

from cadre_cli.errors import CliError
from cadre_cli.platform import home_of
from cadre_cli.session import gateway
from cadre_cli.settings import PlatformSettings
from cadre_cli.supervisor.state import ProgramState, ProgramStatus

__all__ = ["Service", "is_usable", "services"]

_BEHIND = ("mlflow", "prefect", "prefect-worker")


@dataclass(frozen=True, kw_only=True)
class Service:
    """How one service is. `pid`, `uptime_s` and `restarts` are known for processes of this machine's supervisor."""

    name: str
    address: str
    status: str
    version: str | None = None
    pid: int | None = None
    uptime_s: float | None = None
    detail: str = ""

    def document(self) -> dict[str, object]:
        """The fields that programs read."""
        return {name: value for name, value in asdict(self).items() if name != "detail"}


def services(settings: PlatformSettings) -> list[Service]:
    """Every service, in the order of the supervisor's table."""
    home = home_of(settings)
    told = {service.name: service for service in _from_gateway()}
    known = [
        _merged(program, told.pop(program.name, None)) for program in home.running_state().programs
    ]
    return [*known, *told.values()]


def is_usable(found: list[Service]) -> bool:
    """Whether all that people wait for is ready; MLflow and Prefect come up behind."""
    needed = [service for service in found if service.name not in _BEHIND]
    return bool(needed) and all(service.status == "ready" for service in needed)


def _from_gateway() -> list[Service]:
    try:
        with gateway() as client:
            answers = client.status()
    except CliError:
        return []
    return [
        Service(
            name=answer.name,
            address=answer.address,
            status=answer.status,
            version=answer.version,
            detail=answer.detail or "",
        )
        for answer in answers
    ]


def _merged(program: ProgramState, told: Service | None) -> Service:
    process = program.process
    # The supervisor saw it become ready once; the gateway asks it now.
    was_ready = process is not None and program.status is ProgramStatus.READY
    status = told.status if told and was_ready else str(program.status)
    return Service(
        name=program.name,
        address=program.address or (told.address if told else ""),
        status=status,
        version=told.version if told else None,
        pid=process.pid if process else None,
        uptime_s=round(time.time() - process.started, 1) if process else None,
        detail=program.reason or (told.detail if told and was_ready else ""),
    )
