"""logging for programs: loggers, levels and lines on their own stderr; no files, sockets, threads or configuration.

Python's own module reaches `os`, `sys` and open files through what it offers, so none of it is used.
"""

import sys
import time
from collections.abc import Callable
from typing import Any

__all__ = ["Logger", "logging_names"]

_LEVELS = {"NOTSET": 0, "DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40, "CRITICAL": 50}
_NAMES = {number: name for name, number in _LEVELS.items()}
_ALIASES = {"WARN": 30, "FATAL": 50}
_BASIC_FORMAT = "%(levelname)s:%(name)s:%(message)s"
_TIME_FORMAT = "%Y-%m-%d %H:%M:%S"


def _level(level: Any) -> int:
    if isinstance(level, int):
        return level
    known = _LEVELS | _ALIASES
    if level not in known:
        raise ValueError(f"Unknown level: {level!r}")
    return known[level]


class LogRecord:
    """What a logger hands to its handlers."""

    def __init__(self, facts: dict[str, Any]) -> None:
        self.__dict__.update(facts)

    def getMessage(self) -> str:
        """The message, with what was put into it."""
        return str(self.__dict__["message"])


class Formatter:
    """What a line looks like."""

    def __init__(
        self, fmt: str | None = None, datefmt: str | None = None, style: str = "%", **_: Any
    ) -> None:
        if style != "%":
            raise ValueError("only style='%' is offered")
        self._format = "%(message)s" if fmt is None else fmt
        self._time_format = datefmt

    def format(self, record: LogRecord) -> str:
        """The line of a record."""
        facts = vars(record)
        now = facts["created"]
        asctime = time.strftime(self._time_format or _TIME_FORMAT, time.localtime(now))
        if self._time_format is None:
            asctime += f",{int(now * 1000) % 1000:03}"
        line = str.__mod__(str(self._format), facts | {"asctime": asctime})
        return line + str(facts["traceback"])


def _checked(formatter: Any) -> Formatter:
    """A text would read attributes of the record, and of what is in it, by names of the program's."""
    if not issubclass(type(formatter), Formatter):
        raise TypeError("a Formatter is needed")
    return formatter  # type: ignore[no-any-return]  # it has just been looked at


class Handler:
    """Takes records whose level is high enough; what it does with them is in `emit`."""

    def __init__(self, level: Any = 0) -> None:
        self.level, self.formatter = _level(level), Formatter()

    def setLevel(self, level: Any) -> None:
        """The least level that it takes."""
        self.level = _level(level)

    def setFormatter(self, formatter: Formatter) -> None:
        """What its lines look like."""
        self.formatter = _checked(formatter)

    def format(self, record: LogRecord) -> str:
        """The line of a record."""
        return _checked(self.formatter).format(record)

    def handle(self, record: LogRecord) -> None:
        """Emits a record, when its level is high enough."""
        if vars(record)["levelno"] >= self.level:
            self.emit(record)

    def emit(self, record: LogRecord) -> None:
        """Does nothing."""


class StreamHandler(Handler):
    """Writes lines to a stream, stderr where none is given."""

    def __init__(self, stream: Any = None) -> None:
        super().__init__()
        self._stream: Any = stream

    def emit(self, record: LogRecord) -> None:
        """Writes a line."""
        stream = vars(record)["stderr"] if self._stream is None else self._stream
        stream.write(self.format(record) + "\n")


class Logger:
    """Hands what is logged to its own handlers and to those of the loggers above it."""

    def __init__(
        self, name: str, parent: "Logger | None", stderr: Any, describe: Callable[[], str]
    ) -> None:
        self.name, self.parent, self.handlers = name, parent, list[Any]()
        self.level, self.propagate, self.disabled = 0 if parent else 30, True, False
        self._stderr, self._describe = stderr, describe

    def setLevel(self, level: Any) -> None:
        """The least level that it takes; 0: that of the logger above."""
        self.level = _level(level)

    def getEffectiveLevel(self) -> int:
        """The level that counts."""
        return self.level or (self.parent.getEffectiveLevel() if self.parent else 0)

    def isEnabledFor(self, level: int) -> bool:
        """Whether it takes what has the level."""
        return not self.disabled and level >= self.getEffectiveLevel()

    def addHandler(self, handler: Any) -> None:
        """Adds one that writes."""
        if not issubclass(type(handler), Handler):
            raise TypeError("a Handler is needed")
        if handler not in self.handlers:
            self.handlers.append(handler)

    def removeHandler(self, handler: Any) -> None:
        """Takes one away."""
        if handler in self.handlers:
            self.handlers.remove(handler)

    def hasHandlers(self) -> bool:
        """Whether anything would be written by a handler."""
        return bool(self._handlers())

    def _handlers(self) -> list[Any]:
        above = self.parent._handlers() if self.parent and self.propagate else []
        return [*self.handlers, *above]

    def log(
        self, level: int, msg: object, *args: Any, exc_info: Any = None, extra: Any = None, **_: Any
    ) -> None:
        """Logs a message, which `args` are put into."""
        if not self.isEnabledFor(level):
            return
        message = str(msg)
        if args:
            message %= args[0] if len(args) == 1 and isinstance(args[0], dict) else args
        frame = sys._getframe(1)
        while frame.f_back is not None and frame.f_code.co_filename == __file__:
            frame = frame.f_back
        record = {
            **dict(extra or ()),
            "name": self.name,
            "levelno": level,
            "levelname": _NAMES.get(level, f"Level {level}"),
            "message": message,
            "created": time.time(),
            "lineno": frame.f_lineno,
            "funcName": frame.f_code.co_name,
            "filename": "<program>",
            "module": "<program>",
            "process": 1,
            "threadName": "MainThread",
            "stderr": self._stderr,
            "traceback": "\n" + self._describe().rstrip("\n") if exc_info else "",
        }
        for handler in self._handlers() or [StreamHandler()]:
            handler.handle(LogRecord(record))

    def debug(self, msg: object, *args: Any, **more: Any) -> None:
        """At level 10."""
        self.log(10, msg, *args, **more)

    def info(self, msg: object, *args: Any, **more: Any) -> None:
        """At level 20."""
        self.log(20, msg, *args, **more)

    def warning(self, msg: object, *args: Any, **more: Any) -> None:
        """At level 30."""
        self.log(30, msg, *args, **more)

    def error(self, msg: object, *args: Any, **more: Any) -> None:
        """At level 40."""
        self.log(40, msg, *args, **more)

    def critical(self, msg: object, *args: Any, **more: Any) -> None:
        """At level 50."""
        self.log(50, msg, *args, **more)

    def exception(self, msg: object, *args: Any, **more: Any) -> None:
        """An error, with the exception that is being handled."""
        self.log(40, msg, *args, **{"exc_info": True, **more})

    warn = warning


def logging_names(stderr: Any, describe: Callable[[], str]) -> dict[str, Any]:
    """The module's names. `describe` gives the text of the exception that is being handled."""
    root = Logger("root", None, stderr, describe)
    loggers: dict[str, Logger] = {}

    def get_logger(name: str | None = None) -> Logger:
        if not name or name == "root":
            return root
        if name not in loggers:
            above = name.rpartition(".")[0]
            loggers[name] = Logger(name, get_logger(above), stderr, describe)
        return loggers[name]

    def basic_config(
        *,
        format: str | None = None,
        datefmt: str | None = None,
        style: str = "%",
        level: Any = None,
        stream: Any = None,
        handlers: Any = None,
        force: bool = False,
        **files: Any,
    ) -> None:
        if files:
            raise ValueError(f"{next(iter(files))} is not offered: a program has no files")
        if force:
            root.handlers.clear()
        if not root.handlers:
            formatter = Formatter(format or _BASIC_FORMAT, datefmt, style)
            for one in handlers or [StreamHandler(stream)]:
                root.addHandler(one)
                one.setFormatter(formatter)
        if level is not None:
            root.setLevel(level)

    def of_root(name: str) -> Callable[..., None]:
        def call(*args: Any, **more: Any) -> None:
            basic_config()
            getattr(root, name)(*args, **more)

        return call

    calls = "debug info warning warn error critical exception log".split()
    return {
        **_LEVELS,
        **_ALIASES,
        **{name: of_root(name) for name in calls},
        "basicConfig": basic_config,
        "Formatter": Formatter,
        "getLevelName": lambda level: _NAMES.get(level, f"Level {level}"),
        "getLogger": get_logger,
        "Handler": Handler,
        "Logger": Logger,
        "LogRecord": LogRecord,
        "NullHandler": Handler,
        "StreamHandler": StreamHandler,
    }
