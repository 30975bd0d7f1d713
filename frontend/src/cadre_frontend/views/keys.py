"""API keys, made and taken back; and who did what lately."""

from decimal import Decimal, InvalidOperation

import streamlit as st

from cadre_client import ApiKey, MadeKey
from cadre_frontend.gateway import gateway
from cadre_frontend.widgets.problems import errors_shown
from cadre_frontend.widgets.texts import plain

COLOURS = {"active": "green", "expired": "orange", "revoked": "red"}
SCOPES = {
    "read": "read: look at everything",
    "run": "run: and start, answer and stop runs, ask models",
    "write": "write: and change workflows, schedules, memories",
    "admin": "admin: and make keys, set budgets",
}
SHOWN_ENTRIES = 50
DAY_SECONDS = 86_400
MADE = "made_key"


def make(name: str, scope: str, days: int, per_minute: int, usd_per_day: str) -> MadeKey:
    """Makes a key; 0 and an empty amount mean no bound."""
    return gateway().create_key(
        name,
        scope,
        expires_seconds=days * DAY_SECONDS if days else None,
        rate=(per_minute, 60.0) if per_minute else None,
        budget_usd=Decimal(usd_per_day) if usd_per_day else None,
    )


def is_amount(text: str) -> bool:
    """Whether it is nothing, or US dollars."""
    try:
        return not text or Decimal(text) > 0
    except InvalidOperation:
        return False


def draw_form() -> None:
    """Asks for what a key shall be."""
    with st.form("new_key"):
        name_field, scope_field = st.columns(2)
        name = name_field.text_input("Name", placeholder="ci", max_chars=63)
        scope = scope_field.selectbox("May", list(SCOPES), format_func=SCOPES.__getitem__)
        days_field, rate_field, budget_field = st.columns(3)
        days = days_field.number_input("Expires after days", 0, 3650, 0, help="0 means never.")
        rate = rate_field.number_input("Requests a minute", 0, 100_000, 0, help="0 means any.")
        usd = budget_field.text_input("US dollars a day", placeholder="no bound").strip()
        pressed = st.form_submit_button("Make key", type="primary")
    if not pressed:
        return
    if not is_amount(usd):
        st.error("**The US dollars are no amount.**\n\nWrite them as 2.50.")
        return
    with errors_shown():
        st.session_state[MADE] = make(name.strip(), scope, int(days), int(rate), usd)
        st.rerun()


def draw_made(made: MadeKey) -> None:
    """The one look at a secret."""
    st.success(
        f"**{plain(made.key.name)}** is made. Copy its secret now: it cannot be shown again."
    )
    st.code(made.secret, language=None)


def draw_key(key: ApiKey) -> None:
    """One key."""
    with st.container(border=True):
        name, status, scope, limits, used, act = st.columns(
            [2, 1, 1, 2, 2, 1.4], vertical_alignment="center"
        )
        name.markdown(f"**{plain(key.name)}**  \n`{key.prefix}…`")
        with status:
            st.badge(key.status, color=COLOURS.get(key.status, "red"))  # type: ignore[arg-type] # by the table
        scope.caption(key.scope)
        rate = f"{key.rate.requests} in {key.rate.seconds:g} s" if key.rate else "any rate"
        until = f"until {key.expires_time:%Y-%m-%d}" if key.expires_time else "for ever"
        limits.caption(f"{rate}, {until}")
        seen = key.last_used_time
        used.caption(f"used {seen:%Y-%m-%d %H:%M} UTC" if seen else "never used")
        if key.status == "active" and act.button("Revoke", key=f"revoke_{key.name}"):
            gateway().revoke_key(key.name)
            st.rerun()


def draw_audit() -> None:
    """What was changed or refused lately."""
    st.header("Who did what")
    entries = gateway().audit(limit=SHOWN_ENTRIES)
    rows = [
        {
            "time (UTC)": f"{entry.time:%Y-%m-%d %H:%M:%S}",
            "key": entry.key or "none",
            "from": entry.address,
            "request": f"{entry.method} {entry.route}",
            "ids": " ".join(f"{name}={value}" for name, value in entry.ids.items()),
            "status": f"{entry.status} {entry.code}".strip(),
        }
        for entry in entries
    ]
    st.dataframe(rows, hide_index=True, width="stretch")
    st.caption(f"The newest {SHOWN_ENTRIES}; `cadre audit` has all, with filters.")


st.title("Keys")
if made := st.session_state.pop(MADE, None):
    draw_made(made)
draw_form()
with errors_shown():
    for key in gateway().api_keys():
        draw_key(key)
    draw_audit()
