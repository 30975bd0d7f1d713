"""The runs: what ran, and for each how it goes, what it made, how long each step took and what it cost."""

import json
from datetime import UTC, datetime

import streamlit as st

from cadre_client import Graph, JsonObject, Question, Run, RunStatus
from cadre_frontend.following import RunFollower
from cadre_frontend.gateway import gateway
from cadre_frontend.widgets.activity import draw_activity
from cadre_frontend.widgets.amounts import STATUS_COLOURS, ago, cost, run_duration, tokens
from cadre_frontend.widgets.diagram import draw
from cadre_frontend.widgets.files import draw_files
from cadre_frontend.widgets.problems import errors_shown, show_error
from cadre_frontend.widgets.texts import plain
from cadre_frontend.widgets.timeline import draw_timeline, node_states, visits

SHOWN_RUNS = 50
ANY = "any"


def open_run(run_id: str | None) -> None:
    """Shows a run, or the list, from the next drawing on."""
    if run_id is None:
        st.query_params.pop("run", None)
    else:
        st.query_params["run"] = run_id


def follower(run_id: str) -> RunFollower:
    """Who follows the run for this session; another run's is let go."""
    held: RunFollower | None = st.session_state.get("follower")
    if held is None or held.run_id != run_id or (held.ended and held.error):
        held = RunFollower(gateway(), run_id)
        st.session_state["follower"] = held
    return held


def draw_list() -> None:
    """What is shown can be narrowed; the address keeps how."""
    st.title("Runs")
    status, workflow, _ = st.columns([1, 1, 2])
    chosen = status.selectbox("Status", [ANY, *RunStatus], key="status", bind="query-params")
    names = [each.name for each in gateway().workflows()]
    named = workflow.selectbox("Workflow", [ANY, *names], key="of", bind="query-params")
    wanted = (None if named == ANY else named, None if chosen == ANY else chosen)
    live = any(not run.status.is_final for run in gateway().runs(*wanted, limit=SHOWN_RUNS))
    st.fragment(draw_rows, run_every=2.0 if live else None)(*wanted, live=live)


def draw_rows(workflow: str | None, status: str | None, *, live: bool) -> None:
    """The newest runs, one a row; drawn again while one of them goes on."""
    with errors_shown():
        runs = gateway().runs(workflow=workflow, status=status, limit=SHOWN_RUNS)
        if live and all(run.status.is_final for run in runs):
            st.rerun()
        if not runs and (workflow or status):
            st.info("No run is like that.")
        elif not runs:
            draw_empty()
        for run in runs:
            draw_row(run)
        if len(runs) == SHOWN_RUNS:
            st.caption(f"The newest {SHOWN_RUNS}. `cadre runs list --limit` shows more.")


def draw_empty() -> None:
    """What to do when nothing has run."""
    st.info("Nothing has run yet. Describe a workflow in the chat, or run one that is there.")
    with st.container(horizontal=True):
        st.page_link("views/chat.py", label="Open the chat", icon=":material/chat:")
        st.page_link("views/workflows.py", label="Workflows", icon=":material/account_tree:")


def draw_row(run: Run) -> None:
    """One run of the list."""
    with st.container(border=True):
        name, state, figures = st.columns([2.4, 1.2, 5], vertical_alignment="center")
        if name.button(run.workflow, key=run.id, type="tertiary", help=run.id):
            open_run(run.id)
            # The rows are a fragment, which alone would be drawn again.
            st.rerun()
        with state:
            st.badge(run.status, color=STATUS_COLOURS[run.status])  # type: ignore[arg-type] # a literal by the table
        figures.caption(figures_of(run))


def figures_of(run: Run) -> str:
    """When, how long, and what models cost, as far as there is something to say."""
    said = [ago(run.created_time), run_duration(run)]
    if run.usage.calls:
        said += [f"tokens: {tokens(run.usage)}", plain(cost(run.usage))]
    return " · ".join(said)


def draw_one(run_id: str) -> None:
    """One run, drawn again every second until it has ended."""
    st.button(
        "All runs", icon=":material/arrow_back:", type="tertiary", on_click=open_run, args=(None,)
    )
    run = gateway().run(run_id)
    following = follower(run_id)
    if run.status.is_final:
        following.join(5)
    live = not run.status.is_final
    st.fragment(draw_run, run_every=1.0 if live else None)(run_id, live)


def draw_run(run_id: str, live: bool) -> None:
    """The run as it is now."""
    with errors_shown():
        run = gateway().run(run_id)
        if live and run.status.is_final:
            st.rerun()
        found = visits(follower(run_id).events)
        draw_head(run)
        for question in run.questions:
            draw_question(run, question)
        draw_outcome(run)
        draw_files(run_id, gateway().run_files(run_id))
        graph = graph_of(run)
        if graph:
            draw(graph, node_states(found))
        draw_timeline(found, datetime.now(UTC))
        draw_activity(follower(run_id).events)
        held = follower(run_id)
        if held.error:
            show_error(held.error)
        draw_given(run)


def draw_head(run: Run) -> None:
    """Name, state and figures."""
    title, action = st.columns([5, 1], vertical_alignment="center")
    title.title(run.workflow)
    if not run.status.is_final and action.button(
        "Cancel", icon=":material/stop_circle:", width="stretch"
    ):
        gateway().cancel(run.id)
    st.badge(run.status, color=STATUS_COLOURS[run.status])  # type: ignore[arg-type] # a literal by the table
    version = f"version {run.version}" if run.version else "not saved"
    starter = run.trigger or "api"
    if run.trigger == "schedule":
        starter += f" `{run.schedule}`"
    if run.trigger == "batch":
        starter += f", row {run.batch_row}"
    st.caption(f"{version} · started by {starter} · {ago(run.created_time)} · `{run.id}`")
    if run.status is RunStatus.QUEUED:
        st.caption(f"Waits for its turn; runs before it: {run.runs_before:,}")
    if run.batch_id:
        st.page_link("views/batches.py", label="Its batch", query_params={"batch": run.batch_id})
    draw_kin(run)
    time, used, price = st.columns([1, 2, 1])
    time.metric("Time", run_duration(run))
    used.metric("Tokens", tokens(run.usage))
    price.metric("Cost", cost(run.usage))


def draw_kin(run: Run) -> None:
    """The runs that this one came from."""
    for said, run_id in (("Forked from", run.forked_from_run_id), ("Step of", run.parent_run_id)):
        if run_id:
            st.button(
                f"{said} {run_id}",
                icon=":material/call_split:",
                type="tertiary",
                on_click=open_run,
                args=(run_id,),
            )


def draw_question(run: Run, question: Question) -> None:
    """What the run asks, with a button for each choice."""
    key = f"{run.id}/{question.node}/{question.iteration}"
    with st.container(border=True):
        st.markdown(f":material/contact_support: **{plain(question.message)}**")
        if question.run_id not in ("", run.id):
            st.caption(f"`{question.node}` asks, in run `{question.run_id}`")
        if question.deadline:
            st.caption(f"`{question.node}` waits until {question.deadline:%Y-%m-%d %H:%M} UTC")
        if not question.choices:
            draw_answer(run, question, key)
            return
        comment = st.text_input("Comment", key=f"comment/{key}", max_chars=10_000)
        with st.container(horizontal=True):
            for choice in question.choices:
                if st.button(choice, key=f"{choice}/{key}"):
                    gateway().answer(
                        run.id,
                        choice,
                        node=question.node,
                        iteration=question.iteration,
                        comment=comment,
                    )
                    st.rerun()


def draw_answer(run: Run, question: Question, key: str) -> None:
    """A place for an answer in words."""
    answer = st.text_area("Answer", key=f"answer/{key}", max_chars=10_000)
    if st.button("Send", key=f"send/{key}", disabled=not answer.strip()):
        gateway().answer(run.id, answer, node=question.node, iteration=question.iteration)
        st.rerun()


def draw_outcome(run: Run) -> None:
    """What it made, or why it failed."""
    if run.error is not None:
        where = f" in `{run.error.node}`" if run.error.node else ""
        said = plain(run.error.message)
        st.error(f"**{said}**{where}  \n`{run.error.code}`  \n{plain(run.error.resolution)}")
        if st.button("Resume from the failed step", icon=":material/resume:"):
            gateway().resume(run.id)
            # It had seen the run's end.
            st.session_state.pop("follower", None)
            st.rerun()
    if run.outputs:
        st.subheader("Outputs")
        draw_values(run.outputs, leave_out=run.inputs or {})
        st.download_button(
            "Download outputs",
            json.dumps(run.outputs, indent=2, ensure_ascii=False),
            file_name=f"{run.workflow}-{run.id}.json",
            mime="application/json",
            icon=":material/download:",
            type="tertiary",
        )


def draw_values(values: JsonObject, leave_out: JsonObject) -> None:
    """Values by name: text as text, the rest as JSON; what is empty, or as it was given, is left out."""
    for name, value in values.items():
        if value in ("", None) or (name in leave_out and leave_out[name] == value):
            continue
        label, shown = st.columns([1, 5])
        label.markdown(f"`{name}`")
        if isinstance(value, str):
            shown.text(value)
        elif isinstance(value, dict | list):
            shown.json(value, expanded=len(json.dumps(value)) < 2000)
        else:
            shown.text(json.dumps(value))


def draw_given(run: Run) -> None:
    """Inputs, file and trace."""
    with st.expander("Inputs", icon=":material/input:"):
        st.json(run.inputs or {})
    if run.source:
        with st.expander("File", icon=":material/code:"):
            st.code(run.source, language="yaml")
    if run.trace_id:
        draw_trace(run.trace_id)


def draw_trace(trace_id: str) -> None:
    """The way to the trace, where MLflow is up to show it."""
    address = mlflow_address()
    if address:
        where = f"{address}/#/experiments/0/traces?selectedEvaluationId=tr-{trace_id}"
        st.caption(f"Trace [`{trace_id}`]({where}) in MLflow")
    else:
        st.caption(f"Trace `{trace_id}`; MLflow, which shows it, is not up.")


@st.cache_data(ttl=30, show_spinner=False)
def mlflow_address() -> str | None:
    """Where MLflow answers; None while it does not."""
    services = {service.name: service for service in gateway().status()}
    mlflow = services.get("mlflow")
    return mlflow.address if mlflow and mlflow.status == "ready" else None


@st.cache_data(max_entries=100, show_spinner=False)
def graph_source(source: str) -> str | None:
    """The graph of a file as JSON; kept, because a run's file does not change."""
    checked = gateway().validate(source)
    graph = checked.workflow.graph if checked.workflow else None
    return graph.model_dump_json(by_alias=True) if graph else None


def graph_of(run: Run) -> Graph | None:
    """The shape of what ran."""
    text = graph_source(run.source) if run.source else None
    return Graph.model_validate_json(text) if text else None


chosen = st.query_params.get("run")
if chosen:
    draw_one(chosen)
else:
    draw_list()
