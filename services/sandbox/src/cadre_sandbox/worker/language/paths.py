"""pathlib, os and glob over the files of a program, which are in its own memory: no call of the kernel is behind them.

A path is made of one of Python's own, to which only plain text is ever given, and which a program never has in hand.
"""

import functools
import os
import posixpath
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Any, TypeAlias

from cadre_sandbox.worker.language.folder import WORK, Folder, as_text, opener

__all__ = ["PurePath", "path_modules", "path_text", "paths_lead_to"]

Visit: TypeAlias = tuple[str, list[str], list[str]]
"""What os.walk says of a folder: its path, and the names of folders and files in it."""


@dataclass(frozen=True, kw_only=True)
class Status:
    """What there is to say of a file: its size in bytes."""

    st_size: int


@functools.total_ordering
class PurePath:
    """pathlib.PurePath."""

    # A name that programs may not read, not even of their own objects.
    __slots__ = ("__pure__",)
    __pure__: PurePosixPath

    def __init__(self, *segments: Any) -> None:
        self.__pure__ = PurePosixPath(*map(path_text, segments))

    def __str__(self) -> str:
        return str(_pure(self))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def __bytes__(self) -> bytes:
        return bytes(_pure(self))

    def __hash__(self) -> int:
        return hash(_pure(self))

    def __eq__(self, other: object) -> bool:
        return _pure(self) == _pure(other) if _is_path(other) else NotImplemented

    def __lt__(self, other: object) -> bool:
        return _pure(self) < _pure(other) if _is_path(other) else NotImplemented

    def __truediv__(self, other: Any) -> Any:
        return _like(self, _pure(self) / path_text(other)) if _is_part(other) else NotImplemented

    def __rtruediv__(self, other: Any) -> Any:
        return _like(self, path_text(other) / _pure(self)) if _is_part(other) else NotImplemented

    def __copy__(self) -> "PurePath":
        return self

    def __deepcopy__(self, _: Any) -> "PurePath":
        return self

    @property
    def name(self) -> str:
        return _pure(self).name

    @property
    def stem(self) -> str:
        return _pure(self).stem

    @property
    def suffix(self) -> str:
        return _pure(self).suffix

    @property
    def suffixes(self) -> list[str]:
        return _pure(self).suffixes

    @property
    def parts(self) -> tuple[str, ...]:
        return _pure(self).parts

    @property
    def anchor(self) -> str:
        return _pure(self).anchor

    @property
    def root(self) -> str:
        return _pure(self).root

    @property
    def drive(self) -> str:
        return ""

    @property
    def parent(self) -> Any:
        return _like(self, _pure(self).parent)

    @property
    def parents(self) -> tuple[Any, ...]:
        return tuple(_like(self, parent) for parent in _pure(self).parents)

    def as_posix(self) -> str:
        return str(self)

    def is_absolute(self) -> bool:
        return _pure(self).is_absolute()

    def joinpath(self, *others: Any) -> Any:
        return _like(self, _pure(self).joinpath(*map(path_text, others)))

    def with_name(self, name: str) -> Any:
        return _like(self, _pure(self).with_name(path_text(name)))

    def with_stem(self, stem: str) -> Any:
        return _like(self, _pure(self).with_stem(path_text(stem)))

    def with_suffix(self, suffix: str) -> Any:
        return _like(self, _pure(self).with_suffix(path_text(suffix)))

    def relative_to(self, other: Any) -> Any:
        return _like(self, _pure(self).relative_to(path_text(other)))

    def is_relative_to(self, other: Any) -> bool:
        return _pure(self).is_relative_to(path_text(other))

    def match(self, pattern: str) -> bool:
        return _pure(self).match(path_text(pattern))


class Path(PurePath):
    """pathlib.Path."""

    __slots__ = ()
    __folder__: Folder

    @classmethod
    def cwd(cls) -> "Path":
        return Path(WORK)

    def absolute(self) -> "Path":
        return Path(WORK, self)

    def resolve(self, strict: bool = False) -> "Path":
        if strict:
            self.stat()
        return Path(posixpath.normpath(path_text(self.absolute())))

    def exists(self) -> bool:
        return self.is_file() or self.is_dir()

    def is_file(self) -> bool:
        return self.__folder__.has_file(path_text(self))

    def is_dir(self) -> bool:
        return self.__folder__.has_folder(path_text(self))

    def is_symlink(self) -> bool:
        return False

    def stat(self) -> Status:
        return Status(st_size=self.__folder__.size(path_text(self)))

    def open(self, mode: str = "r", *layout: Any, **options: Any) -> Any:
        return opener(self.__folder__, path_text)(self, mode, *layout, **options)

    def read_text(self, encoding: str | None = None, errors: str | None = None) -> str:
        with self.open(encoding=encoding, errors=errors) as file:
            return str(file.read())

    def read_bytes(self) -> bytes:
        with self.open("rb") as file:
            return bytes(file.read())

    def write_text(
        self,
        data: str,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> int:
        if not issubclass(type(data), str):
            raise TypeError(f"data must be str, not {type(data).__name__}")
        with self.open("w", encoding=encoding, errors=errors, newline=newline) as file:
            return int(file.write(data))

    def write_bytes(self, data: Any) -> int:
        with self.open("wb") as file:
            return int(file.write(data))

    def touch(self, mode: int = 0o666, exist_ok: bool = True) -> None:
        self.open("a" if exist_ok else "x").close()

    def unlink(self, missing_ok: bool = False) -> None:
        if not missing_ok or self.exists():
            self.__folder__.remove(path_text(self))

    def rename(self, target: Any) -> "Path":
        self.__folder__.rename(path_text(self), path_text(target))
        return Path(target)

    def replace(self, target: Any) -> "Path":
        return self.rename(target)

    def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        self.__folder__.make_folder(path_text(self), parents=parents, exist_ok=exist_ok)

    def rmdir(self) -> None:
        self.__folder__.remove_folder(path_text(self))

    def iterdir(self) -> Iterator["Path"]:
        return iter([self / name for name in self.__folder__.names(path_text(self))])

    def glob(self, pattern: str) -> Iterator["Path"]:
        parts = PurePosixPath(path_text(pattern)).parts
        return iter([self.joinpath(*found) for found in _below(self.__folder__, self, parts)])

    def rglob(self, pattern: str) -> Iterator["Path"]:
        return self.glob(f"**/{path_text(pattern)}")


# As Python shows them.
PurePath.__name__ = PurePath.__qualname__ = "PurePosixPath"
Path.__name__ = Path.__qualname__ = "PosixPath"
PurePath.__module__ = Path.__module__ = "pathlib"


def paths_lead_to(folder: Folder) -> None:
    """Paths are of the folder of the one program that this process runs."""
    Path.__folder__ = folder


def path_modules(folder: Folder) -> dict[str, dict[str, Any]]:
    """What programs get as pathlib, os, os.path and glob; `paths_lead_to` before one of them runs."""
    return {
        "glob": _globs(folder),
        "os": _system(folder),
        "os.path": _path_functions(folder),
        "pathlib": {
            "Path": Path,
            "PosixPath": Path,
            "PurePath": PurePath,
            "PurePosixPath": PurePath,
        },
    }


def _system(folder: Folder) -> dict[str, Any]:
    def listdir(path: Any = ".") -> list[str]:
        return folder.names(path_text(path))

    def makedirs(name: Any, mode: int = 0o777, exist_ok: bool = False) -> None:
        folder.make_folder(path_text(name), parents=True, exist_ok=exist_ok)

    def mkdir(path: Any, mode: int = 0o777) -> None:
        folder.make_folder(path_text(path), parents=False, exist_ok=False)

    def rename(src: Any, dst: Any) -> None:
        folder.rename(path_text(src), path_text(dst))

    def remove(path: Any) -> None:
        folder.remove(path_text(path))

    def rmdir(path: Any) -> None:
        folder.remove_folder(path_text(path))

    def walk(top: Any, topdown: bool = True, **_: Any) -> Iterator[Visit]:
        start = path_text(top)
        return visits(start, topdown) if folder.is_folder_inside(start) else iter(())

    def visits(top: str, topdown: bool) -> Iterator[Visit]:
        names = folder.names(top)
        folders = [name for name in names if folder.has_folder(posixpath.join(top, name))]
        visit = top, folders, [name for name in names if name not in folders]
        if topdown:
            yield visit
        # Those that the program has taken out of the list are not gone into.
        for name in folders:
            yield from walk(posixpath.join(top, name), topdown)
        if not topdown:
            yield visit

    plain = {name: getattr(os, name) for name in "curdir extsep linesep pardir sep".split()}
    return plain | {
        "fspath": path_text,
        "listdir": listdir,
        "makedirs": makedirs,
        "mkdir": mkdir,
        "remove": remove,
        "rename": rename,
        "replace": rename,
        "rmdir": rmdir,
        "stat": lambda path: Status(st_size=folder.size(path_text(path))),
        "unlink": remove,
        "walk": walk,
    }


def _path_functions(folder: Folder) -> dict[str, Any]:
    def of_text(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *paths: function(*map(path_text, paths))

    def absolute(path: str) -> str:
        return posixpath.normpath(posixpath.join(WORK, path))

    def relative(path: str, start: str = ".") -> str:
        return posixpath.relpath(absolute(path), absolute(start))

    plain = "basename dirname isabs join normcase normpath split splitext".split()
    of_many = "commonpath commonprefix".split()
    return {
        **{name: of_text(getattr(posixpath, name)) for name in plain},
        **{name: _of_texts(getattr(posixpath, name)) for name in of_many},
        "abspath": of_text(absolute),
        "exists": of_text(lambda path: folder.has_file(path) or folder.has_folder(path)),
        "getsize": of_text(folder.size),
        "isdir": of_text(folder.has_folder),
        "isfile": of_text(folder.has_file),
        "islink": of_text(lambda _: False),
        "realpath": of_text(absolute),
        "relpath": of_text(relative),
        "sep": posixpath.sep,
    }


def _of_texts(function: Callable[[list[str]], str]) -> Callable[[Any], str]:
    return lambda paths: function([path_text(path) for path in paths])


def _globs(folder: Folder) -> dict[str, Any]:
    def found(pathname: Any, *, recursive: bool = False) -> list[str]:
        path = PurePosixPath(path_text(pathname))
        root = path.root or "."
        parts = path.parts[1:] if path.root else path.parts
        if not recursive:
            parts = tuple("*" if part == "**" else part for part in parts)
        hidden = any(part[0] == "." for part in parts)
        return [
            posixpath.join(path.root, *names)
            for names in _below(folder, root, parts)
            if hidden or not any(name[0] == "." for name in names)
        ]

    return {"glob": found, "iglob": lambda *path, **how: iter(found(*path, **how))}


def _below(folder: Folder, start: Any, pattern: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The parts of the paths of all files and folders below `start` that fit the parts of a pattern."""
    everything = folder.below(path_text(start))
    return [parts for parts in everything if _fits(parts, pattern)]


def _fits(parts: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return _fits(parts, pattern[1:]) or (bool(parts) and _fits(parts[1:], pattern))
    return bool(parts) and fnmatchcase(parts[0], pattern[0]) and _fits(parts[1:], pattern[1:])


def _pure(path: Any) -> PurePosixPath:
    """Raises TypeError for what is no path of ours, whatever it says of itself."""
    return _slot(path)  # type: ignore[no-any-return]  # a descriptor


_slot: Callable[[Any], Any] = PurePath.__dict__["__pure__"].__get__


def _is_path(value: Any) -> bool:
    return issubclass(type(value), PurePath)


def _is_part(value: Any) -> bool:
    return issubclass(type(value), (str, PurePath))


def path_text(value: Any) -> str:
    """A path in plain text, of a text or of a path of ours."""
    return str(_pure(value)) if _is_path(value) else as_text(value)


def _like(path: Any, pure: PurePosixPath) -> Any:
    return type(path)(str(pure))
