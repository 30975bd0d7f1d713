"""What a person who has not signed in sees, and who has."""

import streamlit as st

from cadre_client import ClientError, WhoAmI
from cadre_frontend.gateway import id_token, sign_in, sign_out
from cadre_frontend.settings import SignIn, load_settings
from cadre_frontend.widgets.problems import errors_shown, show_error
from cadre_frontend.widgets.texts import plain

__all__ = ["draw_person", "draw_sign_in"]

MAY = {
    "read": "may look",
    "run": "may look and run",
    "write": "may look, run and change",
    "admin": "may do everything",
}


def draw_sign_in() -> None:
    """Asks for a key, or leads to the OpenID provider."""
    if load_settings().sign_in is SignIn.OIDC:
        _draw_openid()
    else:
        _draw_key()


def _draw_openid() -> None:
    token = id_token()
    if token:
        try:
            sign_in(token)
        except ClientError as error:
            show_error(error)
            st.button("Sign out", on_click=sign_out)
            return
        st.rerun()
    st.title("Sign in")
    st.button("Sign in", type="primary", on_click=st.login)
    st.caption("You are led to where your organization signs you in, and back.")


def _draw_key() -> None:
    st.title("Sign in")
    # Cleared, so that the key stays in no field that a later page could show.
    with st.form("sign_in", clear_on_submit=True, width=480):
        key = st.text_input("API key", type="password", autocomplete="off", max_chars=512)
        pressed = st.form_submit_button("Sign in", type="primary")
    st.caption(
        "A key of `cadre keys create NAME --scope run`, or the one in the file `api-key` in `CADRE_HOME`. "
        "It is kept until this tab is closed or loaded again."
    )
    if not pressed:
        return
    if not key.strip():
        st.error("**No key was given.**")
        return
    with errors_shown():
        sign_in(key.strip())
        st.rerun()


def draw_person(who: WhoAmI) -> None:
    """Who is signed in, and the way out."""
    with st.sidebar:
        st.caption(f"**{plain(who.name)}** {MAY[who.scope]}")
        st.button("Sign out", on_click=sign_out, width="stretch")
