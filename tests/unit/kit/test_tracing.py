"""Which requests begin a trace of their own."""

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ParentBased
from opentelemetry.trace import SpanKind, set_span_in_context

from cadre_kit.tracing import ChangesOnly


@pytest.mark.parametrize(
    ("name", "traced"),
    [
        ("POST", True),
        ("cadre.executor.v1.RunService/StartRun", True),
        ("cadre.llm_proxy.v1.LlmService/Complete", True),
        ("GET", False),
        ("cadre.executor.v1.RunService/WatchRun", False),
        ("cadre.llm_proxy.v1.UsageService/QueryUsage", False),
    ],
)
def test_only_what_changes_something_begins_a_trace(name: str, traced: bool) -> None:
    tracer = TracerProvider(sampler=ParentBased(root=ChangesOnly())).get_tracer("test")

    assert tracer.start_span(name, kind=SpanKind.SERVER).is_recording() is traced


def test_a_read_within_a_trace_is_part_of_it() -> None:
    tracer = TracerProvider(sampler=ParentBased(root=ChangesOnly())).get_tracer("test")
    parent = set_span_in_context(tracer.start_span("POST"))

    assert tracer.start_span("cadre.memory.v1.MemoryService/Get", context=parent).is_recording()
