"""SandboxService: converts, calls, converts."""

import hashlib

from cadre.common.v1 import common_pb2
from cadre.sandbox.v1 import sandbox_pb2, sandbox_pb2_grpc
from cadre_kit.documents import object_from_json
from cadre_kit.errors import Unsupported
from cadre_kit.interceptor import Context, idempotency_key
from cadre_sandbox.domain.executions import Capabilities, Execution, Limits, Outcome, UsedUp
from cadre_sandbox.domain.sandbox import Sandbox

__all__ = ["SandboxServicer"]

_OUTCOMES = {
    Outcome.SUCCEEDED: sandbox_pb2.OUTCOME_SUCCEEDED,
    Outcome.FAILED: sandbox_pb2.OUTCOME_FAILED,
    Outcome.BLOCKED: sandbox_pb2.OUTCOME_BLOCKED,
    Outcome.LIMIT: sandbox_pb2.OUTCOME_LIMIT,
}
_LIMITS = {
    UsedUp.TIME: sandbox_pb2.LIMIT_TIME,
    UsedUp.CPU: sandbox_pb2.LIMIT_CPU,
    UsedUp.MEMORY: sandbox_pb2.LIMIT_MEMORY,
    UsedUp.OUTPUT: sandbox_pb2.LIMIT_OUTPUT,
    UsedUp.PROCESSES: sandbox_pb2.LIMIT_PROCESSES,
}
_PYTHON = (sandbox_pb2.MODE_UNSPECIFIED, sandbox_pb2.MODE_PYTHON)


class ModeNotOffered(Unsupported):
    """The mode is not one of this sandbox's."""

    code = "MODE_NOT_OFFERED"


class SandboxServicer(sandbox_pb2_grpc.SandboxServiceServicer):
    """The service's RPCs."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    async def Execute(
        self, request: sandbox_pb2.ExecuteRequest, context: Context
    ) -> sandbox_pb2.ExecuteResponse:
        """Runs a program."""
        if request.mode not in _PYTHON:
            raise ModeNotOffered(
                f"mode {request.mode} is not offered",
                resolution="GetCapabilities lists the modes.",
                metadata={"mode": str(request.mode)},
            )
        execution = await self._sandbox.execute(
            code=request.code,
            inputs=object_from_json(request.inputs, field="inputs"),
            asked=_limits_from(request.limits),
            key=idempotency_key(context),
            request=hashlib.sha256(request.SerializeToString(deterministic=True)).digest(),
        )
        return _execution_to(execution)

    async def GetCapabilities(
        self, request: sandbox_pb2.GetCapabilitiesRequest, context: Context
    ) -> sandbox_pb2.GetCapabilitiesResponse:
        """Says what the sandbox can do here."""
        return _capabilities_to(self._sandbox.capabilities())


def _limits_from(message: sandbox_pb2.Limits) -> Limits:
    return Limits(
        timeout_seconds=message.timeout_seconds,
        cpu_seconds=message.cpu_seconds,
        memory_mb=message.memory_mb,
        output_bytes=message.output_bytes,
    )


def _limits_to(limits: Limits) -> sandbox_pb2.Limits:
    return sandbox_pb2.Limits(
        timeout_seconds=limits.timeout_seconds,
        cpu_seconds=limits.cpu_seconds,
        memory_mb=limits.memory_mb,
        output_bytes=limits.output_bytes,
    )


def _execution_to(execution: Execution) -> sandbox_pb2.ExecuteResponse:
    response = sandbox_pb2.ExecuteResponse(
        outcome=_OUTCOMES[execution.outcome],
        stdout=execution.stdout,
        stderr=execution.stderr,
        limits_reached=[_LIMITS[limit] for limit in execution.limits_reached],
        usage=sandbox_pb2.ExecutionUsage(
            wall_ms=execution.usage.wall_ms,
            cpu_ms=execution.usage.cpu_ms,
            peak_memory_bytes=execution.usage.peak_memory_bytes,
        ),
    )
    if execution.result is not None:
        response.result.CopyFrom(common_pb2.Json(text=execution.result))
    if (failure := execution.failure) is not None:
        response.error.CopyFrom(
            common_pb2.Failure(
                code=failure.code, message=failure.message, resolution=failure.resolution
            )
        )
    return response


def _capabilities_to(capabilities: Capabilities) -> sandbox_pb2.GetCapabilitiesResponse:
    return sandbox_pb2.GetCapabilitiesResponse(
        modes=[sandbox_pb2.MODE_PYTHON] if capabilities.runs else [],
        walls=[
            sandbox_pb2.Wall(name=wall.name, holds=wall.holds, detail=wall.detail)
            for wall in capabilities.walls
        ],
        modules=capabilities.modules,
        ceiling=_limits_to(capabilities.ceiling),
    )
