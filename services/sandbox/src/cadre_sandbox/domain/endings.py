"""What the bare facts of a program's end mean."""

import json
import re
from dataclasses import replace

from cadre_sandbox.domain.executions import Ending, Execution, Failure, Limits, Outcome, UsedUp
from cadre_sandbox.domain.outputs import Kept

__all__ = ["execution_of"]

_SIGXCPU, _SIGSYS = -24, -31
_MESSAGE_CHARACTERS = 2_000
# Control characters but newline and tab, and what turns the direction of text: on a terminal they can lie.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")

_RESOLUTIONS = {
    "CODE_FAILED": "Correct the program; the line is its own.",
    "CODE_BLOCKED": "Do without it; the sandbox's capabilities list the modules of mode python. Mode docker runs any.",
    "RESULT_NOT_JSON": "Make result of numbers, texts, lists, dicts, true, false and None, such as str(value).",
    "LIMIT_TIME": "Make the program faster, or raise timeout_seconds.",
    "LIMIT_CPU": "Make the program faster, or raise cpu_seconds.",
    "LIMIT_MEMORY": "Hold less at a time, or raise memory_mb.",
    "LIMIT_OUTPUT": "Print less, leave a smaller result, or raise output_bytes.",
    "PROGRAM_CRASHED": "Correct the program; a deep recursion in a built-in function can do this.",
}


def execution_of(ending: Ending, limits: Limits) -> Execution:
    """The outcome, with texts that are safe to show and a result that is JSON."""
    reached = [UsedUp.OUTPUT] if ending.stdout_cut or ending.stderr_cut or ending.result_cut else []
    outcome, failure, used_up = _judged(ending, limits)
    result = None
    if outcome is Outcome.SUCCEEDED and ending.result is not None:
        result = _json(ending.result)
        if result is None:
            outcome, failure = Outcome.FAILED, _failure("RESULT_NOT_JSON", "the result is not JSON")
    if ending.files_left_out:
        reached.append(UsedUp.FILES)
    return Execution(
        outcome=outcome,
        stdout=_shown(ending.stdout, limits),
        stderr=_shown(ending.stderr, limits),
        result=result,
        limits_reached=list(dict.fromkeys([*used_up, *reached])),
        usage=ending.usage,
        failure=failure,
        output_bytes=ending.output_bytes,
        files=[replace(file, name=_file_name(file.name)) for file in ending.files],
        session_reset=ending.session_reset,
    )


def _judged(ending: Ending, limits: Limits) -> tuple[Outcome, Failure | None, list[UsedUp]]:
    match ending.killed:
        case "time":
            return _limit("TIME", f"the program did not end within {limits.timeout_seconds:g} s")
        case "cpu":
            return _limit("CPU", f"the program used {limits.cpu_seconds:g} s of CPU time")
        case "output":
            return _limit("OUTPUT", f"the program wrote far more than {limits.output_bytes} bytes")
    if ending.result_cut:
        return _limit("OUTPUT", f"the result is over {limits.output_bytes} bytes")
    if ending.said is None:
        return _cut_short(ending, limits)
    return _as_said(ending.said, limits)


def _as_said(said: object, limits: Limits) -> tuple[Outcome, Failure | None, list[UsedUp]]:
    match said:
        case {"outcome": "succeeded"}:
            return Outcome.SUCCEEDED, None, []
        case {"outcome": "limit", "code": "LIMIT_MEMORY"}:
            return _limit("MEMORY", f"the program needs more than {limits.memory_mb} MiB of memory")
        case {"outcome": "blocked", "message": str(message)}:
            return Outcome.BLOCKED, _failure("CODE_BLOCKED", message), []
        case {"outcome": "failed", "code": "RESULT_NOT_JSON", "message": str(message)}:
            return Outcome.FAILED, _failure("RESULT_NOT_JSON", message), []
        case {"outcome": "failed", "message": str(message)}:
            return Outcome.FAILED, _failure("CODE_FAILED", message), []
    return Outcome.BLOCKED, _failure("CODE_BLOCKED", "the program wrote past its own output"), []


def _cut_short(ending: Ending, limits: Limits) -> tuple[Outcome, Failure | None, list[UsedUp]]:
    if ending.status == _SIGSYS:
        why = "the program tried a call of the operating system that is not allowed"
        return Outcome.BLOCKED, _failure("CODE_BLOCKED", why), []
    if ending.status == _SIGXCPU or ending.usage.cpu_ms >= limits.cpu_seconds * 1000:
        return _limit("CPU", f"the program used {limits.cpu_seconds:g} s of CPU time")
    how = f"signal {-ending.status}" if ending.status < 0 else f"status {ending.status}"
    return (
        Outcome.FAILED,
        _failure("PROGRAM_CRASHED", f"the program's process ended with {how}"),
        [],
    )


def _limit(name: str, message: str) -> tuple[Outcome, Failure, list[UsedUp]]:
    return Outcome.LIMIT, _failure(f"LIMIT_{name}", message), [UsedUp[name]]


def _failure(code: str, message: str) -> Failure:
    shown = _UNPRINTABLE.sub(_escaped, message)[:_MESSAGE_CHARACTERS]
    # A lone half of a character pair cannot be sent as text.
    shown = shown.encode("utf-8", "backslashreplace").decode()
    return Failure(code=code, message=shown, resolution=_RESOLUTIONS[code])


def _shown(data: bytes, limits: Limits) -> str:
    text = data.decode("utf-8", "backslashreplace").replace("\r\n", "\n")
    shown = _UNPRINTABLE.sub(_escaped, text)
    if len(shown) == len(text):
        return shown
    # What was escaped is up to six times as long.
    kept = Kept(limits.output_bytes)
    kept.add(shown.encode())
    return kept.content().decode(errors="ignore")


def _file_name(name: str) -> str:
    return _UNPRINTABLE.sub(_escaped, name).replace("\n", "\\n").replace("\t", "\\t")


def _escaped(match: re.Match[str]) -> str:
    number = ord(match.group())
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}"


def _json(data: bytes) -> str | None:
    try:
        text = data.decode("utf-8")
        json.loads(text)
    except (ValueError, RecursionError):
        return None
    return text
