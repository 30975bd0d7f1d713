"""The files of a program: held in its own memory, so that `open` reaches none of the machine's.

A file is made of Python's own layers, over bytes of ours. A program gets a File, which passes on what it is asked: with
the layers themselves it could hand Python's C code buffers and streams of its own making.
"""

import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from operator import index
from posixpath import dirname, join, normpath
from typing import Any
from weakref import WeakSet

from cadre_sandbox.worker.language.ownership import CallNotAllowed

__all__ = ["TEMPORARY", "WORK", "File", "Folder", "as_text", "opener"]

# As in a container: what is in the other folder is there for the program alone.
WORK = "/work"
TEMPORARY = "/tmp"
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
    """A program's files, by their whole path; the folders on the way to a file are there by themselves."""

    def __init__(self) -> None:
        self._contents: dict[str, bytearray] = {}
        self._folders = {WORK, TEMPORARY}
        self._changed: set[str] = set()
        self._streams: WeakSet[Any] = WeakSet()

    def put(self, files: Mapping[str, bytes]) -> None:
        """Has the files there, before a program begins; none is changed then."""
        for name, content in files.items():
            self._hold(_path_of(name), bytearray(content))
        self._changed.clear()

    def changed(self) -> Iterator[tuple[str, bytes]]:
        """The files that the program made or changed, by name."""
        for stream in list(self._streams):
            if not stream.closed:
                stream.flush()
        for path in sorted(self._changed & self._contents.keys()):
            if name := _name_of(path):
                yield name, bytes(self._contents[path])

    def content(self, name: str) -> bytes | None:
        """A file's content; None when there is no such file."""
        found = self._contents.get(_path_of(name))
        return None if found is None else bytes(found)

    def sizes(self) -> list[tuple[str, int]]:
        """The files with their sizes in bytes, by name."""
        found = ((_name_of(path), len(content)) for path, content in self._contents.items())
        return sorted((name, size) for name, size in found if name)

    # What follows takes paths as a program says them, and raises CallNotAllowed for those outside of its folder, but
    # for the questions whether something is there: it is not.

    def has_file(self, said: str) -> bool:
        """Whether there is such a file."""
        return _whole(said) in self._contents

    def has_folder(self, said: str) -> bool:
        """Whether there is such a folder."""
        return _whole(said) in self._folders

    def is_folder_inside(self, said: str) -> bool:
        """Whether there is such a folder; raises CallNotAllowed where a program has none."""
        return _path_of(said) in self._folders

    def size(self, said: str) -> int:
        """A file's size in bytes, 0 of a folder. Raises FileNotFoundError."""
        path = _path_of(said)
        return 0 if path in self._folders else len(self._contents[self._found(path, said)])

    def names(self, said: str) -> list[str]:
        """The names of what is in a folder. Raises FileNotFoundError, NotADirectoryError."""
        return sorted({parts[0] for parts in self.below(said)})

    def below(self, said: str) -> list[tuple[str, ...]]:
        """The parts of the paths of all that is in a folder and those in it. Raises as `names`."""
        top = _path_of(said)
        if top in self._contents:
            raise NotADirectoryError(20, "Not a directory", said)
        if top not in self._folders:
            raise FileNotFoundError(2, "No such file or directory", said)
        found = set()
        for path in (*self._contents, *self._folders):
            while path.startswith(f"{top}/"):
                found.add(tuple(path[len(top) + 1 :].split("/")))
                path = dirname(path)
        return sorted(found)

    def make_folder(self, said: str, *, parents: bool, exist_ok: bool) -> None:
        """Makes a folder. Raises FileExistsError, and FileNotFoundError without `parents` where its folder is not."""
        path = _path_of(said)
        if path in self._contents or (path in self._folders and not exist_ok):
            raise FileExistsError(17, "File exists", said)
        if not parents and path not in self._folders and dirname(path) not in self._folders:
            raise FileNotFoundError(2, "No such file or directory", said)
        self._check_way(path, said)
        self._folders.update((path, *_folders_above(path)))

    def remove(self, said: str) -> None:
        """Removes a file. Raises FileNotFoundError, IsADirectoryError."""
        path = _path_of(said)
        if path in self._folders:
            raise IsADirectoryError(21, "Is a directory", said)
        del self._contents[self._found(path, said)]

    def remove_folder(self, said: str) -> None:
        """Removes an empty folder. Raises FileNotFoundError, NotADirectoryError, OSError when something is in it."""
        path = _path_of(said)
        if self.names(said) or path in (WORK, TEMPORARY):
            raise OSError(39, "Directory not empty", said)
        self._folders.remove(path)

    def remove_tree(self, said: str) -> None:
        """Removes a folder with all in it. Raises FileNotFoundError, NotADirectoryError, OSError for /work."""
        path, inside = _path_of(said), self.below(said)
        if path in (WORK, TEMPORARY):
            raise OSError(16, "Device or resource busy", said)
        for gone in (path, *(join(path, *parts) for parts in inside)):
            self._folders.discard(gone)
            self._contents.pop(gone, None)

    def rename(self, said: str, target: str) -> None:
        """Moves a file, in place of another, or a folder with all in it. Raises FileNotFoundError, OSError."""
        path, new = _path_of(said), _path_of(target)
        self._check_way(new, target)
        if path in self._folders:
            if path in (WORK, TEMPORARY) or f"{new}/".startswith(f"{path}/"):
                raise OSError(22, "Invalid argument", said)
            if new in self._contents or (new in self._folders and self.names(target)):
                raise OSError(39, "Directory not empty", target)
            self._folders = {_moved(each, path, new) for each in self._folders}
        elif new in self._folders:
            raise IsADirectoryError(21, "Is a directory", target)
        else:
            self._found(path, said)
        for each in [each for each in self._contents if _moved(each, path, new) != each]:
            self._hold(_moved(each, path, new), self._contents.pop(each))
            self._changed.add(_moved(each, path, new))

    def _hold(self, path: str, content: bytearray) -> None:
        self._contents[path] = content
        self._folders.update(_folders_above(path))

    def _check_way(self, path: str, said: str) -> None:
        if any(above in self._contents for above in _folders_above(path)):
            raise NotADirectoryError(20, "Not a directory", said)

    def _found(self, path: str, said: str) -> str:
        if path not in self._contents:
            raise FileNotFoundError(2, "No such file or directory", said)
        return path

    def _note(self, path: str, content: bytearray) -> None:
        """A file that was removed or moved while it was open is no longer the one of its name."""
        if self._contents.get(path) is content:
            self._changed.add(path)

    def open(
        self,
        said: str,
        mode: str,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
        *,
        kind: type[File] = File,
    ) -> File:
        """As Python's, of the folder; what it gives is of that `kind`."""
        path, binary = _path_of(said), "b" in _checked_mode(mode)
        if binary and (encoding, errors, newline) != (None, None, None):
            raise ValueError("binary mode doesn't take an encoding, errors or newline argument")
        if path in self._folders:
            raise IsADirectoryError(21, "Is a directory", said)
        self._check_way(path, said)
        if "r" in mode:
            self._found(path, said)
        if "x" in mode and path in self._contents:
            raise FileExistsError(17, "File exists", said)
        if "r" not in mode:
            self._changed.add(path)
        content = self._contents.get(path)
        if content is None:
            self._hold(path, content := bytearray())
        raw = _Bytes(content, said, mode, lambda: self._note(path, content))
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
        opened = object.__new__(kind)
        opened.__stream__, opened.name, opened.mode = stream, said, mode
        return opened


def as_text(value: Any) -> str:
    """A path that is text, as text of Python's own."""
    if not issubclass(type(value), str):
        raise TypeError(f"a path must be text or a Path, not {type(value).__name__}")
    return str.__str__(value)


def opener(folder: Folder, path_text: Callable[[Any], str] = as_text) -> Callable[..., File]:
    """open(), for the program whose folder it is; `path_text` makes text of the paths that it may give."""

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
        return folder.open(path_text(file), _text(mode), *given)

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


def _whole(said: str) -> str:
    """The path from the root, by its text alone: there are no links."""
    if "\0" in said:
        raise ValueError("embedded null byte")
    return normpath(join(WORK, said))


def _path_of(said: str) -> str:
    path = _whole(said)
    if not f"{path}/".startswith((f"{WORK}/", f"{TEMPORARY}/")):
        raise CallNotAllowed(f"{said[:80]!r} is not allowed: it is outside of the program's folder")
    return path


def _name_of(path: str) -> str:
    """A file's name in the program's folder; empty for one that is not in it."""
    return path[len(WORK) + 1 :] if path.startswith(f"{WORK}/") else ""


def _folders_above(path: str) -> Iterator[str]:
    while (path := dirname(path)) != "/":
        yield path


def _moved(path: str, old: str, new: str) -> str:
    return new + path[len(old) :] if f"{path}/".startswith(f"{old}/") else path


def _checked_mode(mode: str) -> str:
    kinds = [kind for kind in "rwxa" if kind in mode]
    odd = set(mode) - set("rwxabt+") or len(mode) != len(set(mode)) or {"b", "t"} <= set(mode)
    if odd or len(kinds) != 1:
        raise ValueError(f"invalid mode: {mode!r}")
    return mode
