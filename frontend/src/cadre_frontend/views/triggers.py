"""What starts runs from outside, what came, and what failed of it, to be replayed or discarded."""

from collections.abc import Callable
from contextlib import suppress

import streamlit as st

from cadre_client import ClientError, Delivery, GatewayUnreachable, Trigger
from cadre_frontend.gateway import gateway
from cadre_frontend.widgets.amounts import ago
from cadre_frontend.widgets.problems import errors_shown, show_error
from cadre_frontend.widgets.texts import plain

SHOWN = 50
COLOURS = {"started": "green", "ended": "green", "parked": "red", "discarded": "gray"}


def act(change: Callable[[str], Delivery], delivery_id: str) -> None:
    """Replays or discards; what the gateway says against it is shown with the next drawing."""
    try:
        change(delivery_id)
    except ClientError as error:
        st.session_state["refused"] = error


def wanted(delivery: Delivery) -> str:
    """The workflow whose run it asks for, as Markdown."""
    return plain(delivery.workflow) or "A command or an answer"


def draw_parked(delivery: Delivery) -> None:
    """What failed, why, and what can be done."""
    with st.container(border=True):
        what, replay, discard = st.columns([6, 1, 1], vertical_alignment="center")
        what.markdown(f"**{wanted(delivery)}** from {plain(delivery.source)}")
        if delivery.error is not None:
            what.markdown(f"{plain(delivery.error.message)} (`{delivery.error.code}`)")
            what.caption(plain(delivery.error.resolution))
        what.caption(f"{delivery.id}, {ago(delivery.received_time)}")
        replay.button(
            "Replay",
            key=f"replay-{delivery.id}",
            type="primary",
            on_click=act,
            args=(gateway().replay_delivery, delivery.id),
        )
        discard.button(
            "Discard",
            key=f"discard-{delivery.id}",
            on_click=act,
            args=(gateway().discard_delivery, delivery.id),
        )


def draw_row(delivery: Delivery) -> None:
    """One delivery of the list."""
    with st.container(border=True):
        name, state, when = st.columns([4, 1, 2], vertical_alignment="center")
        started = delivery.run_id and delivery.status in ("started", "ended")
        if started:
            name.page_link(
                "views/runs.py",
                label=f"{wanted(delivery)} from {plain(delivery.source)}",
                query_params={"run": delivery.run_id},
            )
        else:
            name.markdown(f"{wanted(delivery)} from {plain(delivery.source)}")
        with state:
            st.badge(delivery.status, color=COLOURS.get(delivery.status, "blue"))  # type: ignore[arg-type] # by the table
        when.caption(ago(delivery.received_time))


def draw_deliveries() -> None:
    """What waits for a person first, then what came last."""
    with errors_shown():
        parked = gateway().deliveries("parked", limit=SHOWN)
        if parked:
            st.header("Failed")
        for delivery in parked:
            draw_parked(delivery)
        st.header("Came last")
        newest = gateway().deliveries(limit=SHOWN)
        if not newest:
            st.info(
                "Nothing came yet. `cadre trigger send webhook NAME '{}'` sends a signed delivery to this platform."
            )
        for delivery in newest:
            draw_row(delivery)


def draw_trigger(trigger: Trigger) -> None:
    """One way in."""
    with st.container(border=True):
        address, workflow, state = st.columns([3, 2, 1], vertical_alignment="center")
        address.code(trigger.address, language=None)
        workflow.markdown(f"**{plain(trigger.workflow)}** {plain(trigger.command)}")
        with state:
            st.badge(
                "on" if trigger.enabled else "off", color="green" if trigger.enabled else "gray"
            )


st.title("Triggers")
if refused := st.session_state.pop("refused", None):
    show_error(refused)
st.fragment(draw_deliveries, run_every=5.0)()
# When nobody answers at all, the deliveries' box has said so.
with errors_shown(), suppress(GatewayUnreachable):
    found = gateway().triggers()
    st.header("Addresses")
    if not found:
        st.info("No applied workflow names triggers for what comes from outside.")
    for one in found:
        draw_trigger(one)
