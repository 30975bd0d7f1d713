"""What is supervised: programs, how each is started and when it is ready, and the platform that they make up."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from cadre_cli.supervisor.probes import Probe
from cadre_cli.supervisor.state import Home

__all__ = ["Pace", "Platform", "Program"]


@dataclass(frozen=True, kw_only=True)
class Program:
    """One program of the platform.

    `essential` ones make the platform usable. One with `after` starts when those are ready, or `after_seconds` later
    if they are not. `port` 0 means that it listens on none; `port_setting` is what moves it. Only `counted` ones are
    part of the progress that is shown. `stop_seconds` is the time that it gets to end, where that is not the pace's.
    """

    name: str
    command: tuple[str, ...]
    ready: Probe
    environment: Mapping[str, str] = field(default_factory=dict)
    host: str = "127.0.0.1"
    port: int = 0
    port_setting: str = ""
    url: str = ""
    essential: bool = True
    counted: bool = True
    after: tuple[str, ...] = ()
    after_seconds: float | None = None
    niceness: int = 0
    stop_seconds: float | None = None

    @property
    def address(self) -> str:
        """Where others find it: a URL where people can open one, else host:port; empty when it listens on no port."""
        return self.url or (f"{self.host}:{self.port}" if self.port else "")


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How long things take, in seconds.

    A program that ended is restarted after a pause that doubles from the first to the longest, and begins anew once the
    program has been up for `steady_seconds`.
    """

    poll_seconds: float = 0.1
    first_pause_seconds: float = 0.5
    longest_pause_seconds: float = 30.0
    steady_seconds: float = 60.0
    slow_seconds: float = 60.0
    stop_seconds: float = 6.0


@dataclass(frozen=True, kw_only=True)
class Platform:
    """Programs that run together from one home folder; usable when the essential ones are ready and `usable` holds."""

    home: Home
    programs: tuple[Program, ...]
    usable: Probe
    pace: Pace = Pace()
