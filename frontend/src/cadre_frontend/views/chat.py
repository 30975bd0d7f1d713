"""The chat: a description becomes a workflow file that can be seen, changed, saved and run."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from cadre_client import ApiError, ClientError, Validation
from cadre_frontend import conversations
from cadre_frontend.building import Building, buildings
from cadre_frontend.conversations import Conversation, Kept, Turn
from cadre_frontend.gateway import gateway
from cadre_frontend.widgets.diagram import draw
from cadre_frontend.widgets.forms import inputs_form
from cadre_frontend.widgets.problems import errors_shown, show_error, show_problems
from cadre_frontend.widgets.texts import plain

EXAMPLES = (
    "Find out whether a customer's mail is a question or a complaint, and answer it",
    "Write a short poem about a topic and improve it until it is good",
    "Get opinions for and against on a question and sum them up",
)
LINE_PIXELS = 22
SILENCE_SECONDS = 10.0
MOST_CHARACTERS = 4000
UNKEPT = (
    "This conversation is not kept: the platform's memory does not answer. You can go on, and download the workflow, "
    "but loading the page again loses it. It is kept as soon as memory answers."
)


@dataclass(frozen=True, kw_only=True)
class Unbuilt:
    """A wish of a conversation that came to nothing: by an error, or because it was cancelled."""

    conversation_id: str
    wish: str
    error: ClientError | None


def said_about(turn: Turn) -> str:
    """One sentence about what was built."""
    if not turn.source:
        return "The model did not return a plan that can be read. Say it in other words, or try a larger model."
    if not turn.valid and turn.edited:
        return "Your changes are kept, but the workflow has problems; they are listed below."
    if not turn.valid:
        tries = "one attempt" if turn.attempts == 1 else f"{turn.attempts} attempts"
        return f"After {tries} the workflow still has problems; they are listed below."
    if turn.edited:
        return "Here is the workflow with your changes."
    steps = len(turn.plan.steps) if turn.plan else 0
    count = "one step" if steps == 1 else f"{steps} steps"
    return f"Here is a workflow of {count}. Say what should be different, or save or run it."


def open_conversation(conversation_id: str | None) -> None:
    """Shows another conversation, or a new one, from the next drawing on."""
    st.session_state.pop("kept", None)
    if conversation_id is None:
        st.query_params.pop("conversation", None)
    else:
        st.query_params["conversation"] = conversation_id


def current() -> Kept:
    """The conversation that the address names, or a new one. Raises ClientError when it cannot be read."""
    wanted = st.query_params.get("conversation")
    held: Kept | None = st.session_state.get("kept")
    building = buildings().of(wanted) if wanted else None
    if building is not None and not building.ended:
        # Not held: what is being built may be taken over by another session of the same conversation.
        st.session_state.pop("kept", None)
        return building.kept
    if building is not None:
        held = taken_over(building)
    elif held is not None and held.conversation.id == wanted:
        held = kept_at_last(held)
    else:
        found = conversations.load(gateway(), wanted) if wanted else None
        held = Kept(conversation=found or conversations.new())
    st.query_params["conversation"] = held.conversation.id
    st.session_state["kept"] = held
    return held


def kept_at_last(held: Kept) -> Kept:
    """Tries again to store what could not be stored."""
    if held.refused is None or memory_silent():
        return held
    again = conversations.kept(gateway(), held.conversation)
    if again.refused:
        note_silence()
    return again


def note_silence() -> None:
    """Leaves memory alone for a while: to learn that it is down takes seconds, and the page has more to do."""
    st.session_state["silent_until"] = time.monotonic() + SILENCE_SECONDS


def memory_silent() -> bool:
    """Whether memory did not answer a moment ago."""
    until: float = st.session_state.get("silent_until", 0.0)
    return time.monotonic() < until


def taken_over(building: Building) -> Kept:
    """What came of a building that ended."""
    held = building.kept
    buildings().forget(held.conversation.id)
    if building.error is not None:
        remember_unbuilt(building, building.error)
    return held


def remember_unbuilt(building: Building, error: ClientError | None) -> None:
    """Offers the wish again."""
    st.session_state["unbuilt"] = Unbuilt(
        conversation_id=building.kept.conversation.id, wish=building.wish, error=error
    )


def draw_sidebar(shown: str) -> None:
    """The conversations, newest first."""
    with st.sidebar:
        st.button(
            "New workflow",
            icon=":material/add:",
            width="stretch",
            on_click=open_conversation,
            args=(None,),
        )
        try:
            listed = None if memory_silent() else conversations.newest_first(gateway())
        except ApiError:
            note_silence()
            listed = None
        if listed is None:
            st.caption("Conversations cannot be listed: the platform's memory does not answer.")
        else:
            draw_conversations(listed, shown)


def draw_conversations(listed: Sequence[Conversation], shown: str) -> None:
    """One button a conversation, and one that deletes the one shown."""
    if listed:
        st.caption("Conversations")
    for each in listed:
        st.button(
            plain(each.title),
            key=f"open-{each.id}",
            width="stretch",
            type="secondary" if each.id == shown else "tertiary",
            on_click=open_conversation,
            args=(each.id,),
        )
    if any(each.id == shown for each in listed):
        with st.popover("Delete this conversation", icon=":material/delete:", type="tertiary"):
            st.write("Forget it for good? Workflows that you saved stay.")
            if st.button("Delete it", type="primary"):
                conversations.delete(gateway(), shown)
                open_conversation(None)
                st.rerun()


def draw_empty() -> str | None:
    """What to do first; the example that was pressed."""
    st.title("What should your agents do?")
    st.write(
        "Describe it in your own words. You get a workflow that you can look at, change, save and run."
    )
    pressed = [
        example for example in EXAMPLES if st.button(plain(example), icon=":material/lightbulb:")
    ]
    return pressed[0] if pressed else None


def draw_turn(turn: Turn, *, last: bool) -> None:
    """A wish and its answer; the workflow itself is drawn only for the last turn."""
    with st.chat_message("user", avatar=":material/person:"):
        st.text(turn.wish)
    with st.chat_message("assistant", avatar=":material/account_tree:"):
        st.write(said_about(turn))
        if turn.small_model and last:
            st.caption(
                "Planned by the small embedded model from a pattern. With a provider's key, such as OPENAI_API_KEY, "
                "plans follow your words more freely."
            )
        if turn.source and not last:
            with st.expander("The workflow at this point"):
                st.code(turn.source, language="yaml")


def draw_workflow(conversation: Conversation) -> None:
    """The last turn's workflow: problems, diagram, YAML, and what can be done with it."""
    turn = conversation.turns[-1]
    checked = gateway().validate(turn.source)
    # A place of its own: were the tabs to move when problems come and go, the first would open again.
    with st.container():
        show_problems(checked.problems)
    diagram, text, run = st.tabs(["Diagram", "YAML", "Run"])
    with diagram:
        if checked.workflow and checked.workflow.graph:
            draw(checked.workflow.graph)
        else:
            st.info("There is no diagram while the workflow has problems.")
    with text:
        draw_file(conversation)
    with run, errors_shown():
        draw_run_form(conversation, checked)
    with errors_shown():
        draw_actions(turn, checked)


def draw_file(conversation: Conversation) -> None:
    """The file, which can be changed by hand."""
    turn = conversation.turns[-1]
    lines = min(max(turn.source.count("\n") + 2, 8), 30)
    with st.form(f"file-{hash(turn.source)}", border=False):
        edited = st.text_area("Workflow file", turn.source, height=lines * LINE_PIXELS)
        sent = st.form_submit_button("Check and keep my changes", icon=":material/check:")
    if sent and not edited.strip():
        st.warning("An empty file is no workflow; nothing was changed.")
    elif sent and edited != turn.source:
        problems = gateway().validate(edited).problems
        changed = turn.model_copy(update={"source": edited, "problems": problems, "edited": True})
        keep(conversation.with_last(changed))
        st.rerun()


def draw_run_form(conversation: Conversation, checked: Validation) -> None:
    """Runs the workflow as it is, saved or not."""
    if not checked.valid or checked.workflow is None:
        st.info("The workflow can be run once it has no problems.")
        return
    values = inputs_form(checked.workflow.inputs, key=f"chat-{conversation.id}")
    if values is not None:
        started = gateway().start_run(source=conversation.turns[-1].source, inputs=values)
        st.switch_page("views/runs.py", query_params={"run": started.id})


def draw_actions(turn: Turn, checked: Validation) -> None:
    """Save and download."""
    name = checked.workflow.name if checked.workflow else "workflow"
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button("Save", icon=":material/save:", disabled=not checked.valid):
            applied = gateway().apply(turn.source)
            version = applied.workflow.version
            made = f"Saved {name}, version {version}."
            st.toast(made if applied.created else f"{name} is saved already.")
            st.session_state["saved"] = turn.source
        st.download_button(
            "Download",
            turn.source,
            file_name=f"{name}.yaml",
            mime="application/yaml",
            icon=":material/download:",
        )
        if st.session_state.get("saved") == turn.source:
            st.page_link(
                "views/workflows.py",
                label=f"Open {name}",
                icon=":material/account_tree:",
                query_params={"workflow": name},
            )


def draw_building(building: Building) -> None:
    """A wish that is being built: what was done so far, and a way out."""
    if building.ended:
        st.rerun()
    with st.chat_message("user", avatar=":material/person:"):
        st.text(building.wish)
    with st.chat_message("assistant", avatar=":material/account_tree:"):
        progress = building.progress or ("Asking the platform",)
        seconds = int(time.monotonic() - building.began)
        # Left open: a status that is entered with `with` says at its end that all is done.
        status = st.status(f"{progress[-1]} · {seconds} s", expanded=True)
        for line in progress:
            status.write(line)
        if st.button("Cancel", icon=":material/stop_circle:"):
            building.cancel()
            buildings().forget(building.kept.conversation.id)
            remember_unbuilt(building, None)
            st.session_state["kept"] = building.kept
            st.rerun()


def draw_unbuilt(unbuilt: Unbuilt) -> bool:
    """A wish that came to nothing; whether it is to be tried again."""
    with st.chat_message("user", avatar=":material/person:"):
        st.text(unbuilt.wish)
    with st.chat_message("assistant", avatar=":material/account_tree:"):
        if unbuilt.error is None:
            st.write("Cancelled; nothing was changed.")
        else:
            show_error(unbuilt.error)
        return st.button("Try again", icon=":material/refresh:")


def keep(conversation: Conversation) -> None:
    """Stores the conversation, here and in the platform."""
    st.session_state["kept"] = conversations.kept(gateway(), conversation)


def begin(conversation: Conversation, wish: str) -> None:
    """Has a wish built, and shows how that goes."""
    st.session_state.pop("unbuilt", None)
    buildings().start(gateway(), conversation, wish)
    st.rerun()


def draw_conversation(held: Kept) -> str | None:
    """All of a conversation; the wish that was pressed, if any."""
    conversation = held.conversation
    building = buildings().of(conversation.id)
    unbuilt: Unbuilt | None = st.session_state.get("unbuilt")
    if unbuilt is not None and unbuilt.conversation_id != conversation.id:
        unbuilt = None
    if not conversation.turns and building is None and unbuilt is None:
        return draw_empty()
    for turn in conversation.turns:
        draw_turn(turn, last=turn is conversation.turns[-1])
    if building is not None:
        st.fragment(draw_building, run_every=0.5)(building)
        return None
    if conversation.turns and conversation.turns[-1].source:
        draw_workflow(conversation)
    again = unbuilt is not None and draw_unbuilt(unbuilt)
    return unbuilt.wish if unbuilt and again else None


try:
    held = current()
except ApiError:
    note_silence()
    draw_sidebar("")
    raise
wish = st.chat_input(
    "Describe a workflow, or what should be different",
    max_chars=MOST_CHARACTERS,
    disabled=buildings().of(held.conversation.id) is not None,
)
if held.refused:
    st.warning(UNKEPT)
pressed = draw_conversation(held)
if wish or pressed:
    begin(held.conversation, wish or pressed or "")
# Last, for it is the one thing here that waits for memory.
draw_sidebar(held.conversation.id)
