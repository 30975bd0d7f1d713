"""The files of a program: held in its own memory, so that `open` reaches none of the machine's.

A file is made of Python's own layers, over bytes of ours. A program gets a File, which passes on what it is asked: with
the layers themselves it could hand Python's C code buffers and streams of its own making.
"""

import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from operator import index
from pathlib import PurePosixPath
from typing import Any
from weakref import WeakSet

from cadre_sandbox.worker.language.ownership import CallNotAllowed

__all__ = ["File", "Folder", "opener"]

# As in a container: what is in the other folder is there for the program alone.
_WORK, _TEMPORARY = "/work", "/tmp"
_COPYABLE = (bytes, bytearray, memoryview)


class _Bytes(io.RawIOBase):
    """One open file: a place in bytes that all who have the file open share."""

    def __init__(self, content: bytearray, name: str, mode: str, changed: Callable[[], None]):
        self._content = content
        self._place = 0
        self._reads = "r" in mode or "+" in mode
        self._writes = mode.strip("rbt") != ""
        self._appends = "a" in mode
        self._changed = changed
        self.name = name
        if "w" in mode:
            self.truncate(0)

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file.")

    def readable(self) -> bool:
        self._check_open()
        return self._reads

    def writable(self) -> bool:
        self._check_open()
        return self._writes

    def seekable(self) -> bool:
        self._check_open()
        return True

    def readinto(self, buffer: Any) -> int:
        part = self._content[self._place : self._place + len(buffer)]
        buffer[: len(part)] = part
        self._place += len(part)
        return len(part)

    def write(self, data: Any) -> int:
        if self._appends:
            self._place = len(self._content)
        part = bytes(data)
        self._content.extend(bytes(max(0, self._place - len(self._content))))
        self._content[self._place : self._place + len(part)] = part
        self._place += len(part)
        self._changed()
        return len(part)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._check_open()
        base = (0, self._place, len(self._content))[whence]
        if base + offset < 0:
            raise OSError(22, "Invalid argument")
        self._place = base + offset
        return self._place

    def truncate(self, size: int | None = None) -> int:
        self._check_open()
        size = self._place if size is None else size
        del self._content[size:]
        self._content.extend(bytes(max(0, size - len(self._content))))
        self._changed()
        return size


class File:
    """A file as a program has it."""

    # A name that programs may not read, not even of their own objects.
    __slots__ = ("__stream__", "__weakref__", "mode", "name")
    __stream__: Any
    mode: str
    name: str

    def __new__(cls, *_: Any, **__: Any) -> "File":
        raise CallNotAllowed("a file is opened by open()")

    def __enter__(self) -> "File":
        self.__stream__.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.__stream__.close()

    def __iter__(self) -> "File":
        # A file that is closed says so here.
        iter(self.__stream__)
        return self

    def __next__(self) -> Any:
        return next(self.__stream__)

    def __repr__(self) -> str:
        return f"<file {self.name!r}, mode {self.mode!r}>"

    def close(self) -> None:
        self.__stream__.close()

    def flush(self) -> None:
        self.__stream__.flush()

    def read(self, size: int | None = -1, /) -> Any:
        return self.__stream__.read(-1 if size is None else index(size))

    def readline(self, size: int = -1, /) -> Any:
        return self.__stream__.readline(index(size))

    def readlines(self, hint: int | None = -1, /) -> Any:
        return self.__stream__.readlines(-1 if hint is None else index(hint))

    def write(self, data: Any, /) -> int:
        return int(self.__stream__.write(_plain(data)))

    def writelines(self, lines: Iterable[Any], /) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file.")
        for line in lines:
            self.write(line)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        if whence not in (io.SEEK_SET, io.SEEK_CUR, io.SEEK_END):
            raise ValueError(f"invalid whence ({whence!r}, should be 0, 1 or 2)")
        return int(self.__stream__.seek(index(offset), index(whence)))

    def tell(self) -> int:
        return int(self.__stream__.tell())

    def truncate(self, size: int | None = None, /) -> int:
        return int(self.__stream__.truncate(None if size is None else index(size)))

    def readable(self) -> bool:
        return bool(self.__stream__.readable())

    def writable(self) -> bool:
        return bool(self.__stream__.writable())

    def seekable(self) -> bool:
        return bool(self.__stream__.seekable())

    def isatty(self) -> bool:
        return bool(self.__stream__.isatty())

    def fileno(self) -> int:
        raise io.UnsupportedOperation("fileno")

    @property
    def closed(self) -> bool:
        return bool(self.__stream__.closed)

    @property
    def encoding(self) -> str | None:
        return getattr(self.__stream__, "encoding", None)


class Folder:
    """A program's files, by their path in its folder."""

    def __init__(self) -> None:
        self._contents: dict[str, bytearray] = {}
        self._changed: set[str] = set()
        self._streams: WeakSet[Any] = WeakSet()

    def put(self, files: Mapping[str, bytes]) -> None:
        """Has the files there, before a program begins; none is changed then."""
        for name, content in files.items():
            self._contents[_path_of(name)] = bytearray(content)
        self._changed.clear()

    def changed(self) -> Iterator[tuple[str, bytes]]:
        """The files that the program made or changed, by name."""
        for stream in list(self._streams):
            if not stream.closed:
                stream.flush()
        for name in sorted(self._changed):
            if not name.startswith("/"):
                yield name, bytes(self._contents[name])

    def content(self, name: str) -> bytes | None:
        """A file's content; None when there is no such file."""
        found = self._contents.get(_path_of(name))
        return None if found is None else bytes(found)

    def sizes(self) -> list[tuple[str, int]]:
        """The files with their sizes in bytes, by name."""
        found = ((name, len(content)) for name, content in self._contents.items())
        return sorted((name, size) for name, size in found if not name.startswith("/"))

    def open(
        self,
        file: Any,
        mode: str,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> File:
        """As Python's, of the folder. Raises CallNotAllowed for what is outside of it."""
        name, binary = _path_of(file), "b" in _checked_mode(mode)
        if binary and (encoding, errors, newline) != (None, None, None):
            raise ValueError("binary mode doesn't take an encoding, errors or newline argument")
        if "r" in mode and name not in self._contents:
            raise FileNotFoundError(2, "No such file or directory", name)
        if "x" in mode and name in self._contents:
            raise FileExistsError(17, "File exists", name)
        if "r" not in mode:
            self._changed.add(name)
        content = self._contents.setdefault(name, bytearray())
        raw = _Bytes(content, name, mode, lambda: self._changed.add(name))
        if "+" in mode:
            stream: Any = io.BufferedRandom(raw)
        elif "r" in mode:
            stream = io.BufferedReader(raw)
        else:
            stream = io.BufferedWriter(raw)
        if not binary:
            stream = io.TextIOWrapper(stream, encoding or "utf-8", errors, newline)
        if "a" in mode:
            stream.seek(0, io.SEEK_END)
        self._streams.add(stream)
        opened = object.__new__(File)
        opened.__stream__, opened.name, opened.mode = stream, name, mode
        return opened


def opener(folder: Folder) -> Callable[..., File]:
    """open(), for the program whose folder it is."""

    def open_(
        file: Any,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> File:
        """open()"""
        given = (None if each is None else _text(each) for each in (encoding, errors, newline))
        return folder.open(file, _text(mode), *given)

    return open_


def _text(value: Any) -> str:
    if not issubclass(type(value), str):
        raise TypeError(f"open() takes text there, not {type(value).__name__}")
    return str.__str__(value)


def _plain(data: Any) -> Any:
    """Text or bytes of Python's own: what a program makes of them may change while it is written."""
    cls = type(data)
    if issubclass(cls, str):
        return str.__str__(data)
    return bytes(memoryview(data)) if issubclass(cls, _COPYABLE) else data


def _path_of(file: Any) -> str:
    if not issubclass(type(file), str):
        raise TypeError(f"open() takes the path of a file as text, not {type(file).__name__}")
    text = str.__str__(file)
    if "\0" in text:
        raise ValueError("embedded null byte")
    path = PurePosixPath(text)
    if path.is_relative_to(_WORK):
        path = path.relative_to(_WORK)
    elif path.is_relative_to(_TEMPORARY) and len(path.parts) > 2 and ".." not in path.parts:
        return str(path)
    if path.is_absolute() or ".." in path.parts:
        raise CallNotAllowed(
            f"open() is not allowed: {text[:80]!r} is outside of the program's folder"
        )
    if not path.parts:
        raise IsADirectoryError(21, "Is a directory", text)
    return str(path)


def _checked_mode(mode: str) -> str:
    kinds = [kind for kind in "rwxa" if kind in mode]
    odd = set(mode) - set("rwxabt+") or len(mode) != len(set(mode)) or {"b", "t"} <= set(mode)
    if odd or len(kinds) != 1:
        raise ValueError(f"invalid mode: {mode!r}")
    return mode
