"""tempfile and shutil over the files of a program, which are in its own memory."""

import posixpath
import secrets
import shutil
from collections.abc import Callable
from typing import Any

from cadre_sandbox.worker.language import guards
from cadre_sandbox.worker.language.folder import TEMPORARY, File, Folder
from cadre_sandbox.worker.language.paths import Path, path_text

__all__ = ["temporary_names", "tree_of_files_names"]

_CHUNK = 64 * 1024


class _Passing(File):
    """A file that goes when it is closed."""

    __slots__ = ()

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        File.close(self)
        Path(self.name).unlink(missing_ok=True)


class TemporaryDirectory:
    """tempfile.TemporaryDirectory."""

    def __init__(self, suffix: Any = None, prefix: Any = None, dir: Any = None, **_: Any) -> None:
        self.name = _new_name(suffix, prefix, dir)
        Path(self.name).mkdir()

    def __enter__(self) -> str:
        return self.name

    def __exit__(self, *_: object) -> None:
        self.cleanup()

    def cleanup(self) -> None:
        """Removes the folder with all in it."""
        if Path(self.name).is_dir():
            Path.__folder__.remove_tree(path_text(self.name))


def _new_name(suffix: Any, prefix: Any, folder: Any) -> str:
    where, parts = path_text(TEMPORARY if folder is None else folder), [prefix, suffix]
    before, after = ("" if part is None else path_text(part) for part in parts)
    return posixpath.join(where, f"{before or 'tmp'}{secrets.token_hex(4)}{after}")


def temporary_names(folder: Folder) -> dict[str, Any]:
    """What programs get as tempfile."""

    def named(
        mode: str = "w+b",
        buffering: int = -1,
        encoding: Any = None,
        newline: Any = None,
        suffix: Any = None,
        prefix: Any = None,
        dir: Any = None,
        delete: bool = True,
        *,
        errors: Any = None,
        **_: Any,
    ) -> File:
        said = (mode, encoding, errors, newline)
        given = [None if each is None else path_text(each) for each in said]
        kind = _Passing if delete else File
        return folder.open(_new_name(suffix, prefix, dir), given[0] or "", *given[1:], kind=kind)

    def spooled(max_size: int = 0, *layout: Any, **options: Any) -> File:
        return named(*layout, **options)

    def new_folder(suffix: Any = None, prefix: Any = None, dir: Any = None) -> str:
        return TemporaryDirectory(suffix, prefix, dir).name

    return {
        "NamedTemporaryFile": named,
        "SpooledTemporaryFile": spooled,
        "TemporaryDirectory": TemporaryDirectory,
        "TemporaryFile": named,
        "gettempdir": lambda: TEMPORARY,
        "mkdtemp": new_folder,
    }


def tree_of_files_names(folder: Folder) -> dict[str, Any]:
    """What programs get as shutil."""

    def within(source: str, target: str) -> str:
        """A folder as the target stands for a file of the same name in it."""
        if not folder.has_folder(target):
            return target
        return posixpath.join(target, posixpath.basename(source.rstrip("/")))

    def copy_to(source: str, target: str) -> None:
        with folder.open(source, "rb") as old, folder.open(target, "wb") as new:
            new.write(old.read())

    def copyfile(src: Any, dst: Any, **_: Any) -> Any:
        copy_to(path_text(src), path_text(dst))
        return dst

    def copy(src: Any, dst: Any, **_: Any) -> str:
        target = within(path_text(src), path_text(dst))
        copy_to(path_text(src), target)
        return target

    def copytree(src: Any, dst: Any, *, dirs_exist_ok: bool = False) -> Any:
        source, target = path_text(src), path_text(dst)
        inside = folder.below(source)
        folder.make_folder(target, parents=True, exist_ok=dirs_exist_ok)
        for parts in inside:
            old, new = posixpath.join(source, *parts), posixpath.join(target, *parts)
            if folder.has_folder(old):
                folder.make_folder(new, parents=True, exist_ok=True)
            else:
                copy_to(old, new)
        return dst

    def copyfileobj(fsrc: Any, fdst: Any, length: int = _CHUNK) -> None:
        read, write = guards.read(fsrc, "read"), guards.read(fdst, "write")
        while data := read(length):
            write(data)

    def move(src: Any, dst: Any) -> str:
        target = within(path_text(src), path_text(dst))
        folder.rename(path_text(src), target)
        return target

    def rmtree(path: Any, ignore_errors: bool = False, **_: Any) -> None:
        if not ignore_errors or folder.has_folder(path_text(path)):
            folder.remove_tree(path_text(path))

    functions: list[Callable[..., Any]] = [copy, copyfile, copyfileobj, copytree, move, rmtree]
    return {
        **{each.__name__: each for each in functions},
        "copy2": copy,
        "get_terminal_size": shutil.get_terminal_size,
    }
