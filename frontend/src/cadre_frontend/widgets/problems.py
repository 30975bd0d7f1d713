"""Errors and problems, said so that people know what to do."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import streamlit as st

from cadre_client import ApiError, ClientError, Problem, Severity
from cadre_frontend.widgets.texts import plain

__all__ = ["errors_shown", "show_error", "show_problems"]


@contextmanager
def errors_shown() -> Iterator[None]:
    """Shows what the gateway refuses, or that it is not there, in place of the rest of the block."""
    try:
        yield
    except ClientError as error:
        show_error(error)


def show_error(error: ClientError) -> None:
    """One box: what happened and what to do; then each problem of a refused document."""
    text = plain(str(error))
    said = f"**{text[:1].upper()}{text[1:]}**"
    st.error(f"{said}\n\n{error.resolution}" if error.resolution else said)
    if isinstance(error, ApiError):
        show_problems(error.problems)


def show_problems(problems: Sequence[Problem]) -> None:
    """Each problem with its place and what to do."""
    for problem in problems:
        place = (
            f"line {problem.line}, column {problem.column}" if problem.line else plain(problem.path)
        )
        lines = [
            f"**{plain(problem.message)}**",
            f"`{problem.code}` · {place}" if place else f"`{problem.code}`",
        ]
        lines += [problem.resolution] if problem.resolution else []
        box = st.error if problem.severity is Severity.ERROR else st.info
        box("  \n".join(lines))
