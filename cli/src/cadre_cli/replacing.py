"""Puts a text into a file's place."""

import os
import sys
import tempfile
from pathlib import Path

from cadre_cli.errors import CliError

__all__ = ["replace_text"]


def replace_text(file: Path, text: str) -> None:
    """Puts the text in the file's place at once, so that no reader sees half of it; - is standard output.

    Raises CliError naming the file.
    """
    if str(file) == "-":
        sys.stdout.write(text)
        return
    target = file.resolve()
    try:
        mode = target.stat().st_mode if target.exists() else 0o644
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", newline="", dir=target.parent, delete=False
        ) as beside:
            beside.write(text)
        os.chmod(beside.name, mode)
        os.replace(beside.name, target)
    except OSError as exc:
        raise CliError(
            f"{file} cannot be written: {exc.strerror}",
            code="FILE_UNWRITABLE",
            resolution="Check that you may write to the file and its folder.",
        ) from exc
