"""The modules that programs may import: frozen copies of chosen public names, with no live module inside."""

import argparse
import collections
import configparser
import contextlib
import enum
import functools
import importlib
import io
import platform
import pprint
import shlex
import sys
import time
import types
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn
from xml.etree import ElementTree

from cadre_sandbox.worker.language import (
    arguments,
    classes,
    copies,
    coroutines,
    dispatch,
    guards,
    logs,
    reflection,
    tempfiles,
    threads,
    trees,
    zones,
)
from cadre_sandbox.worker.language.folder import Folder, opener
from cadre_sandbox.worker.language.module_names import INSTEAD, MODULE_TABLE
from cadre_sandbox.worker.language.ownership import (
    AttributeNotAllowed,
    CallNotAllowed,
    ImportNotAllowed,
)
from cadre_sandbox.worker.language.paths import PurePath, path_modules, path_text, paths_lead_to

__all__ = ["FrozenModule", "files_lead_to", "frozen_modules", "importer", "preload"]

_PRELOADED = (
    "_strptime encodings.ascii encodings.base64_codec encodings.cp1252 encodings.cp437 encodings.hex_codec "
    "encodings.idna encodings.latin_1 encodings.punycode encodings.raw_unicode_escape encodings.rot_13 "
    "encodings.unicode_escape encodings.utf_16 encodings.utf_16_be encodings.utf_16_le encodings.utf_32 "
    "encodings.utf_7 encodings.utf_8 encodings.utf_8_sig html.entities stringprep"
)
_RECURSION_LIMIT = 10_000


class FrozenModule:
    """A module as programs see it: the chosen names, not to be changed, also not by what makes one."""

    def __new__(cls, *_: Any, **__: Any) -> "FrozenModule":
        raise CallNotAllowed("a module is imported")

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeNotAllowed("attributes of a module may not be changed")

    __delattr__ = None  # type: ignore[assignment]  # a module loses nothing either

    def __repr__(self) -> str:
        return f"<module {self.__dict__['__name__']!r}>"

    def __getattr__(self, name: str) -> NoReturn:
        module = self.__dict__["__name__"]
        raise AttributeNotAllowed(f"{module}.{name} is not there, or not allowed")


def _frozen(name: str, contents: Mapping[str, Any]) -> FrozenModule:
    module = object.__new__(FrozenModule)
    module.__dict__.update(contents, __name__=name)
    return module


def preload() -> None:
    """Imports what the standard library would import only when first used: by then there are no files."""
    for name in (*MODULE_TABLE, *_PRELOADED.split()):
        importlib.import_module(name)
    zones.load_zones()
    copies.close_copy()
    _close_functional_enums()
    _close_configparser()
    threads.take_over_the_library()
    arguments.close_argparse()
    # typing.NamedTuple finds it here, too.
    collections.namedtuple = classes.namedtuple


def frozen_modules(
    *, streams: Mapping[str, Any], format_traceback: Callable[..., str], folder: Folder
) -> dict[str, FrozenModule]:
    """Every module by its full name. `streams` are the program's own stdout and stderr, `folder` has its files."""
    contents: dict[str, dict[str, Any]] = {
        name: {
            public: getattr(sys.modules[name], public)
            for public in names.split()
            if hasattr(sys.modules[name], public)
        }
        for name, names in MODULE_TABLE.items()
    }
    contents["abc"]["ABCMeta"] = classes.ABSTRACT
    contents["asyncio"] |= coroutines.replacements()
    contents["contextlib"]["redirect_stdout"] = streams["stdout"].redirected
    contents["contextlib"]["redirect_stderr"] = streams["stderr"].redirected
    contents["copy"]["deepcopy"] = copies.deepcopy
    contents["dataclasses"]["dataclass"] = classes.dataclass
    contents["functools"] |= {
        "singledispatch": dispatch.singledispatch,
        "singledispatchmethod": dispatch.singledispatchmethod,
        "update_wrapper": guards.update_wrapper,
        "wraps": guards.wraps,
    }
    contents["inspect"] |= {
        "Signature": reflection.Signature,
        "signature": reflection.signature,
    }
    contents["typing"]["get_type_hints"] = reflection.type_hints
    contents["operator"] |= {"attrgetter": guards.attrgetter, "methodcaller": guards.methodcaller}
    contents["pprint"] |= _pretty_printers(streams["stdout"])
    contents["argparse"] = arguments.parser_names()
    contents["ast"] = trees.tree_names()
    contents["logging"] = logs.logging_names(streams["stderr"], format_traceback)
    contents["platform"] = _platform()
    contents["shutil"] = tempfiles.tree_of_files_names(folder)
    contents["tempfile"] = tempfiles.temporary_names(folder)
    contents["shlex"] = {"join": shlex.join, "quote": shlex.quote, "split": _split_words}
    contents["sys"] = _system(streams)
    contents["threading"] = threads.thread_names()
    contents["time"]["sleep"] = threads.sleep
    contents["timeit"] = {"default_timer": time.perf_counter, "timeit": _time_it}
    contents["traceback"] = _tracebacks(streams["stderr"], format_traceback)
    contents["warnings"] = {
        "catch_warnings": _catch_warnings,
        "filterwarnings": warnings.filterwarnings,
        "resetwarnings": warnings.resetwarnings,
        "simplefilter": warnings.simplefilter,
        "warn": warnings.warn,
    }
    contents |= path_modules(folder)
    contents["zoneinfo"]["available_timezones"] = zones.zone_names
    modules = {name: _frozen(name, inside) for name, inside in contents.items()}
    # C code that a program calls imports by the program's own __import__, and then looks among the real modules.
    modules["_strptime"] = _frozen("_strptime", {})
    for name in tuple(modules):
        while "." in name:
            inside, (name, _, last) = modules[name], name.rpartition(".")
            modules.setdefault(name, _frozen(name, {})).__dict__[last] = inside
    return modules


def importer(modules: Mapping[str, FrozenModule]) -> Callable[..., Any]:
    """`__import__` over `modules`. Raises ImportNotAllowed for any other."""

    def import_module(
        name: str, _globals: Any = None, _locals: Any = None, names: Any = (), level: int = 0
    ) -> FrozenModule:
        if type(name) is not str or level or name not in modules:
            raise _not_there(name, level)
        module = modules[name]
        for wanted in names or ():
            if wanted != "*" and wanted not in module.__dict__:
                raise ImportNotAllowed(f"{name}.{wanted} is not there, or not allowed", name=name)
        return module if names else modules[name.partition(".")[0]]

    return import_module


def _not_there(name: Any, level: int) -> ImportNotAllowed:
    if level or type(name) is not str:
        return ImportNotAllowed("a program has no package")
    instead = INSTEAD.get(name.partition(".")[0])
    said = f"the module {name!r} is not allowed"
    return ImportNotAllowed(f"{said}: {instead}" if instead else said, name=name)


def _system(streams: Mapping[str, Any]) -> dict[str, Any]:
    def set_recursion_limit(limit: int, /) -> None:
        sys.setrecursionlimit(min(limit, _RECURSION_LIMIT))

    def leave(status: Any = None, /) -> NoReturn:
        raise SystemExit(status)

    plain = (
        "maxsize",
        "maxunicode",
        "byteorder",
        "float_info",
        "int_info",
        "getrecursionlimit",
        "getsizeof",
        "intern",
    )
    return {name: getattr(sys, name) for name in plain} | {
        **streams,
        "argv": [""],
        "exit": leave,
        "platform": "linux",
        "setrecursionlimit": set_recursion_limit,
        "version": platform.python_version(),
        "stdin": io.StringIO(),
        "version_info": sys.version_info,
    }


def _platform() -> dict[str, Callable[[], str]]:
    said = {
        "python_implementation": platform.python_implementation(),
        "python_version": platform.python_version(),
        "system": "Linux",
    }
    return {name: functools.partial(str, text) for name, text in said.items()}


def _pretty_printers(stdout: Any) -> dict[str, Callable[..., None]]:
    def pprint_(value: Any, stream: Any = None, *layout: Any, **options: Any) -> None:
        text = pprint.pformat(value, *layout, **options) + "\n"
        (stdout.write if stream is None else guards.read(stream, "write"))(text)

    def pp(value: Any, *layout: Any, sort_dicts: bool = False, **options: Any) -> None:
        pprint_(value, *layout, sort_dicts=sort_dicts, **options)

    return {"pprint": pprint_, "pp": pp}


def _tracebacks(stderr: Any, format_traceback: Callable[..., str]) -> dict[str, Any]:
    """An exception is given by itself, or after its class, as in Python of old."""

    def lines(exc: Any, value: Any = None, *_: Any, **__: Any) -> list[str]:
        exc = exc if value is None else value
        if not issubclass(type(exc), BaseException):
            raise TypeError("an exception is needed")
        return format_traceback(exc).splitlines(keepends=True)

    return {
        "format_exc": lambda *_, **__: format_traceback(),
        "format_exception": lines,
        "format_exception_only": lambda *exc: lines(*exc)[-1:],
        "print_exc": lambda *_, **__: stderr.write(format_traceback()),
        "print_exception": lambda *exc, **__: stderr.write("".join(lines(*exc))),
    }


@contextlib.contextmanager
def _catch_warnings(*, record: bool = False) -> Iterator[Any]:
    """warnings.catch_warnings; that of the library takes a module, and writes into it."""
    with warnings.catch_warnings(record=record) as caught:
        yield caught


def _split_words(text: str, comments: bool = False, posix: bool = True) -> list[str]:
    """shlex.split, which reads a stream where it is given no text."""
    if type(text) is not str:
        raise TypeError("split() takes a text")
    return shlex.split(text, comments, posix)


def _time_it(
    stmt: Any, setup: Any = None, timer: Any = time.perf_counter, number: int = 1_000_000
) -> float:
    """timeit.timeit, of a function."""
    if type(stmt) is str or (type(setup) is str and setup != "pass"):
        raise CallNotAllowed("timeit() of code as text is not allowed; give it a function")
    if callable(setup):
        setup()
    begun = timer()
    for _ in range(number):
        stmt()
    return float(timer() - begun)


def files_lead_to(folder: Folder) -> None:
    """Whatever opens files finds those of the one program that this process runs. In modules of the library their own
    name `open` goes before the built-in one."""
    paths_lead_to(folder)
    for module in (argparse, configparser, ElementTree):
        module.open = opener(folder, path_text)  # type: ignore[attr-defined]


def _close_configparser() -> None:
    """A converter of configparser is set as an attribute of all that a parser of the program says it holds."""
    # All that it takes of `os`: to tell one path from a list of them.
    paths = types.SimpleNamespace(PathLike=PurePath, fspath=path_text)
    configparser.os = paths  # type: ignore[attr-defined]

    def refused(*_: Any) -> NoReturn:
        raise CallNotAllowed("converters are not allowed; convert what get() gives")

    for name in ("__setitem__", "__delitem__"):
        setattr(configparser.ConverterMapping, name, refused)


def _close_functional_enums() -> None:
    """Enum("Name", ...) would define any dunder method, past the rules of the class statement."""
    create = enum.EnumMeta._create_  # type: ignore[attr-defined]

    def checked(cls: Any, class_name: str, names: Any, *, start: int = 1, **_: Any) -> Any:
        if issubclass(type(names), str):
            names = str.__str__(names).replace(",", " ").split()
        pairs = (
            list(names.items())
            if type(names) is dict
            else [
                item if type(item) is tuple else (item, number)
                for number, item in enumerate(names, start)
            ]
        )
        for name, _value in pairs:
            if type(name) is not str or name[:1] == "_":
                raise CallNotAllowed("an Enum's names must be plain and public")
        return create(cls, class_name, pairs, start=start)

    enum.EnumMeta._create_ = checked  # type: ignore[attr-defined]
