"""Files that hold one secret each: made once, readable by their owner only."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from cadre_kit.errors import FailedPrecondition
from cadre_kit.logs import logger

__all__ = ["SecretFileUnusable", "read_or_make", "read_secret"]

log = logger()


class SecretFileUnusable(FailedPrecondition):
    """A secret's file cannot be read or made, or is empty."""

    code = "SECRET_FILE_UNUSABLE"


def read_or_make(path: Path, make: Callable[[], str]) -> str:
    """The secret in a file; the first call makes it, and of several at once one makes it for all.

    Raises SecretFileUnusable.
    """
    try:
        if not path.exists():
            _make(path, make())
    except OSError as exc:
        raise _unusable(path, f"{type(exc).__name__}") from exc
    return read_secret(path)


def read_secret(path: Path) -> str:
    """The secret in a file. Raises SecretFileUnusable."""
    try:
        secret = path.read_text(encoding="utf-8").strip()
        open_to_others = path.stat().st_mode & 0o077
    except (OSError, UnicodeDecodeError) as exc:
        raise _unusable(path, f"{type(exc).__name__}") from exc
    if not secret:
        raise _unusable(path, "it is empty")
    if open_to_others:
        log.warning("secret_file_open_to_others", path=str(path), resolution=f"chmod 600 {path}")
    return secret


def _make(path: Path, secret: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # mkstemp makes it 0600. Linked, not renamed: of two gateways that start at once the first one's secret stays.
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(secret + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)
    except FileExistsError:
        log.debug("secret_file_made_by_another", path=str(path))
    finally:
        os.unlink(temporary)


def _unusable(path: Path, reason: str) -> SecretFileUnusable:
    return SecretFileUnusable(
        f"the secret file {path} cannot be used: {reason}",
        resolution="Correct the file or its rights; when it is removed, a new secret is made.",
        metadata={"path": str(path)},
    )
