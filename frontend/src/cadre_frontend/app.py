"""The entry of the pages: the navigation, and one place that shows what a page could not do."""

from pathlib import Path

import streamlit as st

from cadre_frontend.gateway import is_open, person
from cadre_frontend.widgets.problems import errors_shown
from cadre_frontend.widgets.sign_in import draw_person, draw_sign_in

# Not named pages: Streamlit takes a folder of that name beside this file for the pages of its older kind, which it
# runs by themselves until this file has run once.
_PAGES = Path(__file__).with_name("views")
# A file of ours: an icon named by words would be fetched from a font server.
_ICON = Path(__file__).with_name("assets") / "icon.svg"

st.set_page_config(page_title="Cadre", page_icon=str(_ICON), layout="wide")
chosen = st.navigation(
    [
        st.Page(_PAGES / "chat.py", title="Chat", icon=":material/chat:", default=True),
        st.Page(
            _PAGES / "workflows.py",
            title="Workflows",
            icon=":material/account_tree:",
            url_path="workflows",
        ),
        st.Page(_PAGES / "runs.py", title="Runs", icon=":material/play_circle:", url_path="runs"),
        st.Page(
            _PAGES / "batches.py",
            title="Batches",
            icon=":material/dataset:",
            url_path="batches",
        ),
        st.Page(
            _PAGES / "triggers.py", title="Triggers", icon=":material/bolt:", url_path="triggers"
        ),
        st.Page(_PAGES / "agents.py", title="Agents", icon=":material/hub:", url_path="agents"),
        st.Page(_PAGES / "memory.py", title="Memory", icon=":material/memory:", url_path="memory"),
        st.Page(_PAGES / "costs.py", title="Costs", icon=":material/payments:", url_path="costs"),
        st.Page(
            _PAGES / "status.py", title="Status", icon=":material/monitor_heart:", url_path="status"
        ),
        st.Page(_PAGES / "keys.py", title="Keys", icon=":material/key:", url_path="keys"),
    ],
    # The page that was asked for stays in the address, and is there after signing in.
    position="sidebar" if is_open() else "hidden",
)
if who := person():
    draw_person(who)
with errors_shown():
    if is_open():
        chosen.run()
    else:
        draw_sign_in()
# Any look at the session ends a run that a newer one has overtaken. Without it, a page whose last act is to wait for
# the gateway would come to its end, where Streamlit forgets the fragments that the newer run has drawn meanwhile.
_ = "overtaken" in st.session_state
