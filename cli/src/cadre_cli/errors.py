"""What a command cannot do, as one fact with its exit status, and how other errors become one."""

from collections.abc import Sequence
from enum import IntEnum

__all__ = ["CliError", "ExitStatus"]


class ExitStatus(IntEnum):
    """What each exit status of `cadre` says."""

    SUCCEEDED = 0
    FAILED = 1
    REFUSED = 2
    UNREACHABLE = 3
    LIMITED = 4
    WAITING = 5
    CANCELLED = 130


class CliError(Exception):
    """A command ends here: which fact (`code`), what (`message`), what to do (`resolution`)."""

    def __init__(
        self,
        message: str,
        *,
        code: str,
        resolution: str = "",
        exit_status: ExitStatus = ExitStatus.REFUSED,
        details: Sequence[str] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.resolution = resolution
        self.exit_status = exit_status
        self.details = tuple(details)

    def document(self) -> dict[str, object]:
        """The error as JSON."""
        return {"code": self.code, "message": self.message, "resolution": self.resolution}
