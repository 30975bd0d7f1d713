"""The files of a run: listed, and written to a folder."""

from pathlib import Path, PurePosixPath
from typing import Annotated

import typer

from cadre_cli.errors import CliError
from cadre_cli.options import JsonFlag
from cadre_cli.screen import escape, print_json, print_table
from cadre_cli.session import gateway

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Adds the command."""
    app.command(
        "files",
        epilog="Examples: cadre runs files 01J... · cadre runs files 01J... --save results",
    )(files)


def files(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The run's id.", show_default=False)],
    save: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Writes them there, replacing nothing.")
    ] = None,
    json_: JsonFlag = False,
) -> None:
    """List the files that a run's tools and programs left."""
    with gateway() as client:
        found = client.run_files(run)
        if save is not None:
            for file in found:
                _write(save, file.path, client.read_run_file(run, file.path))
    if json_:
        print_json([file.model_dump(mode="json") for file in found])
    else:
        rows = [[escape(f.path), str(f.size_bytes), escape(f.media_type)] for f in found]
        print_table(["File", "Bytes", "Type"], rows, empty="It left none.")


def _write(folder: Path, path: str, content: bytes) -> None:
    parts = PurePosixPath(path).parts
    target = folder.joinpath(*parts)
    if not parts or ".." in parts or PurePosixPath(path).is_absolute():
        return
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            file.write(content)
    except OSError as exc:
        raise CliError(
            f"{target} is not written: {exc.strerror}",
            code="FILE_UNWRITABLE",
            resolution="Choose another folder with --save.",
        ) from exc
