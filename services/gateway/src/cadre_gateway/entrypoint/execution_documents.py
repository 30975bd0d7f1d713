"""A program for the sandbox and how it ended, as the API takes and answers them."""

import base64
import binascii
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, Field, JsonValue

from cadre.sandbox.v1 import sandbox_pb2
from cadre_gateway.entrypoint.documents import Answer, Asked, JsonObject
from cadre_kit.documents import from_json, to_json

__all__ = ["Execution", "NewExecution", "execution", "request"]


class Mode(StrEnum):
    """How a program is run."""

    PYTHON = "python"
    DOCKER = "docker"


class Preset(StrEnum):
    """What a program may use, in one word."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    MAX = "max"


class Outcome(StrEnum):
    """How a program ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    BLOCKED = "blocked"
    LIMIT = "limit"


def _base64(text: str) -> str:
    try:
        base64.b64decode(text, validate=True)
    except binascii.Error as exc:
        raise ValueError("must be base64") from exc
    return text


class NewFile(Asked):
    """A file that a program finds in its folder."""

    name: str = Field(min_length=1, max_length=200, description="A path within the folder.")
    content: Annotated[str, AfterValidator(_base64)] = Field(description="What is in it, base64.")


class NewExecution(Asked):
    """A program to run."""

    code: str = Field(max_length=1024 * 1024, description="The program, in Python.")
    mode: Mode = Mode.PYTHON
    inputs: JsonObject = Field(default_factory=dict, description="Variables that it finds set.")
    preset: Preset | None = None
    timeout_seconds: float = Field(0.0, ge=0, le=300, description="0 means the preset's.")
    memory_mb: int = Field(0, ge=0, le=65536, description="MiB; 0 means the preset's.")
    packages: list[str] = Field(
        default_factory=list, max_length=20, description="Mode docker: what it may import."
    )
    files: list[NewFile] = Field(
        default_factory=list, max_length=100, description="Mode docker: what it finds."
    )


class File(Answer):
    """A file that a program left."""

    name: str
    media_type: str = Field(description="By its name; what is in it may be something else.")
    content: str = Field(description="What is in it, base64.")


class ExecutionUsage(Answer):
    """What a program used."""

    wall_ms: int
    cpu_ms: int
    peak_memory_bytes: int


class ExecutionError(Answer):
    """Why a program did not succeed."""

    code: str
    message: str
    resolution: str


class Execution(Answer):
    """How a program ended, and what it left."""

    outcome: Outcome
    stdout: str
    stderr: str
    result: JsonValue = Field(description="The variable `result`; null when it was not set.")
    files: list[File]
    limits_reached: list[str]
    usage: ExecutionUsage
    walls: list[str] = Field(description="The walls that held around it.")
    error: ExecutionError | None


_MODES: Mapping[Mode, sandbox_pb2.Mode.ValueType] = {
    Mode.PYTHON: sandbox_pb2.MODE_PYTHON,
    Mode.DOCKER: sandbox_pb2.MODE_DOCKER,
}
_PRESETS: Mapping[Preset | None, sandbox_pb2.Preset.ValueType] = {
    None: sandbox_pb2.PRESET_UNSPECIFIED,
    Preset.LOW: sandbox_pb2.PRESET_LOW,
    Preset.MEDIUM: sandbox_pb2.PRESET_MEDIUM,
    Preset.HIGH: sandbox_pb2.PRESET_HIGH,
    Preset.MAX: sandbox_pb2.PRESET_MAX,
}
_OUTCOMES: Mapping[sandbox_pb2.Outcome.ValueType, Outcome] = {
    sandbox_pb2.OUTCOME_SUCCEEDED: Outcome.SUCCEEDED,
    sandbox_pb2.OUTCOME_FAILED: Outcome.FAILED,
    sandbox_pb2.OUTCOME_BLOCKED: Outcome.BLOCKED,
    sandbox_pb2.OUTCOME_LIMIT: Outcome.LIMIT,
}


def request(asked: NewExecution) -> sandbox_pb2.ExecuteRequest:
    """What the sandbox is asked for."""
    return sandbox_pb2.ExecuteRequest(
        code=asked.code,
        mode=_MODES[asked.mode],
        inputs=to_json(asked.inputs),
        preset=_PRESETS[asked.preset],
        limits=sandbox_pb2.Limits(timeout_seconds=asked.timeout_seconds, memory_mb=asked.memory_mb),
        packages=asked.packages,
        files=[
            sandbox_pb2.File(name=file.name, content=base64.b64decode(file.content))
            for file in asked.files
        ],
    )


def execution(message: sandbox_pb2.ExecuteResponse) -> Execution:
    """How the program ended."""
    has_result = message.HasField("result")
    return Execution(
        outcome=_OUTCOMES[message.outcome],
        stdout=message.stdout,
        stderr=message.stderr,
        result=from_json(message.result, field="result") if has_result else None,
        files=[
            File(
                name=file.name,
                media_type=file.media_type,
                content=base64.b64encode(file.content).decode(),
            )
            for file in message.files
        ],
        limits_reached=[
            sandbox_pb2.Limit.Name(limit).removeprefix("LIMIT_").lower()
            for limit in message.limits_reached
        ],
        usage=ExecutionUsage(
            wall_ms=message.usage.wall_ms,
            cpu_ms=message.usage.cpu_ms,
            peak_memory_bytes=message.usage.peak_memory_bytes,
        ),
        walls=list(message.walls),
        error=_error(message),
    )


def _error(message: sandbox_pb2.ExecuteResponse) -> ExecutionError | None:
    if not message.HasField("error"):
        return None
    error = message.error
    return ExecutionError(code=error.code, message=error.message, resolution=error.resolution)
