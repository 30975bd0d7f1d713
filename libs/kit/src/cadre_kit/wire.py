"""Errors on the wire: `CadreError` to google.rpc.Status and back (AIP-193)."""

from dataclasses import dataclass

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from cadre.common.v1 import common_pb2
from cadre_kit.errors import CadreError, Kind, Problem, Severity, TextEdit, error_of

__all__ = [
    "TOKEN_MISSING",
    "TOKEN_WRONG",
    "error_from_rpc",
    "handshake_failure",
    "problem_from_message",
    "problem_to_message",
    "status_of",
]

DOMAIN = "cadre"
TOKEN_MISSING = "SERVICE_TOKEN_MISSING"
TOKEN_WRONG = "SERVICE_TOKEN_WRONG"
_RESOLUTION = "resolution"
_COMMON = (error_details_pb2.ErrorInfo, error_details_pb2.BadRequest, common_pb2.Problems)
# Says "do not send it again" to gRPC's own retries (gRFC A6), which are for calls that reached nobody: a service that
# answers has tried what there was to try, and whoever called decides what comes next.
_PUSHBACK = "grpc-retry-pushback-ms"
_SEVERITY_TO_MESSAGE = {
    Severity.ERROR: common_pb2.SEVERITY_ERROR,
    Severity.NOTE: common_pb2.SEVERITY_NOTE,
}
_SEVERITY_FROM_MESSAGE = {number: severity for severity, number in _SEVERITY_TO_MESSAGE.items()}
# What gRPC says when no connection comes about because of TLS, and what that means. Who wants TLS of a caller without,
# or another certificate, just hangs up.
_HANDSHAKES = (
    ("Hostname Verification Check failed", "its certificate is for another name"),
    ("CERTIFICATE_VERIFY_FAILED", "its certificate is not by an authority that is trusted"),
    ("WRONG_VERSION_NUMBER", "it does not speak TLS"),
    ("handshake failed", "the handshake failed"),
    ("Socket closed", "it hangs up, as if it wanted TLS, or another certificate"),
)


@dataclass(frozen=True, kw_only=True)
class _FinalStatus(grpc.Status):
    """A status that gRPC does not answer by sending the call again."""

    code: grpc.StatusCode
    details: str
    trailing_metadata: tuple[tuple[str, str | bytes], ...]


def problem_to_message(problem: Problem) -> common_pb2.Problem:
    """The proto message of a problem."""
    return common_pb2.Problem(
        code=problem.code,
        message=problem.message,
        path=problem.path,
        line=problem.line,
        column=problem.column,
        resolution=problem.resolution,
        severity=_SEVERITY_TO_MESSAGE[problem.severity],
        fix=None if problem.fix is None else _edit_to_message(problem.fix),
    )


def _edit_to_message(edit: TextEdit) -> common_pb2.TextEdit:
    return common_pb2.TextEdit(
        line=edit.line,
        column=edit.column,
        end_line=edit.end_line,
        end_column=edit.end_column,
        text=edit.text,
    )


def problem_from_message(message: common_pb2.Problem) -> Problem:
    """The problem that a proto message says."""
    return Problem(
        code=message.code,
        message=message.message,
        path=message.path,
        line=message.line,
        column=message.column,
        resolution=message.resolution,
        severity=_SEVERITY_FROM_MESSAGE.get(message.severity, Severity.ERROR),
        fix=_edit_from_message(message.fix) if message.HasField("fix") else None,
    )


def _edit_from_message(message: common_pb2.TextEdit) -> TextEdit:
    return TextEdit(
        line=message.line,
        column=message.column,
        end_line=message.end_line,
        end_column=message.end_column,
        text=message.text,
    )


def status_of(error: CadreError) -> grpc.Status:
    """What `ServicerContext.abort_with_status` takes: the code, one ErrorInfo, every problem if there are some, and the
    error's own details."""
    metadata = dict(error.metadata)
    if error.resolution:
        metadata[_RESOLUTION] = error.resolution
    details: list[Message] = [
        error_details_pb2.ErrorInfo(reason=error.code, domain=DOMAIN, metadata=metadata),
        *error.details,
    ]
    if error.problems:
        violations = [
            error_details_pb2.BadRequest.FieldViolation(field=p.path, description=p.message)
            for p in error.problems
        ]
        details.append(error_details_pb2.BadRequest(field_violations=violations))
        details.append(
            common_pb2.Problems(problems=[problem_to_message(p) for p in error.problems])
        )
    status = status_pb2.Status(
        code=error.kind.value.grpc, message=error.message, details=[_pack(d) for d in details]
    )
    converted: grpc.Status = rpc_status.to_status(status)
    return _FinalStatus(
        code=converted.code,
        details=converted.details,
        trailing_metadata=(*converted.trailing_metadata, (_PUSHBACK, "-1")),
    )


def error_from_rpc(error: grpc.aio.AioRpcError, *, service: str) -> CadreError:
    """The error behind a failed call to `service`; one that carries no details keeps its status code as its reason.

    Its own `details` are as they came, packed as google.protobuf.Any."""
    number, name = error.code().value
    info = error_details_pb2.ErrorInfo()
    problems = common_pb2.Problems()
    details = _details(error)
    for detail in details:
        detail.Unpack(info)
        detail.Unpack(problems)
    if not info.reason:
        return _foreign(number, name, error.details() or "", service)
    if info.reason in (TOKEN_MISSING, TOKEN_WRONG):
        return _refused_token(service)
    metadata = dict(info.metadata)
    found = error_of(
        number,
        error.details() or "",
        code=info.reason,
        resolution=metadata.pop(_RESOLUTION, ""),
        metadata=metadata,
        problems=[problem_from_message(p) for p in problems.problems],
    )
    found.details = tuple(detail for detail in details if not _is_common(detail))
    return found


def _is_common(detail: any_pb2.Any) -> bool:
    return any(detail.Is(each.DESCRIPTOR) for each in _COMMON)


def _refused_token(service: str) -> CadreError:
    """It is the platform that is set up wrong, not whoever asked something of it."""
    return error_of(
        Kind.UNAVAILABLE.value.grpc,
        f"the {service} service does not take this service's token",
        code="SERVICE_TOKEN_REFUSED",
        resolution="Give all services one CADRE_SERVICE_TOKEN, or one CADRE_HOME, and start them again.",
        metadata={"service": service},
    )


def _foreign(number: int, name: str, details: str, service: str) -> CadreError:
    """An error that gRPC itself raised: nobody listens, the deadline passed, the message was too large."""
    if number == Kind.UNAVAILABLE.value.grpc:
        if (reason := handshake_failure(details)) is not None:
            return error_of(
                number,
                f"no TLS connection to the {service} service: {reason}",
                code="SERVICE_TLS_FAILED",
                resolution="Compare the CADRE_SERVICE_TLS_... settings of both services, and the names in the "
                "certificate with the address that is called.",
                metadata={"service": service},
            )
        return error_of(
            number,
            f"the {service} service cannot be reached",
            code="SERVICE_UNAVAILABLE",
            resolution="See `cadre status`; start the platform with `cadre up`.",
            metadata={"service": service},
        )
    if number == Kind.DEADLINE_EXCEEDED.value.grpc:
        return error_of(
            number,
            f"the {service} service did not answer in time",
            code="SERVICE_TIMEOUT",
            resolution="Try again; `cadre status` shows whether the service is well.",
            metadata={"service": service},
        )
    code = name.upper().replace(" ", "_")
    return error_of(
        number,
        f"the {service} service answered {code}: {details}",
        code=code,
        metadata={"service": service},
    )


def handshake_failure(details: str) -> str | None:
    """Why no TLS connection came about, by what gRPC says of a failed call; None when that is not the reason."""
    if not details.startswith("failed to connect"):
        return None
    return next((meant for said, meant in _HANDSHAKES if said in details), None)


def _details(error: grpc.aio.AioRpcError) -> list[any_pb2.Any]:
    raw = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin")
    if not isinstance(raw, bytes):
        return []
    try:
        return list(status_pb2.Status.FromString(raw).details)
    except DecodeError:
        return []


def _pack(message: Message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed
