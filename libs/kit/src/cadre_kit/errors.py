"""The platform's errors: one tree of kinds, and one table from kind to gRPC, HTTP and exit status.

A service raises a subclass of a kind that states its own fact (`class RunNotFound(NotFound)`); the entry points turn it
into whatever their protocol says. Messages name values, never secrets, prompts or code.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar

__all__ = [
    "AlreadyExists",
    "CadreError",
    "Cancelled",
    "Conflict",
    "DataLost",
    "DeadlineExceeded",
    "FailedPrecondition",
    "Internal",
    "InvalidInput",
    "Kind",
    "LimitExceeded",
    "NotFound",
    "PermissionDenied",
    "Problem",
    "Severity",
    "StoreFailed",
    "TextEdit",
    "Unauthenticated",
    "Unavailable",
    "Unsupported",
    "error_of",
]


@dataclass(frozen=True, kw_only=True)
class Statuses:
    """How one kind of error is said: canonical gRPC code (google.rpc.Code), HTTP status, the CLI's exit status."""

    grpc: int
    http: int
    exit: int


class Kind(Enum):
    """Every kind of error, with its statuses (gRPC to HTTP as in AIP-193)."""

    INVALID_INPUT = Statuses(grpc=3, http=400, exit=2)
    NOT_FOUND = Statuses(grpc=5, http=404, exit=2)
    ALREADY_EXISTS = Statuses(grpc=6, http=409, exit=2)
    CONFLICT = Statuses(grpc=10, http=409, exit=2)
    FAILED_PRECONDITION = Statuses(grpc=9, http=400, exit=2)
    UNAUTHENTICATED = Statuses(grpc=16, http=401, exit=2)
    PERMISSION_DENIED = Statuses(grpc=7, http=403, exit=2)
    LIMIT_EXCEEDED = Statuses(grpc=8, http=429, exit=4)
    CANCELLED = Statuses(grpc=1, http=499, exit=130)
    DEADLINE_EXCEEDED = Statuses(grpc=4, http=504, exit=1)
    UNAVAILABLE = Statuses(grpc=14, http=503, exit=3)
    UNSUPPORTED = Statuses(grpc=12, http=501, exit=2)
    DATA_LOST = Statuses(grpc=15, http=500, exit=1)
    INTERNAL = Statuses(grpc=13, http=500, exit=1)


class Severity(Enum):
    """How bad a problem in a workflow file is."""

    ERROR = "error"
    NOTE = "note"


@dataclass(frozen=True, kw_only=True)
class TextEdit:
    """A part of a file, from `line` and `column` to before `end_line` and `end_column` (from 1, in code points), and
    what to put in its place."""

    line: int
    column: int
    end_line: int
    end_column: int
    text: str


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Something wrong, or worth knowing, in a workflow file. `line` and `column` count from 1; 0 when unknown.

    `fix` mends it, where a program can be sure of that.
    """

    code: str
    message: str
    path: str = ""
    line: int = 0
    column: int = 0
    resolution: str = ""
    severity: Severity = Severity.ERROR
    fix: TextEdit | None = None


class CadreError(Exception):
    """Something that we, or the caller, could not do: which fact (`code`), what (`message`), what to do (`resolution`).

    `metadata` holds every value that the message names; `problems` holds all that is wrong with a refused document;
    `details` are protobuf messages that go along on the wire, for callers who know their types.
    """

    kind: ClassVar[Kind] = Kind.INTERNAL
    code: str = "INTERNAL"

    def __init__(
        self,
        message: str,
        *,
        resolution: str = "",
        code: str | None = None,
        metadata: Mapping[str, str] | None = None,
        problems: Sequence[Problem] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.resolution = resolution
        self.code = code or type(self).code
        self.metadata = dict(metadata or {})
        self.problems = tuple(problems)
        self.details: tuple[Any, ...] = ()


class InvalidInput(CadreError):
    """The request is wrong, whatever the state of the platform."""

    kind = Kind.INVALID_INPUT
    code = "INVALID_INPUT"


class NotFound(CadreError):
    """What the request names is not there."""

    kind = Kind.NOT_FOUND
    code = "NOT_FOUND"


class AlreadyExists(CadreError):
    """What the request would create is there already."""

    kind = Kind.ALREADY_EXISTS
    code = "ALREADY_EXISTS"


class Conflict(CadreError):
    """Another request came first, or the same idempotency key came with another request."""

    kind = Kind.CONFLICT
    code = "CONFLICT"


class FailedPrecondition(CadreError):
    """The request is right, but not in the present state."""

    kind = Kind.FAILED_PRECONDITION
    code = "FAILED_PRECONDITION"


class Unauthenticated(CadreError):
    """It is not known who asks."""

    kind = Kind.UNAUTHENTICATED
    code = "UNAUTHENTICATED"


class PermissionDenied(CadreError):
    """Who asks may not."""

    kind = Kind.PERMISSION_DENIED
    code = "PERMISSION_DENIED"


class LimitExceeded(CadreError):
    """A limit, quota or budget is used up."""

    kind = Kind.LIMIT_EXCEEDED
    code = "LIMIT_EXCEEDED"


class Cancelled(CadreError):
    """Whoever asked no longer wants the answer."""

    kind = Kind.CANCELLED
    code = "CANCELLED"


class DeadlineExceeded(CadreError):
    """It took longer than it may."""

    kind = Kind.DEADLINE_EXCEEDED
    code = "DEADLINE_EXCEEDED"


class Unavailable(CadreError):
    """A part that is needed cannot be reached now; trying again may help."""

    kind = Kind.UNAVAILABLE
    code = "UNAVAILABLE"


class Unsupported(CadreError):
    """The platform does not do this."""

    kind = Kind.UNSUPPORTED
    code = "UNSUPPORTED"


class DataLost(CadreError):
    """Stored data cannot be read back."""

    kind = Kind.DATA_LOST
    code = "DATA_LOST"


class Internal(CadreError):
    """Our mistake. The log has the details; the message has none of them."""

    kind = Kind.INTERNAL
    code = "INTERNAL"


class StoreFailed(Exception):
    """Marks the errors of a service's own database: nobody who asked for something is to blame for them."""


_BY_GRPC = {cls.kind.value.grpc: cls for cls in CadreError.__subclasses__()}


def error_of(
    grpc_code: int,
    message: str,
    *,
    code: str,
    resolution: str = "",
    metadata: Mapping[str, str] | None = None,
    problems: Sequence[Problem] = (),
) -> CadreError:
    """The error that another service answered with, by its canonical gRPC code; Internal for codes not in the table."""
    cls = _BY_GRPC.get(grpc_code, Internal)
    return cls(message, code=code, resolution=resolution, metadata=metadata, problems=problems)
