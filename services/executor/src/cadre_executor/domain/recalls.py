"""What llm nodes remember: what is relevant goes before the prompt, and the exchange is kept."""

from collections.abc import Sequence

from cadre_executor.domain.peers import Hit
from cadre_executor.domain.tasks import Task
from cadre_executor.domain.workflows import Recall
from cadre_kit.documents import to_json

__all__ = ["recalled", "remember"]

_MEMORY_SECONDS = 30.0
_LONGEST_QUERY = 1_000
# A usual token of English text; models count differently, so this only bounds.
_CHARACTERS_A_TOKEN = 4
_HEADING = "What you remember of earlier conversations, as far as it may help:\n"


async def recalled(recall: Recall, prompt: str, *, task: Task) -> str:
    """What goes before the prompt; stored at once, for a repeated call has to ask the model the same."""
    known = task.find("recall")
    if known is not None:
        return str(known["text"])
    memory, call = task.means.peers.memory, task.call.at("recall")
    namespace = [segment.render(task.scope) for segment in recall.namespace]
    hits = await task.patiently(
        lambda: memory.search(
            namespace,
            prompt[:_LONGEST_QUERY],
            top_k=recall.top_k,
            call=call,
            seconds=call.seconds(_MEMORY_SECONDS),
        )
    )
    text = _text(hits, characters=recall.max_tokens * _CHARACTERS_A_TOKEN)
    task.record("recall", {"text": text})
    await task.means.records.store()
    return text


async def remember(recall: Recall, prompt: str, reply: str, *, task: Task) -> None:
    """Keeps the exchange under the try's own key, so that a repeated try keeps it once."""
    memory, call = task.means.peers.memory, task.call.at("remember")
    namespace = [segment.render(task.scope) for segment in recall.namespace]
    await task.patiently(
        lambda: memory.put(
            namespace,
            call.key.replace("/", ":"),
            {"asked": prompt, "answered": reply},
            ttl_seconds=0.0,
            call=call,
            seconds=call.seconds(_MEMORY_SECONDS),
        )
    )


def _text(hits: Sequence[Hit], *, characters: int) -> str:
    """The best hits, as many as fit."""
    lines: list[str] = []
    for hit in hits:
        line = f"- {_line(hit)}\n"
        characters -= len(line)
        if characters < 0:
            break
        lines.append(line)
    return f"{_HEADING}{''.join(lines)}\n" if lines else ""


def _line(hit: Hit) -> str:
    match hit.value:
        case {"asked": str(asked), "answered": str(answered)}:
            return f"Asked: {asked} Answered: {answered}"
        case str(text):
            return text
        case other:
            return to_json(other).text
