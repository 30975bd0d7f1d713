"""Structured logs: one event a line, with run and trace ids where there are any."""

import logging
import sys
from typing import cast

import structlog
from opentelemetry import trace
from structlog.typing import EventDict, Processor, WrappedLogger

__all__ = ["configure_logs", "logger"]

_OURS = "cadre"


def logger() -> structlog.stdlib.BoundLogger:
    """A logger: `log.info("run_started", run_id=...)`."""
    return cast(structlog.stdlib.BoundLogger, structlog.get_logger(_OURS))


def configure_logs(*, service: str, level: str, log_format: str) -> None:
    """Sends all logs, the libraries' too, to stderr as JSON lines, or readable on a terminal."""
    readable = log_format == "console" or (log_format == "auto" and sys.stderr.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_trace_id,
    ]
    final: list[Processor] = (
        # Plain: the default shows every local variable, and those hold prompts, code and keys.
        [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
        if readable
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *final],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    # Ours say what `level` lets through; libraries only what is wrong.
    logging.getLogger(_OURS).setLevel(level.upper())
    structlog.contextvars.bind_contextvars(service=service)


def _add_trace_id(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = f"{context.trace_id:032x}"
    return event
