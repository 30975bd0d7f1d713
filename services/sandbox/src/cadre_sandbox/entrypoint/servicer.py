"""SandboxService: converts, calls, converts."""

import asyncio
import hashlib
import mimetypes
from collections.abc import AsyncIterator

from google.protobuf.message import Message

from cadre.common.v1 import common_pb2
from cadre.sandbox.v1 import sandbox_pb2, sandbox_pb2_grpc
from cadre_kit.documents import object_from_json
from cadre_kit.interceptor import Context, idempotency_key
from cadre_sandbox.domain.executions import (
    Capabilities,
    Execution,
    File,
    LimitOutOfRange,
    Limits,
    Mode,
    ModeNotOffered,
    Outcome,
    UsedUp,
    Wall,
)
from cadre_sandbox.domain.presets import Preset
from cadre_sandbox.domain.sandbox import Asked, Sandbox

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
    UsedUp.FILES: sandbox_pb2.LIMIT_FILES,
}
_MODES = {
    sandbox_pb2.MODE_UNSPECIFIED: Mode.PYTHON,
    sandbox_pb2.MODE_PYTHON: Mode.PYTHON,
    sandbox_pb2.MODE_DOCKER: Mode.DOCKER,
}
_MODE_NUMBERS = {
    Mode.PYTHON: sandbox_pb2.MODE_PYTHON,
    Mode.DOCKER: sandbox_pb2.MODE_DOCKER,
}
_PRESETS = {
    sandbox_pb2.PRESET_UNSPECIFIED: Preset.NONE,
    sandbox_pb2.PRESET_LOW: Preset.LOW,
    sandbox_pb2.PRESET_MEDIUM: Preset.MEDIUM,
    sandbox_pb2.PRESET_HIGH: Preset.HIGH,
    sandbox_pb2.PRESET_MAX: Preset.MAX,
}


class SandboxServicer(sandbox_pb2_grpc.SandboxServiceServicer):
    """The service's RPCs."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    async def Execute(
        self, request: sandbox_pb2.ExecuteRequest, context: Context
    ) -> sandbox_pb2.ExecuteResponse:
        """Runs a program."""
        execution = await self._sandbox.execute(
            _asked(request),
            key=idempotency_key(context),
            request=_digest(request),
        )
        return _execution_to(execution)

    async def StreamExecute(
        self, request: sandbox_pb2.StreamExecuteRequest, context: Context
    ) -> AsyncIterator[sandbox_pb2.StreamExecuteResponse]:
        """Runs a program; its output comes as it is written."""
        # Bounded by the program's output limit, beyond which nothing is passed on.
        written: asyncio.Queue[sandbox_pb2.StreamExecuteResponse | None] = asyncio.Queue()
        running = asyncio.create_task(
            self._sandbox.stream(
                _asked(request.request),
                key=idempotency_key(context),
                on_output=lambda is_stderr, data: written.put_nowait(_piece(is_stderr, data)),
            )
        )
        running.add_done_callback(lambda _: written.put_nowait(None))
        try:
            while (piece := await written.get()) is not None:
                yield piece
            yield sandbox_pb2.StreamExecuteResponse(response=_execution_to(await running))
        finally:
            running.cancel()

    async def OpenSession(
        self, request: sandbox_pb2.OpenSessionRequest, context: Context
    ) -> sandbox_pb2.OpenSessionResponse:
        """Opens a session."""
        shape = sandbox_pb2.ExecuteRequest(
            mode=request.mode,
            limits=request.limits,
            preset=request.preset,
            packages=request.packages,
            hosts=request.hosts,
        )
        session = await self._sandbox.open_session(
            _asked(shape),
            idle_seconds=request.idle_seconds,
            total_seconds=request.total_seconds,
            key=idempotency_key(context),
            request=_digest(request),
        )
        return sandbox_pb2.OpenSessionResponse(
            session=sandbox_pb2.Session(
                id=session.id,
                mode=_MODE_NUMBERS[session.mode],
                idle_seconds=session.lifetime.idle_seconds,
                total_seconds=session.lifetime.total_seconds,
            )
        )

    async def CloseSession(
        self, request: sandbox_pb2.CloseSessionRequest, context: Context
    ) -> sandbox_pb2.CloseSessionResponse:
        """Ends a session."""
        closed = await self._sandbox.close_session(request.session_id)
        return sandbox_pb2.CloseSessionResponse(closed=closed)

    async def WriteFile(
        self, request: sandbox_pb2.WriteFileRequest, context: Context
    ) -> sandbox_pb2.WriteFileResponse:
        """Writes a file."""
        file = File(name=request.file.name, content=request.file.content)
        await self._sandbox.write_file(request.session_id, file)
        return sandbox_pb2.WriteFileResponse()

    async def ReadFile(
        self, request: sandbox_pb2.ReadFileRequest, context: Context
    ) -> sandbox_pb2.ReadFileResponse:
        """Reads a file."""
        file = await self._sandbox.read_file(request.session_id, request.name)
        return sandbox_pb2.ReadFileResponse(file=_file_to(file))

    async def ListFiles(
        self, request: sandbox_pb2.ListFilesRequest, context: Context
    ) -> sandbox_pb2.ListFilesResponse:
        """Lists files."""
        entries = await self._sandbox.list_files(request.session_id)
        return sandbox_pb2.ListFilesResponse(
            files=[sandbox_pb2.FileEntry(name=e.name, size_bytes=e.size_bytes) for e in entries]
        )

    async def GetCapabilities(
        self, request: sandbox_pb2.GetCapabilitiesRequest, context: Context
    ) -> sandbox_pb2.GetCapabilitiesResponse:
        """Says what the sandbox can do here."""
        return _capabilities_to(self._sandbox.capabilities())


def _digest(request: Message) -> bytes:
    return hashlib.sha256(request.SerializeToString(deterministic=True)).digest()


def _asked(request: sandbox_pb2.ExecuteRequest) -> Asked:
    if request.mode not in _MODES:
        raise ModeNotOffered(
            f"mode {request.mode} is not offered",
            resolution="GetCapabilities lists the modes.",
            metadata={"mode": str(request.mode)},
        )
    if request.preset not in _PRESETS:
        raise LimitOutOfRange(
            f"there is no preset {request.preset}", resolution="Use low, medium, high or max."
        )
    return Asked(
        code=request.code,
        inputs=object_from_json(request.inputs, field="inputs"),
        limits=_limits_from(request.limits),
        mode=_MODES[request.mode],
        preset=_PRESETS[request.preset],
        packages=frozenset(request.packages),
        hosts=frozenset(request.hosts),
        files=[File(name=file.name, content=file.content) for file in request.files],
        session_id=request.session_id,
    )


def _piece(is_stderr: bool, data: bytes) -> sandbox_pb2.StreamExecuteResponse:
    if is_stderr:
        return sandbox_pb2.StreamExecuteResponse(stderr=data)
    return sandbox_pb2.StreamExecuteResponse(stdout=data)


def _limits_from(message: sandbox_pb2.Limits) -> Limits:
    return Limits(
        timeout_seconds=message.timeout_seconds,
        cpu_seconds=message.cpu_seconds,
        memory_mb=message.memory_mb,
        output_bytes=message.output_bytes,
        cpus=message.cpus,
    )


def _limits_to(limits: Limits) -> sandbox_pb2.Limits:
    return sandbox_pb2.Limits(
        timeout_seconds=limits.timeout_seconds,
        cpu_seconds=limits.cpu_seconds,
        memory_mb=limits.memory_mb,
        output_bytes=limits.output_bytes,
        cpus=limits.cpus,
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
            output_bytes=execution.output_bytes,
        ),
        files=[_file_to(file) for file in execution.files],
        walls=execution.walls,
        session_reset=execution.session_reset,
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


def _file_to(file: File) -> sandbox_pb2.File:
    media_type = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    return sandbox_pb2.File(name=file.name, content=file.content, media_type=media_type)


def _capabilities_to(capabilities: Capabilities) -> sandbox_pb2.GetCapabilitiesResponse:
    return sandbox_pb2.GetCapabilitiesResponse(
        modes=[_MODE_NUMBERS[mode] for mode in capabilities.modes],
        walls=[_wall_to(wall) for wall in capabilities.walls],
        modules=capabilities.modules,
        ceiling=_limits_to(capabilities.ceiling),
        docker_walls=[_wall_to(wall) for wall in capabilities.docker_walls],
        docker_missing=capabilities.docker_missing,
        packages=capabilities.packages,
        session_modes=[_MODE_NUMBERS[mode] for mode in capabilities.session_modes],
        hosts=capabilities.hosts,
    )


def _wall_to(wall: Wall) -> sandbox_pb2.Wall:
    return sandbox_pb2.Wall(name=wall.name, holds=wall.holds, detail=wall.detail)
