"""The files of a run: pictures and tables are shown, and each can be taken home."""

import csv
import io
from collections.abc import Sequence

import streamlit as st

from cadre_client import RunFile
from cadre_frontend.gateway import gateway

__all__ = ["draw_files", "table"]

_PICTURES = ("image/png", "image/jpeg", "image/gif", "image/webp")
_SHOWN, _SHOWN_BYTES, _ROWS = 20, 10 * 1024 * 1024, 200


def draw_files(run_id: str, files: Sequence[RunFile]) -> None:
    """All of them, the first ones with what is in them. Nothing of HTML or SVG is shown: a program may have made it."""
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


@st.cache_data(max_entries=100, show_spinner=False)
def _content(run_id: str, path: str, size: int) -> bytes:
    """Kept by its size too, as a later step may have written it anew."""
    return gateway().read_run_file(run_id, path)


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
