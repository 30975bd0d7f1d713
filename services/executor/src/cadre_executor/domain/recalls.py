"""What llm nodes remember: what is relevant goes before the prompt, and the exchange is kept."""

from collections.abc import Iterator, Sequence

from cadre_executor.domain.peers import Hit, Role, Said
from cadre_executor.domain.tasks import Task
from cadre_executor.domain.workflows import Recall
from cadre_kit.documents import to_json
from cadre_kit.errors import NotFound

__all__ = ["recalled", "remember"]

_MEMORY_SECONDS = 30.0
_LONGEST_QUERY = 1_000
# A usual token of English text; models count differently, so this only bounds.
_CHARACTERS_A_TOKEN = 4
_HEADING = "What you remember of earlier conversations, as far as it may help:\n"
# An answer alone says little: its question comes along.
_WINDOW = 1
_SUMMARY_KEY = "summary"


async def recalled(recall: Recall, prompt: str, *, task: Task) -> str:
    """What goes before the prompt; stored at once, for a repeated call has to ask the model the same."""
    known = task.find("recall")
    if known is not None:
        return str(known["text"])
    memory, call = task.means.peers.memory, task.call.at("recall")
    namespace = recall.place.path(task.scope, run_id=task.means.run_id)
    hits = await task.patiently(
        lambda: memory.search(
            namespace,
            prompt[:_LONGEST_QUERY],
            top_k=recall.top_k,
            window=_WINDOW,
            call=call,
            seconds=call.seconds(_MEMORY_SECONDS),
        )
    )
    lines = [*await _summary(recall, namespace, task), *_lines(hits)]
    text = _text(lines, characters=recall.max_tokens * _CHARACTERS_A_TOKEN)
    task.record("recall", {"text": text})
    await task.means.records.store()
    return text


async def remember(recall: Recall, prompt: str, reply: str, *, task: Task) -> None:
    """Keeps the exchange under the try's own key, so that a repeated try keeps it once."""
    memory, call = task.means.peers.memory, task.call.at("remember")
    namespace = recall.place.path(task.scope, run_id=task.means.run_id)
    exchange = [Said(role=Role.USER, text=prompt), Said(role=Role.ASSISTANT, text=reply)]
    await task.patiently(
        lambda: memory.append(
            namespace,
            exchange,
            upkeep=recall.upkeep,
            call=call,
            seconds=call.seconds(_MEMORY_SECONDS),
        )
    )


async def _summary(recall: Recall, namespace: Sequence[str], task: Task) -> list[str]:
    """What was said in the older part, where that is summarized."""
    if not recall.upkeep.summary_tokens:
        return []
    memory, call = task.means.peers.memory, task.call.at("summary")
    seconds = call.seconds(_MEMORY_SECONDS)
    try:
        found = await task.patiently(
            lambda: memory.get(namespace, _SUMMARY_KEY, call=call, seconds=seconds)
        )
    except NotFound:
        return []
    return [f"In short: {found}"]


def _text(lines: Sequence[str], *, characters: int) -> str:
    """The first of the lines, as many as fit."""
    kept: list[str] = []
    for line in lines:
        marked = f"- {line}\n"
        characters -= len(marked)
        if characters < 0:
            break
        kept.append(marked)
    return f"{_HEADING}{''.join(kept)}\n" if kept else ""


def _lines(hits: Sequence[Hit]) -> Iterator[str]:
    """The hits as lines, the best first; each message once, in its place among those around it."""
    told: set[tuple[tuple[str, ...], int]] = set()
    for hit in hits:
        if hit.said is None:
            if hit.key != _SUMMARY_KEY:
                yield _line(hit)
            continue
        for said in sorted((hit.said, *hit.around), key=lambda each: each.position):
            if (hit.namespace, said.position) not in told:
                told.add((hit.namespace, said.position))
                yield f"{said.name or said.role.value}: {said.text}"


def _line(hit: Hit) -> str:
    match hit.value:
        case {"asked": str(asked), "answered": str(answered)}:
            # As exchanges were kept before they were messages.
            return f"Asked: {asked} Answered: {answered}"
        case str(text) if since := hit.metadata.get("valid_from"):
            return f"{text} (since {str(since)[:10]})"
        case str(text):
            return text
        case other:
            return to_json(other).text
