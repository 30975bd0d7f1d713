"""The batches: how far each has come, which of its rows failed and why, and the way to their runs."""

import streamlit as st

from cadre_client import Batch, RowCounts, Run, RunStatus
from cadre_frontend.gateway import gateway
from cadre_frontend.widgets.amounts import STATUS_COLOURS, ago, cost, run_duration
from cadre_frontend.widgets.problems import errors_shown
from cadre_frontend.widgets.texts import plain

SHOWN_BATCHES = 50
SHOWN_ROWS = 50
# What people look for first.
LISTED = (RunStatus.FAILED, RunStatus.WAITING, RunStatus.RUNNING)
HEADINGS = {
    RunStatus.FAILED: "Rows that failed",
    RunStatus.WAITING: "Rows that wait for a person",
    RunStatus.RUNNING: "Rows under way",
}


def open_batch(batch_id: str | None) -> None:
    """Shows a batch, or the list, from the next drawing on."""
    if batch_id is None:
        st.query_params.pop("batch", None)
    else:
        st.query_params["batch"] = batch_id


def cancel(batch_id: str) -> None:
    """Stops a batch."""
    with errors_shown():
        gateway().cancel_batch(batch_id)


def counts_of(rows: RowCounts) -> str:
    """How many rows stand where, as far as there are any."""
    numbers = {
        "succeeded": rows.succeeded,
        "failed": rows.failed,
        "cancelled": rows.cancelled,
        "waiting": rows.waiting,
        "under way": rows.running,
        "to start": rows.pending,
    }
    return " · ".join(f"{number:,} {name}" for name, number in numbers.items() if number)


def summary_of(batch: Batch) -> str:
    """How many rows stand where, and what they cost, once there is anything to say."""
    parts = [counts_of(batch.rows), f"cost {cost(batch.usage)}" if batch.usage.calls else ""]
    return " · ".join(part for part in parts if part)


def draw_progress(batch: Batch) -> None:
    """The bar, with how many rows have ended."""
    rows = batch.rows
    done = rows.ended / rows.total if rows.total else 1.0
    st.progress(done, text=f"{rows.ended:,} of {rows.total:,} rows ended")


def draw_list() -> None:
    """The newest batches."""
    st.title("Batches")
    live = any(not batch.status.is_final for batch in gateway().batches(SHOWN_BATCHES))
    st.fragment(draw_batches, run_every=2.0 if live else None)(live=live)


def draw_batches(*, live: bool) -> None:
    """One a row; drawn again while one of them goes on."""
    with errors_shown():
        found = gateway().batches(SHOWN_BATCHES)
        if live and all(batch.status.is_final for batch in found):
            st.rerun()
        if not found:
            st.info(
                "There are no batches yet. `cadre run NAME --inputs data.csv --batch` runs a workflow over every row."
            )
        for batch in found:
            draw_row(batch)
        if len(found) == SHOWN_BATCHES:
            st.caption(f"The newest {SHOWN_BATCHES}. `cadre batches list --limit` shows more.")


def draw_row(batch: Batch) -> None:
    """One batch of the list."""
    with st.container(border=True):
        name, state, progress = st.columns([2.4, 1.2, 5], vertical_alignment="center")
        if name.button(batch.workflow, key=batch.id, type="tertiary", help=batch.id):
            open_batch(batch.id)
            # The rows are a fragment, which alone would be drawn again.
            st.rerun()
        name.caption(ago(batch.created_time))
        with state:
            st.badge(batch.status, color=STATUS_COLOURS[batch.status])  # type: ignore[arg-type] # a literal by the table
        with progress:
            draw_progress(batch)
            st.caption(summary_of(batch))


def draw_one(batch_id: str) -> None:
    """One batch, drawn again every second until it has ended."""
    st.button(
        "All batches",
        icon=":material/arrow_back:",
        type="tertiary",
        on_click=open_batch,
        args=(None,),
    )
    live = not gateway().batch(batch_id).status.is_final
    st.fragment(draw_batch, run_every=1.0 if live else None)(batch_id, live=live)


def draw_batch(batch_id: str, *, live: bool) -> None:
    """The batch as it is now."""
    with errors_shown():
        batch = gateway().batch(batch_id)
        if live and batch.status.is_final:
            st.rerun()
        draw_head(batch)
        numbers = {
            RunStatus.FAILED: batch.rows.failed,
            RunStatus.WAITING: batch.rows.waiting,
            RunStatus.RUNNING: batch.rows.running,
        }
        for status in LISTED:
            if numbers[status]:
                st.subheader(HEADINGS[status])
                draw_runs(batch, status)


def draw_head(batch: Batch) -> None:
    """Name, state and progress."""
    title, action = st.columns([5, 1], vertical_alignment="center")
    title.title(batch.workflow)
    if not batch.status.is_final:
        action.button(
            "Cancel",
            icon=":material/stop_circle:",
            width="stretch",
            on_click=cancel,
            args=(batch.id,),
        )
    st.badge(batch.status, color=STATUS_COLOURS[batch.status])  # type: ignore[arg-type] # a literal by the table
    version = f"version {batch.version}" if batch.version else "not saved"
    at_once = f"{batch.max_concurrent} at once"
    st.caption(f"{version} · {at_once} · {ago(batch.created_time)} · `{batch.id}`")
    draw_progress(batch)
    st.caption(summary_of(batch))
    if batch.status is RunStatus.QUEUED:
        st.info("It waits for a Prefect worker; the page Status shows whether one is there.")
    if batch.status in (RunStatus.FAILED, RunStatus.CANCELLED):
        st.info(
            "The same command with `--resume` goes on with it: failed rows from the step that failed."
        )


def draw_runs(batch: Batch, status: RunStatus) -> None:
    """The runs of rows that stand so, in the order of the rows as far as they are shown."""
    runs = gateway().runs(batch_id=batch.id, status=status, limit=SHOWN_ROWS)
    for run in sorted(runs, key=lambda run: run.batch_row):
        draw_run(run)
    if len(runs) == SHOWN_ROWS:
        st.caption(f"The newest {SHOWN_ROWS}. `cadre batches show {batch.id}` lists all.")


def draw_run(run: Run) -> None:
    """One row, with the way to its run, and why it failed."""
    with st.container(border=True):
        way, said = st.columns([1.6, 6], vertical_alignment="center")
        way.page_link("views/runs.py", label=f"Row {run.batch_row}", query_params={"run": run.id})
        if run.error is not None:
            where = f" in `{run.error.node}`" if run.error.node else ""
            said.markdown(f"{plain(run.error.message)}{where} (`{run.error.code}`)")
        else:
            said.caption(run_duration(run))


chosen = st.query_params.get("batch")
if chosen:
    draw_one(chosen)
else:
    draw_list()
