"""Validation: a file of 200 nodes against the C loader of PyYAML reading the same text, in the same run."""

import statistics
import time
from collections.abc import Callable

import yaml  # type: ignore[import-untyped]  # PyYAML ships no annotations

from cadre_executor.language import parse_workflow
from cadre_kit.serving import keep_what_was_built

NODES = 200
ROUNDS = 20
LIMIT_MS = 100.0

_NODE = """  - id: step{i}
    description: The step number {i}
    inputs: {{before: "{{state.text{i}}}", all: "{{state.names}}"}}
    prompt: "Work on {{before}}, of {{all}}, with {{state.text{i}}} in mind."
    llm: {{temperature: 0.2, max_tokens: 100}}
    output_schema: {{type: object, fields: [{{name: text{j}, type: str}}, {{name: good{i}, type: bool}}]}}
    outputs: [text{j}, good{i}]
    retry: {{max_attempts: 2}}
    when: "len(state.names) > 0 and state.text{i} != ''"
"""
_EDGE = """  - from: step{i}
    routes:
      - {{condition: "state.good{i} and contains(state.names, 'x')", to: step{j}}}
      - {{condition: default, to: [step{j}, END]}}
"""


def source() -> str:
    """A chain of NODES nodes, each with inputs, a schema, a condition and two ways on."""
    fields = "".join(
        f'    text{i}: {{type: str, default: ""}}\n    good{i}: {{type: bool, default: false}}\n'
        for i in range(NODES + 1)
    )
    nodes = "".join(_NODE.format(i=i, j=i + 1) for i in range(NODES))
    edges = "".join(_EDGE.format(i=i, j=i + 1) for i in range(NODES - 1))
    return (
        f'flow: {{name: long}}\nstate:\n  fields:\n    names: {{type: "list[str]", required: true}}\n{fields}'
        f"nodes:\n{nodes}edges:\n  - {{from: START, to: step0}}\n{edges}  - {{from: step{NODES - 1}, to: END}}\n"
    )


def main() -> None:
    """Prints the table. Takes some seconds."""
    text = source()
    # As the services do when they have started.
    keep_what_was_built()
    assert parse_workflow(text).valid
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    loaded = _median_ms(lambda: yaml.load(text, Loader=loader))
    validated = _median_ms(lambda: parse_workflow(text))
    print(f"Validation of {NODES} nodes ({len(text) / 1024:.0f} KiB)")
    print(f"{'':<24}{'median ms':>12}{'ratio':>10}")
    print(f"{'yaml.safe_load (in C)':<24}{loaded:>12.1f}{1.0:>10.2f}")
    print(f"{'parse_workflow':<24}{validated:>12.1f}{validated / loaded:>10.2f}")
    print(f"below {LIMIT_MS:.0f} ms: {'yes' if validated < LIMIT_MS else 'no'}")


def _median_ms(call: Callable[[], object]) -> float:
    seconds = []
    for _ in range(ROUNDS):
        started = time.process_time()
        call()
        seconds.append(time.process_time() - started)
    return statistics.median(seconds) * 1000
