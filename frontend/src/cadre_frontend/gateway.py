"""The gateway, as every page reaches it: with the key in CADRE_HOME, or with that of the person who signed in."""

import streamlit as st

from cadre_client import Client, WhoAmI, local_platform
from cadre_frontend.settings import SignIn, load_settings

__all__ = ["gateway", "is_open", "person", "sign_in", "sign_out"]

_TIMEOUT_SECONDS = 10.0
# In the session, which this process forgets with the browser's tab; the key is nowhere else, and in no cookie.
_CLIENT, _PERSON = "signed_in_client", "signed_in_person"


def gateway() -> Client:
    """The client of whoever looks at the page. It rather says that nobody answers than makes people wait for it."""
    if load_settings().sign_in is SignIn.OFF:
        return _shared()
    client: Client = st.session_state[_CLIENT]
    return client


@st.cache_resource(show_spinner=False)
def _shared() -> Client:
    return Client.local(timeout_seconds=_TIMEOUT_SECONDS)


def is_open() -> bool:
    """Whether the pages may be shown: nobody has to sign in, or somebody has."""
    return load_settings().sign_in is SignIn.OFF or person() is not None


def person() -> WhoAmI | None:
    """Whose key this session has; None where nobody signed in."""
    found: WhoAmI | None = st.session_state.get(_PERSON)
    return found


def sign_in(key: str) -> None:
    """Lets this session use a key. Raises ApiError for one that is not valid, and GatewayUnreachable."""
    client = Client(local_platform().url, key, _TIMEOUT_SECONDS)
    st.session_state[_PERSON] = client.who_am_i()
    st.session_state[_CLIENT] = client


def sign_out() -> None:
    """Forgets the session, with all that it holds of what was seen."""
    client: Client | None = st.session_state.get(_CLIENT)
    st.session_state.clear()
    if client is not None:
        client.close()
