"""What agents remember: searched, as facts with the time that they hold, as conversations, by key; and forgotten."""

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime, time

import streamlit as st

from cadre_client import ConversationMessage, MemoryHit, MemoryItem
from cadre_frontend.gateway import gateway
from cadre_frontend.widgets.amounts import ago
from cadre_frontend.widgets.problems import errors_shown
from cadre_frontend.widgets.texts import plain

SCOPES = ["user", "conversation", "workflow", "agent", "node", "run", "shared"]
FACTS = "facts"
WORK = ["cadre", "work"]
MOST = 200
EVER = datetime.min.replace(tzinfo=UTC)
EMPTY = """\
Nothing is remembered here yet. Run a workflow whose nodes have `memory`, such as the example `companion`:

`cadre run examples/companion.yaml -i who=ada -i message="I live in Paris."`

or store something yourself: `cadre memory put user/ada city Paris`"""
KINDS = {"Everything": {}, "Facts": {"kind": "fact"}, "Summaries": {"kind": "summary"}}


def places(scope: str) -> list[str]:
    """The namespaces of a scope, the facts of one counted with it."""
    found = gateway().memory_namespaces([scope])
    return sorted({"/".join(each[:-1] if each[-1] == FACTS else each) for each in found})


def day_start(day: date | None) -> datetime | None:
    """The moment a day begins."""
    return None if day is None else datetime.combine(day, time(), UTC)


def day_of(moment: datetime | None) -> str:
    """The day of a moment; a dash for none."""
    return f"{moment:%Y-%m-%d}" if moment else "–"


def draw_search(namespace: Sequence[str]) -> None:
    """A question, and what is found with it."""
    asked, mode, window, day = st.columns([5, 2, 2, 2])
    question = asked.text_input("What do you look for?", key="question")
    chosen = mode.selectbox("Search", ["hybrid", "text", "vector"], key="mode")
    around = window.number_input("Messages around", 0, 10, 0, key="window")
    when = day.date_input("As of", value=None, key="asked")
    if not question.strip():
        st.caption(
            "Words and meaning are searched; facts that do not hold as of the day are left out."
        )
        return
    found = gateway().search_memories(
        namespace, question, mode=chosen, window=int(around), asked=day_start(when)
    )
    if found.without_meaning:
        st.warning(f"Only words were searched, not meaning: {found.without_meaning}.")
    for hit in found.hits:
        draw_hit(hit)
    if not found.hits:
        st.info("Nothing matches.")


def draw_hit(hit: MemoryHit) -> None:
    """One hit: what matches, its score and the parts of it, where it is, and what is around it."""
    with st.container(border=True):
        st.markdown(plain(hit.matched_text))
        st.progress(min(1.0, hit.score))
        where = "/".join([*hit.item.namespace, hit.item.key])
        parts = (
            f"score {hit.score:.2f} · words {hit.text_score:.2f} · meaning {hit.vector_score:.2f}"
        )
        st.caption(plain(f"{parts} · {where}{span(hit.item)}"))
        for each in hit.neighbours:
            st.caption(plain(f"{each.position}. {each.name or each.role}: {each.text}"))


def span(item: MemoryItem) -> str:
    """From when to when an item holds, where it says so."""
    start, end = item.valid_from, item.valid_to
    begins = f" · from {start:%Y-%m-%d}" if start else ""
    return begins + (f" until {end:%Y-%m-%d}" if end else "")


def draw_facts(namespace: Sequence[str]) -> None:
    """The facts that were learned, each with the time that it holds and where it is from."""
    found = gateway().list_memories([*namespace, FACTS], limit=MOST, tags=["fact"])
    if not found:
        st.info(
            "No facts were learned here. Let a workflow learn: `config: {memory: {learn: true}}`, "
            "with `memory` on a node that asks a model."
        )
        return
    now = datetime.now(UTC)
    rows = [
        {
            "fact": str(fact.value),
            "holds": fact.holds(now),
            "from": day_of(fact.valid_from),
            "until": day_of(fact.valid_to),
            "run": str(fact.metadata.get("run_id", "")),
        }
        for fact in sorted(found, key=lambda fact: fact.valid_from or EVER, reverse=True)
    ]
    st.dataframe(rows, hide_index=True)


def draw_conversation(namespace: Sequence[str]) -> None:
    """The newest messages, and the summary of what was before."""
    found = gateway().messages(namespace, limit=50, with_summary=True)
    if not found.messages:
        st.info("Nothing was said here. Add to it: `cadre memory append user/ada 'Hello'`")
        return
    if found.summary:
        st.info(plain(f"Until message {found.summary.last_position}: {found.summary.text}"))
    for message in found.messages:
        draw_message(message)


def draw_message(message: ConversationMessage) -> None:
    """One message, with who said it and when."""
    whose = "smart_toy" if message.role == "assistant" else "person"
    with st.chat_message(message.role, avatar=f":material/{whose}:"):
        st.markdown(plain(message.text))
        st.caption(plain(f"{message.name or message.role} · {ago(message.time)}"))


def draw_values(namespace: Sequence[str]) -> None:
    """What is stored by key."""
    found = gateway().list_memories(namespace, limit=MOST)
    rows = [
        {
            "key": item.key,
            "value": item.value if isinstance(item.value, str) else json.dumps(item.value),
            "version": item.version,
            "stored": ago(item.updated_time),
            "tags": ", ".join(item.tags),
        }
        for item in found
        if not item.key.startswith("message/")
    ]
    if rows:
        st.dataframe(rows, hide_index=True)
    else:
        st.info("Nothing is stored by key here.")


def draw_work(place: str) -> None:
    """What a model has yet to do for the conversation, and what it could not."""
    for item in gateway().list_memories(WORK, limit=MOST):
        if item.metadata.get("conversation") != place:
            continue
        doing = "Learning from it" if "learn/" in item.key else "Summing it up"
        reason = f"{item.metadata.get('code')}: {item.metadata.get('reason')}"
        if item.metadata.get("state") == "failed":
            st.warning(plain(f"{doing} failed; what was said is kept. {reason}"))
        elif "code" in item.metadata:
            st.caption(plain(f"{doing} is under way. It failed, and is tried again. {reason}"))
        else:
            st.caption(f"{doing} is under way.")


def draw_forget(namespace: Sequence[str]) -> None:
    """Forgetting takes a tick and a press."""
    with st.popover("Forget", icon=":material/delete:"):
        st.write(plain(f"What of {'/'.join(namespace)}, and below it, shall be forgotten?"))
        kind = st.selectbox("What", list(KINDS), key="forget-what")
        tag = st.text_input("With the tag", key="forget-tag").strip()
        before = st.date_input("Said or stored before", value=None, key="forget-before")
        sure = st.checkbox("I know that this cannot be undone", key="forget-sure")
        if st.button("Forget it", type="primary", disabled=not sure):
            with errors_shown():
                forgotten = gateway().forget_memories(
                    namespace,
                    tags=[tag] if tag else [],
                    metadata=KINDS[kind],
                    before=day_start(before),
                    everything=kind == "Everything" and not tag and before is None,
                )
                st.session_state["forgotten"] = forgotten
                st.rerun()


st.title("Memory")
if (gone := st.session_state.pop("forgotten", None)) is not None:
    st.success(f"{gone} forgotten.")
first, second = st.columns([1, 3])
scope = first.selectbox("Whose", SCOPES, key="scope", bind="query-params")
names = places(scope)
if not names:
    st.info(EMPTY)
else:
    place = second.selectbox("Where", names, key=f"place-{scope}")
    chosen = place.split("/")
    draw_work(place)
    tabs = st.tabs(["Search", "Facts", "Conversation", "Values"])
    for tab, draw in zip(
        tabs, (draw_search, draw_facts, draw_conversation, draw_values), strict=True
    ):
        with tab, errors_shown():
            draw(chosen)
    draw_forget(chosen)
