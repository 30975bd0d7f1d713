"""The gateway, as every page reaches it."""

import streamlit as st

from cadre_client import Client

__all__ = ["gateway"]

_TIMEOUT_SECONDS = 10.0


@st.cache_resource(show_spinner=False)
def gateway() -> Client:
    """The client that all sessions share. A page rather says that nobody answers than makes people wait for it."""
    return Client.local(timeout_seconds=_TIMEOUT_SECONDS)
