"""The files of runs: a folder each, from which no path leads out.

Every path is walked folder by folder from an open descriptor, and no step follows a symbolic link: so neither `..`, nor
absolute paths, nor links, nor a folder that is swapped meanwhile leads anywhere else.
"""

import os
import re
import shutil
import stat
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from cadre_executor.domain.tools import ToolFailed
from cadre_kit.ids import new_id

__all__ = ["Entry", "Workspace", "WorkspaceLimits", "Workspaces"]

_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
_LONGEST_NAME_BYTES = 255
_DEEPEST = 16
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Without NONBLOCK, opening a named pipe would wait for its other end.
_FILE = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


@dataclass(frozen=True, kw_only=True)
class WorkspaceLimits:
    """Bounds of one run's files."""

    max_bytes: int = 256 * 1024 * 1024
    max_files: int = 1000


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A file: where it is in the workspace, and its size in bytes."""

    path: str
    size: int


class Workspaces:
    """All runs' folders, under one."""

    def __init__(self, root: Path, *, limits: WorkspaceLimits | None = None) -> None:
        self._root = root
        self._limits = limits or WorkspaceLimits()
        self._writing = threading.Lock()

    @contextmanager
    def open(self, run_id: str) -> Iterator["Workspace"]:
        """A run's folder, made when it is not there."""
        name = _checked_run_id(run_id)
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
        (self._root / name).mkdir(exist_ok=True, mode=0o700)
        folder = os.open(self._root / name, _FOLDER)
        try:
            yield Workspace(folder, limits=self._limits, writing=self._writing)
        finally:
            os.close(folder)

    def run_ids(self) -> Sequence[str]:
        """The runs that have a folder."""
        if not self._root.is_dir():
            return []
        return [entry.name for entry in self._root.iterdir() if _RUN_ID.fullmatch(entry.name)]

    def remove(self, run_id: str) -> None:
        """Removes a run's files."""
        shutil.rmtree(self._root / _checked_run_id(run_id), ignore_errors=True)


class Workspace:
    """One run's files. Paths are relative, with `/` between names. Methods raise ToolFailed with what is wrong."""

    def __init__(
        self, folder: int, *, limits: WorkspaceLimits, writing: AbstractContextManager[object]
    ) -> None:
        self._folder = folder
        self._limits = limits
        self._writing = writing

    @contextmanager
    def opened(self, path: str) -> Iterator[int]:
        """A descriptor of a regular file, to read."""
        parts = _parts(path)
        with self._parent(parts, path) as folder:
            file = _open(parts[-1], os.O_RDONLY | _FILE, folder, path)
        try:
            _refuse_special(file, path)
            yield file
        finally:
            os.close(file)

    def read(self, path: str, *, max_bytes: int) -> bytes:
        """A file's bytes."""
        with self.opened(path) as file:
            size = os.fstat(file).st_size
            if size > max_bytes:
                raise ToolFailed(
                    f"{path!r} has {size} bytes; at most {max_bytes} can be read",
                    code="FILE_TOO_LARGE",
                    metadata={"path": path},
                )
            with os.fdopen(os.dup(file), "rb") as stream:
                return stream.read(max_bytes)

    def write(self, path: str, content: bytes, *, mode: str = "replace") -> None:
        """Writes a file, making its folders. `mode` is replace, append or create."""
        parts = _parts(path)
        with self._writing:
            self._refuse_excess(len(content))
            with self._parent(parts, path, make=True) as folder:
                if mode == "replace":
                    _replace(parts[-1], content, folder, path)
                else:
                    _add(parts[-1], content, folder, path, new=mode == "create")

    def move(self, source: str, target: str, *, replace: bool = False) -> None:
        """Moves a file or folder."""
        old, new = _parts(source), _parts(target)
        with self._writing:
            with self._parent(old, source) as from_folder:
                with self._parent(new, target, make=True) as to_folder:
                    if not replace and _is_there(new[-1], to_folder):
                        raise ToolFailed(
                            f"there is a file at {target!r} already",
                            code="FILE_EXISTS",
                            resolution="Choose another target, or say replace: true.",
                            metadata={"path": target},
                        )
                    with _explained(source):
                        os.rename(old[-1], new[-1], src_dir_fd=from_folder, dst_dir_fd=to_folder)

    def glob(self, pattern: str, *, most: int) -> tuple[Sequence[Entry], bool]:
        """The files whose path matches, by path, and whether there are more than `most`."""
        wanted = tuple(pattern.strip("/").split("/"))
        found = sorted(
            (entry for entry in self._files() if _matches(tuple(entry.path.split("/")), wanted)),
            key=lambda entry: entry.path,
        )
        return found[:most], len(found) > most

    def _files(self) -> Iterator[Entry]:
        root = os.dup(self._folder)
        try:
            for at, _, names, folder in os.fwalk(".", dir_fd=root, follow_symlinks=False):
                for name in names:
                    with suppress(FileNotFoundError):
                        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
                        if stat.S_ISREG(found.st_mode):
                            path = os.path.normpath(os.path.join(at, name))
                            yield Entry(path=path, size=found.st_size)
        finally:
            os.close(root)

    def _refuse_excess(self, more: int) -> None:
        sizes = [entry.size for entry in self._files()]
        if len(sizes) >= self._limits.max_files:
            raise ToolFailed(
                f"the run has {len(sizes)} files, as many as it may",
                code="WORKSPACE_FULL",
                metadata={"files": str(len(sizes))},
            )
        if sum(sizes) + more > self._limits.max_bytes:
            raise ToolFailed(
                f"the run's files would take more than {self._limits.max_bytes} bytes",
                code="WORKSPACE_FULL",
                metadata={"max_bytes": str(self._limits.max_bytes)},
            )

    @contextmanager
    def _parent(self, parts: Sequence[str], path: str, *, make: bool = False) -> Iterator[int]:
        """A descriptor of the folder that a path's last name is in."""
        folder = os.dup(self._folder)
        try:
            for name in parts[:-1]:
                if make:
                    with suppress(FileExistsError):
                        os.mkdir(name, 0o700, dir_fd=folder)
                inner = _open(name, _FOLDER, folder, path)
                os.close(folder)
                folder = inner
            yield folder
        finally:
            os.close(folder)


def _checked_run_id(run_id: str) -> str:
    if not _RUN_ID.fullmatch(run_id):
        raise ToolFailed("this run's id names no workspace", metadata={"run_id": run_id[:128]})
    return run_id


def _parts(path: str) -> Sequence[str]:
    """The names in a path. Raises ToolFailed for a path that does not stay in the workspace, or cannot be one."""
    parts = [part for part in path.removeprefix("./").split("/") if part not in ("", ".")]
    outside = path.startswith("/") or ".." in parts or "\\" in path
    if outside or not parts:
        raise ToolFailed(
            f"{path[:200]!r} is no path in the run's workspace",
            code="PATH_OUTSIDE_WORKSPACE",
            resolution="Use a relative path without `..`, such as `notes/today.md`.",
            metadata={"path": path[:200]},
        )
    if len(parts) > _DEEPEST or any(_is_no_name(part) for part in parts):
        raise ToolFailed(
            f"{path[:200]!r} has a name that no file can have, or is deeper than {_DEEPEST} folders",
            code="PATH_REFUSED",
            metadata={"path": path[:200]},
        )
    return parts


def _is_no_name(part: str) -> bool:
    printable = (part.isprintable() and part.isascii()) or not any(ord(c) < 32 for c in part)
    try:
        return not printable or len(part.encode()) > _LONGEST_NAME_BYTES
    except UnicodeEncodeError:
        return True


def _open(name: str, flags: int, folder: int, path: str) -> int:
    with _explained(path):
        return os.open(name, flags, 0o600, dir_fd=folder)


@contextmanager
def _explained(path: str) -> Iterator[None]:
    """Says in our words what the system answered."""
    try:
        yield
    except FileNotFoundError as exc:
        raise ToolFailed(
            f"there is no file {path!r} in the run's workspace",
            code="FILE_NOT_FOUND",
            resolution="file_glob lists the files that there are.",
            metadata={"path": path},
        ) from exc
    except FileExistsError as exc:
        raise ToolFailed(
            f"there is a file at {path!r} already", code="FILE_EXISTS", metadata={"path": path}
        ) from exc
    except OSError as exc:
        raise ToolFailed(
            f"{path!r} cannot be used: {os.strerror(exc.errno or 0)}",
            code="PATH_REFUSED",
            metadata={"path": path},
        ) from exc


def _refuse_special(file: int, path: str) -> None:
    """Devices, pipes and folders are no files; a file of two names may belong to somebody else too."""
    found = os.fstat(file)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        raise ToolFailed(
            f"{path!r} is no ordinary file", code="PATH_REFUSED", metadata={"path": path}
        )


def _replace(name: str, content: bytes, folder: int, path: str) -> None:
    """Writes beside, then renames: whoever reads sees the old content or the new, never half of it."""
    if _is_folder(name, folder):
        raise ToolFailed(f"{path!r} is a folder", code="PATH_REFUSED", metadata={"path": path})
    beside = f".{new_id()}.part"
    file = _open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FILE, folder, path)
    try:
        with os.fdopen(file, "wb") as stream:
            stream.write(content)
        with _explained(path):
            os.replace(beside, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(beside, dir_fd=folder)
        raise


def _add(name: str, content: bytes, folder: int, path: str, *, new: bool) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | _FILE | (os.O_EXCL if new else 0)
    with os.fdopen(_open(name, flags, folder, path), "ab") as stream:
        _refuse_special(stream.fileno(), path)
        stream.write(content)


def _is_there(name: str, folder: int) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _is_folder(name: str, folder: int) -> bool:
    try:
        return stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


def _matches(parts: tuple[str, ...], wanted: tuple[str, ...]) -> bool:
    """Whether a path matches a pattern, `**` standing for any folders; in time by the product of their lengths."""
    reached = [True] + [False] * len(parts)
    for pattern in wanted:
        if pattern == "**":
            reached = [any(reached[: i + 1]) for i in range(len(reached))]
        else:
            steps = zip(reached, parts, strict=False)
            reached = [False, *(at and fnmatchcase(part, pattern) for at, part in steps)]
    return reached[-1]
