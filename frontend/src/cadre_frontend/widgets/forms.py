"""A form for a workflow's inputs, by their types."""

import json
from collections.abc import Sequence

import streamlit as st
from pydantic import JsonValue

from cadre_client import Input
from cadre_frontend.widgets.texts import plain

__all__ = ["inputs_form"]

# Beyond it a browser can no longer tell neighbouring whole numbers apart.
_LARGEST_WHOLE = 2**53 - 1


def inputs_form(
    inputs: Sequence[Input], *, key: str, label: str = "Run"
) -> dict[str, JsonValue] | None:
    """The values once the form is sent and every value can be read; None before."""
    wanted = [given for given in inputs if given.required]
    optional = [given for given in inputs if not given.required]
    with st.form(f"inputs-{key}", border=True):
        entered = {given.name: _field(given, key) for given in wanted}
        if optional:
            names = "More values, each with a default" if wanted else "Values, each with a default"
            with st.expander(names, expanded=not wanted):
                entered |= {given.name: _field(given, key) for given in optional}
        if not inputs:
            st.caption("This workflow takes no values.")
        if not st.form_submit_button(label, type="primary", icon=":material/play_arrow:"):
            return None
    values, unread = _read(inputs, entered)
    for name, reason in unread.items():
        st.error(f"**{name}** {reason}")
    return None if unread else values


def _field(given: Input, key: str) -> object:
    label = f"{given.name} \\*" if given.required else given.name
    place = f"{key}-{given.name}"
    explained = plain(given.description) or None
    if given.enum:
        index = given.enum.index(given.default) if given.default in given.enum else None
        return st.selectbox(label, given.enum, index=index, key=place, help=explained)
    match given.type:
        case "bool":
            return st.checkbox(label, value=bool(given.default), key=place, help=explained)
        case "int":
            start = given.default if isinstance(given.default, int) else None
            if start is None or abs(start) <= _LARGEST_WHOLE:
                return st.number_input(label, value=start, step=1, key=place, help=explained)
        case "float":
            number = float(given.default) if isinstance(given.default, int | float) else None
            return st.number_input(label, value=number, format="%g", key=place, help=explained)
        case "str":
            text = given.default if isinstance(given.default, str) else ""
            draw = st.text_area if given.required else st.text_input
            return draw(label, value=text, key=place, help=explained)
    shown = "" if given.default is None else json.dumps(given.default, ensure_ascii=False)
    return st.text_input(f"{label} ({given.type}, as JSON)", value=shown, key=place, help=explained)


def _read(
    inputs: Sequence[Input], entered: dict[str, object]
) -> tuple[dict[str, JsonValue], dict[str, str]]:
    values: dict[str, JsonValue] = {}
    unread: dict[str, str] = {}
    for given in inputs:
        value = entered[given.name]
        if value is None or value == "":
            if given.required:
                unread[given.name] = "is required."
        elif isinstance(value, str) and given.type != "str" and not given.enum:
            try:
                values[given.name] = json.loads(value)
            except ValueError:
                unread[given.name] = f"must be JSON for {given.type}, such as [1, 2] or {{}}."
        elif isinstance(value, str | bool | int | float):
            values[given.name] = value
    return values, unread
