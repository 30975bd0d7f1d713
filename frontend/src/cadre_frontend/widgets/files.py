"""The files of a run: pictures, tables and pages are shown, and each can be taken home."""

import csv
import html
import io
from collections.abc import Sequence

import streamlit as st

from cadre_client import RunFile
from cadre_frontend.gateway import gateway

__all__ = ["draw_files", "framed", "table"]

_PICTURES = ("image/png", "image/jpeg", "image/gif", "image/webp")
_SHOWN, _SHOWN_BYTES, _ROWS = 20, 10 * 1024 * 1024, 200
_PAGE_BYTES, _PAGE_PIXELS = 1024 * 1024, 400
# A program may have made it: it runs no scripts, loads nothing and sends nothing, whatever is in it.
_PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; form-action 'none'"


def draw_files(run_id: str, files: Sequence[RunFile]) -> None:
    """All of them, the first ones with what is in them. SVG is not shown: a program may have made it."""
    if not files:
        return
    st.subheader("Files")
    for file in files[:_SHOWN]:
        _draw(run_id, file)
    if len(files) > _SHOWN:
        st.caption(
            f"The first {_SHOWN} of {len(files)}. `cadre runs files {run_id}` gets them all."
        )


def _draw(run_id: str, file: RunFile) -> None:
    with st.container(border=True):
        name, take = st.columns([5, 1], vertical_alignment="center")
        name.text(f"{file.path} · {file.size_bytes:,} bytes")
        if file.size_bytes > _SHOWN_BYTES:
            name.caption("It is too large for this page.")
            return
        content = _content(run_id, file.path, file.size_bytes)
        take.download_button(
            "Download",
            content,
            file_name=file.path.rpartition("/")[2],
            mime="application/octet-stream",
            icon=":material/download:",
            type="tertiary",
            key=f"file/{run_id}/{file.path}",
        )
        if file.media_type in _PICTURES:
            st.image(content)
        elif file.media_type == "text/csv":
            st.dataframe(table(content))
        elif file.media_type == "text/html" and len(content) <= _PAGE_BYTES:
            st.iframe(framed(content), height=_PAGE_PIXELS)


@st.cache_data(max_entries=100, show_spinner=False)
def _content(run_id: str, path: str, size: int) -> bytes:
    """Kept by its size too, as a later step may have written it anew."""
    return gateway().read_run_file(run_id, path)


def framed(content: bytes) -> str:
    """A page for a frame within the frame that Streamlit makes, which would let its scripts into our own page."""
    policy = f'<meta http-equiv="Content-Security-Policy" content="{_PAGE_POLICY}">'
    inside = html.escape(policy + content.decode("utf-8", "replace"))
    size = f"border:0;width:100%;height:{_PAGE_PIXELS - 20}px"
    return f'<iframe sandbox="" title="Page" style="{size}" srcdoc="{inside}"></iframe>'


def table(content: bytes) -> list[dict[str, str]]:
    """The first rows of a CSV file, by the names in its first line."""
    lines = csv.reader(io.StringIO(content.decode("utf-8", "replace"), newline=""))
    head = next(lines, [])
    names = [
        name if name and head.count(name) == 1 else f"{name} ({n})"
        for n, name in enumerate(head, 1)
    ]
    return [
        dict(zip(names, row, strict=False)) for row, _ in zip(lines, range(_ROWS), strict=False)
    ]
