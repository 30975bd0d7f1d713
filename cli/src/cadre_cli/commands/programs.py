"""Runs a program in the sandbox, outside of any workflow."""

import base64
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypedDict

import typer

from cadre_cli.errors import CliError, ExitStatus
from cadre_cli.options import InputValues, JsonFlag, read_inputs, read_text
from cadre_cli.screen import errors, output, print_json
from cadre_cli.session import gateway
from cadre_cli.words import as_text

if TYPE_CHECKING:
    from cadre_client import Execution

__all__ = ["add_to"]


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


_NEW = "new"


class _Means(TypedDict, total=False):
    """What a program may use; in a session that is settled."""

    mode: str
    preset: str | None
    memory_mb: int
    packages: list[str]
    hosts: list[str]


def add_to(app: typer.Typer) -> None:
    """Adds the command."""
    app.command(
        "exec",
        epilog="Examples: cadre exec sum.py -i n:=10 · cadre exec long.py --preset high · "
        "cadre exec plot.py --mode docker --file data.csv · cadre exec load.py --session new · "
        "cadre exec next.py --session ID --close",
    )(execute)


def execute(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE.py", help="A program; - reads standard input.", show_default=False
        ),
    ],
    mode: Annotated[
        Mode, typer.Option(help="python: restricted and fast; docker: any Python, in a container.")
    ] = Mode.PYTHON,
    preset: Annotated[
        Preset | None,
        typer.Option(
            help="CPUs, memory and time in one word: low 0.5, 256 MiB, 30 s; medium 1, 512, 60; high 2, 1024, 120; "
            "max 4, 2048, 300. Without it 1, 256, 10.",
            show_default=False,
        ),
    ] = None,
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="Its time; 0 is the preset's.")
    ] = 0.0,
    memory_mb: Annotated[
        int, typer.Option(metavar="N", min=0, help="Its memory, MiB; 0 is the preset's.")
    ] = 0,
    input_: InputValues = None,
    file_: Annotated[
        list[Path] | None,
        typer.Option("--file", metavar="PATH", help="A file that it finds in its folder."),
    ] = None,
    package: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A package that it may import (mode docker)."),
    ] = None,
    host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOST", help="A host that it may reach (mode docker); * for all allowed."
        ),
    ] = None,
    session: Annotated[
        str,
        typer.Option(
            metavar="ID",
            help="Runs it on the variables and files of a session; new opens one and says its id.",
            show_default=False,
        ),
    ] = "",
    close: Annotated[bool, typer.Option("--close", help="Ends the session after it.")] = False,
    json_: JsonFlag = False,
) -> int:
    """Run a program in the sandbox.

    Its output and result are printed; files that it leaves are written to this folder. The exit status is 0 when it
    succeeded, else 1.
    """
    if close and not session:
        raise typer.BadParameter("there is no session to close; name it with --session")
    code, inputs = read_text(file), read_inputs(input_, None)
    files = {path.name: _content(path) for path in file_ or []}
    means = _Means(
        mode=mode.value,
        preset=preset and preset.value,
        memory_mb=memory_mb,
        packages=package or [],
        hosts=host or [],
    )
    with gateway() as client:
        if session == _NEW:
            session = client.open_session(timeout_seconds=timeout, **means).id
            means = _Means()
        done = client.execute(
            code, inputs=inputs, timeout_seconds=timeout, files=files, session_id=session, **means
        )
        if close:
            client.close_session(session)
    if json_:
        print_json(_document(done) | ({"session": session} if session else {}))
    else:
        _print(done)
        if session and not close:
            errors().print(f"Session {session}", markup=False, highlight=False, soft_wrap=True)
    return ExitStatus.SUCCEEDED if done.outcome == "succeeded" else ExitStatus.FAILED


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise CliError(
            f"{path} cannot be read: {exc.strerror}",
            code="FILE_UNREADABLE",
            resolution="Check the file's name and that you may read it.",
        ) from exc


def _document(done: "Execution") -> dict[str, Any]:
    document = done.model_dump(mode="json", exclude={"error": {"node"}})
    names = (
        "outcome",
        "stdout",
        "stderr",
        "result",
        "files",
        "limits_reached",
        "usage",
        "walls",
        "error",
    )
    return {name: document[name] for name in names}


def _print(done: "Execution") -> None:
    sys.stdout.write(done.stdout)
    sys.stdout.flush()
    sys.stderr.write(done.stderr)
    if done.result is not None:
        output().print(as_text(done.result), markup=False, highlight=False, soft_wrap=True)
    if done.session_reset:
        errors().print("The session's variables are gone: its process had to be killed.")
    for file in done.files:
        errors().print(_written(file.name, base64.b64decode(file.content)), markup=False)
    if done.error is not None:
        text = f"{done.outcome}: {done.error.message}\n{done.error.resolution}"
        errors().print(text, markup=False, highlight=False, soft_wrap=True)


def _written(name: str, content: bytes) -> str:
    # Its name is the program's own choice: only its last part counts, and nothing is overwritten.
    path = Path(Path(name).name)
    try:
        with path.open("xb") as file:
            file.write(content)
    except OSError as exc:
        return f"{path} is not written: {exc.strerror}"
    return f"Wrote {path} ({len(content)} bytes)"
