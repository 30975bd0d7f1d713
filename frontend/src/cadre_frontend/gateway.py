"""The gateway, as every page reaches it: with the key in CADRE_HOME, or with the key, or the ID token of the OpenID
provider, of the person who signed in."""

import time
from dataclasses import dataclass

import streamlit as st

from cadre_client import Client, WhoAmI, local_platform
from cadre_frontend.settings import SignIn, load_settings

__all__ = ["gateway", "id_token", "is_open", "person", "sign_in", "sign_out"]

_TIMEOUT_SECONDS = 10.0


@dataclass(kw_only=True)
class _Session:
    """Who signed in, with a client that has the key or the ID token; both None before. A key is nowhere else and in no
    cookie; an ID token is in a signed cookie that no script reads."""

    client: Client | None = None
    who: WhoAmI | None = None

    def close(self) -> None:
        """Forgets the key."""
        if self.client is not None:
            self.client.close()
        self.client = self.who = None


def gateway() -> Client:
    """The client of whoever looks at the page. It rather says that nobody answers than makes people wait for it."""
    if load_settings().sign_in is SignIn.OFF:
        return _shared()
    client = _session().client
    assert client is not None, "pages are shown once somebody has signed in"
    return client


@st.cache_resource(show_spinner=False, on_release=Client.close)
def _shared() -> Client:
    return Client.local(timeout_seconds=_TIMEOUT_SECONDS)


@st.cache_resource(show_spinner=False, scope="session", on_release=_Session.close)
def _session() -> _Session:
    return _Session()


def is_open() -> bool:
    """Whether the pages may be shown: nobody has to sign in, or somebody has."""
    return load_settings().sign_in is SignIn.OFF or person() is not None


def person() -> WhoAmI | None:
    """Whose key or ID token this session has; None where nobody signed in, or the ID token has expired."""
    session = _session()
    if load_settings().sign_in is SignIn.OIDC and not id_token():
        session.close()
    return session.who


def id_token() -> str:
    """The ID token of whoever signed in at the OpenID provider, as long as it is valid; else empty."""
    claims = st.user.to_dict()
    if not claims.get("is_logged_in") or float(str(claims.get("exp", 0))) <= time.time():
        return ""
    return st.user.tokens.get("id", "")


def sign_in(key: str) -> None:
    """Lets this session use a key or an ID token. Raises ApiError for one that is not valid, and GatewayUnreachable."""
    platform = local_platform()
    session = _session()
    client = Client(platform.url, key, _TIMEOUT_SECONDS, tls=platform.tls)
    try:
        session.who = client.who_am_i()
    except BaseException:
        client.close()
        raise
    session.client = client


def sign_out() -> None:
    """Forgets the key, and all that the session holds of what was seen; at the OpenID provider, too."""
    _session().close()
    st.session_state.clear()
    if load_settings().sign_in is SignIn.OIDC:
        st.logout()
