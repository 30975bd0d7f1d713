"""Runs one program in its own process, from its request to the frame that says how it ended."""

import base64
import builtins
import contextlib
import json
import keyword
import os
import struct
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any

from cadre_sandbox.worker.frames import Tag, frame
from cadre_sandbox.worker.language import guards, modules, threads
from cadre_sandbox.worker.language.builtin_names import program_builtins
from cadre_sandbox.worker.language.folder import Folder, opener
from cadre_sandbox.worker.language.ownership import NotAllowed
from cadre_sandbox.worker.language.paths import path_text
from cadre_sandbox.worker.language.rules import variable_problem
from cadre_sandbox.worker.language.transformer import (
    FILENAME,
    HINT,
    READ,
    REFUSE,
    WRITE,
    ProgramRefused,
    compile_program,
)

__all__ = ["Interpreter"]

_MESSAGE_CHARACTERS = 2_000
_TRACEBACK_LINES = 20
_PROBLEMS = 5
_FILE_COUNT, _FILE_BYTES, _ALL_BYTES, _NAME_BYTES = 100, 10 * 1024 * 1024, 12 * 1024 * 1024, 200
_LISTED = 1000


class _Stream:
    """A program's stdout or stderr."""

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self._send = send
        self._redirections: list[Any] = []

    @contextlib.contextmanager
    def redirected(self, target: Any) -> Iterator[Any]:
        """contextlib.redirect_stdout and redirect_stderr."""
        self._redirections.append(target)
        try:
            yield target
        finally:
            self._redirections.pop()

    def write(self, text: str, /) -> int:
        if not issubclass(type(text), str):
            raise TypeError(f"write() takes text, not {type(text).__name__}")
        if self._redirections:
            target = self._redirections[-1]
            return len(text) if target is None else guards.read(target, "write")(text)
        self._send(str.__str__(text).encode("utf-8", "surrogatepass"))
        return len(text)

    def writelines(self, lines: Iterable[str], /) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Nothing is held back."""

    def isatty(self) -> bool:
        return False


class Interpreter:
    """Runs one program and writes frames to the descriptor `out`, the last of them END.

    Made in the zygote, so that what all programs share is there when a program's process starts.
    """

    def __init__(self, *, out: int) -> None:
        self._out = out
        self._out_of_memory = frame(Tag.END, b'{"outcome": "limit", "code": "LIMIT_MEMORY"}')
        self._stderr = _Stream(lambda data: self._send(Tag.STDERR, data))
        stdout = self._stdout = _Stream(lambda data: self._send(Tag.STDOUT, data))
        self._folder = Folder()
        known = modules.frozen_modules(
            streams={"stdout": stdout, "stderr": self._stderr},
            format_traceback=_traceback_of,
            folder=self._folder,
        )
        self._builtins = program_builtins(
            import_module=modules.importer(known),
            open_=opener(self._folder, path_text),
            print_=_printer(stdout),
            leave=known["sys"].exit,
        )

    def serve(self, asked: Mapping[str, Any], variables: dict[str, Any] | None = None) -> bool:
        """Does what a request asks: to run a program, or to tell of the files of its session."""
        match asked:
            case {"read": str(name)}:
                content = self._folder.content(name)
                self._send_files([] if content is None else [(name, content)])
            case {"list": True}:
                self._send(Tag.RESULT, json.dumps(self._folder.sizes()[:_LISTED]).encode())
            case _:
                return self.run(
                    code=asked["code"],
                    inputs=asked["inputs"],
                    files=asked["files"],
                    variables=variables,
                )
        self._send(Tag.END, b'{"outcome": "succeeded"}')
        return True

    def run(
        self,
        *,
        code: str,
        inputs: dict[str, Any],
        files: Mapping[str, str] | None = None,
        variables: dict[str, Any] | None = None,
    ) -> bool:
        """Runs `code` to its end, on the `variables` that earlier calls of its session left; says whether they are
        still good. Without a session once only: a program may have changed whatever it got. `files` are in base64.
        """
        variables = {} if variables is None else variables
        try:
            end = self._ran(code, inputs, files or {}, variables)
        except MemoryError:
            # Whatever the program holds goes first: to say anything takes memory, and some of it may stay.
            variables.clear()
            os.write(self._out, self._out_of_memory)
            return False
        self._send(Tag.END, json.dumps(end).encode())
        return end["outcome"] != "limit"

    def _ran(
        self,
        code: str,
        inputs: dict[str, Any],
        files: Mapping[str, str],
        variables: dict[str, Any],
    ) -> dict[str, str]:
        """How the program ended, once its result and files are passed on. Raises MemoryError."""
        modules.files_lead_to(self._folder)
        threads.begin(self._report)
        before = variables.get("result")
        names: tuple[str, ...] = ()
        # Where the library prints by itself, as a TextCalendar or a warning does.
        sys.stdout, sys.stderr = self._stdout, self._stderr
        # Where argparse looks when it is given none.
        sys.argv = ["program"]
        try:
            self._folder.put({name: base64.b64decode(text) for name, text in files.items()})
            compiled = compile_program(code)
            names = compiled.co_names
            variables.update(self._variables(inputs))
            exec(compiled, variables)  # noqa: S102 - what this process is for
            threads.finish()
        except MemoryError:
            raise
        except BaseException as exc:  # noqa: BLE001 - the outermost frame of the program
            end = _ending(exc, self._stderr)
        else:
            end = {"outcome": "succeeded"}
        left = variables.get("result")
        # An earlier call's is said again only by a program that names it.
        is_new = left is not before or "result" in names
        if end["outcome"] == "succeeded" and left is not None and is_new:
            end = _send_result(left, lambda data: self._send(Tag.RESULT, data))
        if end["outcome"] != "limit":
            self._send_files(self._folder.changed())
        return end

    def _report(self, what: str, exc: BaseException) -> None:
        self._stderr.write(f"{what}:\n{_traceback(exc)}")

    def _send(self, tag: Tag, payload: bytes) -> None:
        view = memoryview(frame(tag, payload))
        while view:
            view = view[os.write(self._out, view) :]

    def _send_files(self, files: Iterable[tuple[str, bytes]]) -> None:
        """Passes files on, and says when some are left out."""
        count = total = 0
        for name, content in files:
            encoded = name.encode("utf-8", "surrogatepass")
            size = len(content)
            fits = size <= _FILE_BYTES and total + size <= _ALL_BYTES
            if len(encoded) > _NAME_BYTES or count >= _FILE_COUNT or not fits:
                self._send(Tag.FILE_LEFT_OUT, encoded[:_NAME_BYTES])
                continue
            count, total = count + 1, total + size
            self._send(Tag.FILE, struct.pack("!HI", len(encoded), size) + encoded + content)

    def _variables(self, inputs: dict[str, Any]) -> dict[str, Any]:
        variables: dict[str, Any] = {
            "__builtins__": self._builtins,
            "__name__": "__main__",
            FILENAME: True,
            HINT: guards.hint,
            READ: guards.read,
            REFUSE: guards.refuse_import,
            WRITE: guards.write,
        }
        for name, value in inputs.items():
            if name.isidentifier() and not keyword.iskeyword(name) and not variable_problem(name):
                variables[name] = value
        return variables | {"inputs": inputs}


def _printer(stdout: _Stream) -> Callable[..., None]:
    def print_(
        *values: Any,
        sep: str | None = " ",
        end: str | None = "\n",
        file: Any = None,
        flush: bool = False,
    ) -> None:
        """print()"""
        text = (" " if sep is None else sep).join([str(value) for value in values])
        text += "\n" if end is None else end
        (stdout.write if file is None else guards.read(file, "write"))(text)

    return print_


# How it ended


def _ending(exc: BaseException, stderr: _Stream) -> dict[str, str]:
    if isinstance(exc, ProgramRefused):
        return _refused(exc)
    if isinstance(exc, SystemExit) and exc.code in (None, 0):
        return {"outcome": "succeeded"}
    stderr.write(_traceback(exc))
    where = _where(exc)
    if isinstance(exc, NotAllowed):
        return {"outcome": "blocked", "code": "CODE_BLOCKED", "message": where + _text(exc)}
    if isinstance(exc, SystemExit):
        return _failed(f"{where}the program ended itself with status {_text(exc)}")
    return _failed(where + _named(exc))


def _failed(message: str) -> dict[str, str]:
    return {"outcome": "failed", "code": "CODE_FAILED", "message": message[:_MESSAGE_CHARACTERS]}


def _refused(exc: ProgramRefused) -> dict[str, str]:
    said = list(dict.fromkeys(f"line {line}: {what}" for line, what in sorted(exc.problems)))
    if len(said) > _PROBLEMS:
        said[_PROBLEMS:] = [f"and {len(said) - _PROBLEMS} more"]
    message = "; ".join(said)[:_MESSAGE_CHARACTERS]
    return {"outcome": "blocked", "code": "CODE_BLOCKED", "message": message}


def _own_lines(tb: TracebackType | None) -> list[tuple[int, str]]:
    lines = []
    while tb is not None:
        code = tb.tb_frame.f_code
        if code.co_filename == FILENAME:
            lines.append((tb.tb_lineno, code.co_name))
        tb = tb.tb_next
    return lines


def _where(exc: BaseException) -> str:
    if isinstance(exc, SyntaxError) and exc.filename == FILENAME:
        return f"line {exc.lineno}: "
    lines = _own_lines(exc.__traceback__)
    return f"line {lines[-1][0]}: " if lines else ""


def _text(exc: BaseException) -> str:
    try:
        text = exc.msg if isinstance(exc, SyntaxError) and type(exc.msg) is str else str(exc)
    except BaseException:  # noqa: BLE001 - __str__ may be the program's own
        return "(its text cannot be had)"
    return str.__str__(text)[:_MESSAGE_CHARACTERS]


def _named(exc: BaseException) -> str:
    text = _text(exc)
    return f"{type(exc).__name__}: {text}" if text else type(exc).__name__


def _traceback(exc: BaseException) -> str:
    lines = [f"  line {number}, in {name}" for number, name in _own_lines(exc.__traceback__)]
    if len(lines) > _TRACEBACK_LINES:
        half = _TRACEBACK_LINES // 2
        lines[half:-half] = [f"  ... {len(lines) - 2 * half} more ..."]
    head = ["Traceback (most recent call last):", *lines] if lines else []
    return "\n".join([*head, _where(exc) * (not lines) + _named(exc)]) + "\n"


def _traceback_of(exc: BaseException | None = None) -> str:
    """The traceback of an exception, or of the one that is being handled."""
    exc = sys.exc_info()[1] if exc is None else exc
    return "NoneType: None\n" if exc is None else _traceback(exc)


# The result


def _send_result(result: Any, send: Callable[[bytes], None]) -> dict[str, str]:
    try:
        text = json.dumps(result, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        send(text.encode("utf-8", "surrogatepass"))
    except MemoryError:
        return {"outcome": "limit", "code": "LIMIT_MEMORY"}
    except RecursionError:
        return _not_json("result is nested too deeply")
    except (TypeError, ValueError):
        return _not_json(_first_not_json(result, "result", ()) or "result refers to itself")
    except BaseException as exc:  # noqa: BLE001 - classes in the result may be the program's own
        return _failed(f"result cannot be written as JSON: {_named(exc)}")
    return {"outcome": "succeeded"}


def _not_json(message: str) -> dict[str, str]:
    return {
        "outcome": "failed",
        "code": "RESULT_NOT_JSON",
        "message": message[:_MESSAGE_CHARACTERS],
    }


def _first_not_json(value: Any, path: str, parents: tuple[int, ...]) -> str:
    cls = type(value)
    if value is None or issubclass(cls, (str, int)):
        return ""
    if issubclass(cls, float):
        number = float.__repr__(value)
        return (
            f"{path} is {number}, which JSON does not have"
            if number in ("nan", "inf", "-inf")
            else ""
        )
    if id(value) in parents:
        return f"{path} contains itself"
    inside = (*parents, id(value))
    if issubclass(cls, dict):
        for key, item in dict.items(value):
            if key is not None and not issubclass(type(key), (str, int, float)):
                return f"a key of {path} is a {type(key).__name__}; JSON's keys are text"
            if problem := _first_not_json(item, f"{path}[{_shown(key)}]", inside):
                return problem
        return ""
    if issubclass(cls, (list, tuple)):
        for index, item in enumerate(
            list.__iter__(value) if issubclass(cls, list) else tuple.__iter__(value)
        ):
            if problem := _first_not_json(item, f"{path}[{index}]", inside):
                return problem
        return ""
    return f"{path} is a {cls.__name__}, which JSON does not have"


def _shown(key: Any) -> str:
    return builtins.repr(key)[:60] if type(key) in (str, int, float, bool, type(None)) else "..."
