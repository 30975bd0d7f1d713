"""OpenTelemetry traces: set up once, carried in gRPC metadata, sent to MLflow or any OTLP endpoint."""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache

from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import Decision, ParentBased, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanKind, TraceState
from opentelemetry.util.types import Attributes

from cadre_kit.logs import logger

__all__ = ["configure_tracing", "context_from", "tracer"]

# MLflow's default experiment; it takes ids, not names, and refuses spans without one.
_MLFLOW_EXPERIMENT = {"x-mlflow-experiment-id": "0"}
_QUEUE_SPANS = 20_000
_BATCH_SPANS = 512
_READS = ("Get", "List", "Watch", "Query")
_EXPORT_TIMEOUT_SECONDS = 3
_PATIENCE_SECONDS = 600.0
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 15.0


@cache
def tracer() -> trace.Tracer:
    """The tracer for spans of our own. Made before `configure_tracing`, it begins to record with that."""
    return trace.get_tracer("cadre")


def context_from(carrier: Mapping[str, str]) -> Context:
    """The trace context that a carrier (metadata, headers, a stored run) names; an empty one when it names none."""
    return propagate.extract(carrier)


def configure_tracing(*, service: str, endpoint: str) -> Callable[[], None]:
    """Starts sending spans to `endpoint`, unless it is empty, and returns what stops it: within 5 seconds, spans that
    cannot be sent by then are lost."""
    if not endpoint:
        return lambda: None
    provider = TracerProvider(
        sampler=ParentBased(root=ChangesOnly()),
        resource=Resource.create({"service.name": f"cadre-{service}"}),
    )
    exporter = PatientExporter(
        OTLPSpanExporter(
            endpoint=endpoint, headers=_MLFLOW_EXPERIMENT, timeout=_EXPORT_TIMEOUT_SECONDS
        )
    )
    provider.add_span_processor(
        BatchSpanProcessor(
            exporter, max_queue_size=_QUEUE_SPANS, max_export_batch_size=_BATCH_SPANS
        )
    )
    trace.set_tracer_provider(provider)
    # Says every refused connection; we say it once.
    logging.getLogger("opentelemetry.exporter.otlp").setLevel(logging.CRITICAL)

    def stop() -> None:
        exporter.stop_waiting()
        provider.shutdown()

    return stop


class ChangesOnly(Sampler):
    """Begins no trace for what only reads: pages and supervisors ask every second, and would drown the runs.

    A read that belongs to somebody's trace is recorded there, by ParentBased.
    """

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """Drops an HTTP GET, and a call whose name says that it reads."""
        reads = name == "GET" or name.rpartition("/")[2].startswith(_READS)
        return SamplingResult(Decision.DROP if reads else Decision.RECORD_AND_SAMPLE)

    def get_description(self) -> str:
        """What traces say of their sampler."""
        return "ChangesOnly"


class PatientExporter(SpanExporter):
    """Tries each batch for ten minutes, so that spans of the time before MLflow was up are not lost.

    Runs in the span processor's own thread. While it waits, the processor's queue holds up to 20,000 spans.
    """

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._stopped = threading.Event()
        self._waiting = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Sends a batch; FAILURE when ten minutes, or the shutdown, came first."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        pause = _FIRST_PAUSE_SECONDS
        while self._exporter.export(spans) is not SpanExportResult.SUCCESS:
            self._say_waiting(True)
            if time.monotonic() > deadline or self._stopped.wait(pause):
                return SpanExportResult.FAILURE
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
        self._say_waiting(False)
        return SpanExportResult.SUCCESS

    def stop_waiting(self) -> None:
        """From now on a batch gets one try, and none while the endpoint was not there last time."""
        self._stopped.set()
        if self._waiting:
            self._exporter.shutdown()

    def shutdown(self) -> None:
        """Closes the connection."""
        self.stop_waiting()
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Nothing is held back here."""
        return True

    def _say_waiting(self, waiting: bool) -> None:
        if waiting != self._waiting:
            self._waiting = waiting
            logger().info("traces_held_back" if waiting else "traces_sent_again")
