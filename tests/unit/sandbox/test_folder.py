"""The files of mode python against Python's own."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cadre_sandbox.worker.language.folder import Folder, opener
from cadre_sandbox.worker.language.ownership import CallNotAllowed

WORK = "/work"
MODES = [kind + plus + binary for kind in "rwax" for plus in ("", "+") for binary in ("", "b")]
TEXTS = st.text(st.sampled_from("ab\n\rü€😀"), max_size=8)
NUMBERS = st.integers(-1, 12)
STEPS = st.one_of(
    st.tuples(st.just("write"), TEXTS),
    st.tuples(st.just("writelines"), st.lists(TEXTS, max_size=3)),
    st.tuples(st.just("read"), NUMBERS),
    st.tuples(st.just("readline"), NUMBERS),
    st.tuples(st.just("readlines"), NUMBERS),
    st.tuples(st.just("seek"), st.integers(0, 12), st.sampled_from([0, 2])),
    st.tuples(st.just("truncate"), st.one_of(st.none(), st.integers(0, 12))),
    st.tuples(st.sampled_from(["tell", "flush", "close", "readable", "writable", "list"])),
)
OPENINGS = st.fixed_dictionaries(
    {"mode": st.sampled_from(MODES)},
    optional={
        "newline": st.sampled_from([None, "", "\n", "\r", "\r\n"]),
        "encoding": st.sampled_from(["utf-8", "utf-16", "latin-1", "no such"]),
        "errors": st.sampled_from(["strict", "replace", "ignore"]),
    },
)


def told(does: Callable[[], Any]) -> Any:
    """What it gives, or as what it fails."""
    try:
        return does()
    except Exception as exc:  # noqa: BLE001 - whatever Python says
        return type(exc).__name__


def done(file: Any, mode: str, steps: list[tuple[Any, ...]]) -> list[Any]:
    """What each step gives, up to a place that only the file that is open knows."""
    found: list[Any] = []
    for name, *arguments in steps:
        if "b" in mode and name in ("write", "writelines"):
            (text,) = arguments
            arguments = [text.encode() if name == "write" else [each.encode() for each in text]]
        # In text files, places are numbers that mean something to nobody else.
        if "b" not in mode and name in ("seek", "tell", "truncate"):
            arguments = [] if name == "tell" else [0, *arguments[1:]]
        found.append(told(partial(list, file) if name == "list" else _call(file, name, arguments)))
    return found


def _call(file: Any, name: str, arguments: list[Any]) -> Callable[[], Any]:
    return lambda: getattr(file, name)(*arguments)


@settings(max_examples=300, deadline=None)
@given(
    begins=st.one_of(st.none(), st.binary(max_size=12), TEXTS.map(str.encode)),
    openings=st.lists(st.tuples(OPENINGS, st.lists(STEPS, max_size=6)), min_size=1, max_size=3),
)
def test_a_file_is_as_pythons_own(
    tmp_path_factory: pytest.TempPathFactory,
    begins: bytes | None,
    openings: list[tuple[dict[str, Any], list[tuple[Any, ...]]]],
) -> None:
    real = tmp_path_factory.mktemp("files") / "a"
    folder = Folder()
    if begins is not None:
        real.write_bytes(begins)
        folder.put({"a": begins})
    open_ = opener(folder)
    for how, steps in openings:
        ours = told(partial(open_, "a", **how))
        theirs = told(partial(open, real, **how))
        if isinstance(ours, str) or isinstance(theirs, str):
            assert ours == theirs
            continue
        assert done(ours, how["mode"], steps) == done(theirs, how["mode"], steps)
        told(ours.close)
        told(theirs.close)
    found = real.read_bytes() if real.exists() else None
    assert folder.content("a") == found


def test_what_was_changed_is_told_with_what_is_held_back() -> None:
    folder = Folder()
    folder.put({"kept": b"1", "changed": b"2"})
    open_ = opener(folder)

    left_open = open_("changed", "a")
    left_open.write("3")
    open_("new/er.txt", "w").write("4")
    open_("kept").read()
    open_("/tmp/own", "w").write("5")
    open_(f"{WORK}/./there", "wb").close()

    assert dict(folder.changed()) == {"changed": b"23", "new/er.txt": b"4", "there": b""}
    assert open_("/tmp/own").read() == "5"
    assert [name for name, _ in folder.sizes()] == ["changed", "kept", "new/er.txt", "there"]


def test_two_who_have_a_file_open_see_what_the_other_wrote() -> None:
    open_ = opener(Folder())
    writer = open_("a", "w")
    reader = open_("a")

    writer.write("one\n")
    before = reader.read()
    writer.flush()

    assert (before, reader.read()) == ("", "one\n")


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "../a", "a/../../b", f"{WORK}/../etc/passwd", "/tmp/../etc/x", "/", "//a"],
)
@pytest.mark.parametrize("mode", ["r", "w", "a", "x", "r+b"])
def test_nothing_outside_of_the_folder_is_opened(path: str, mode: str, tmp_path: Path) -> None:
    before = os.listdir("/")

    with pytest.raises(CallNotAllowed):
        opener(Folder())(path, mode)

    assert os.listdir("/") == before


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((0,), TypeError),
        ((b"a",), TypeError),
        (("a\0b",), ValueError),
        (("a", "rw"), ValueError),
        (("a", "rbt"), ValueError),
        (("a", ""), ValueError),
        (("a", 1), TypeError),
        (("",), OSError),
        ((".",), IsADirectoryError),
        (("a",), FileNotFoundError),
    ],
)
def test_what_cannot_be_opened_is_said_as_python_does(
    arguments: tuple[Any, ...], error: type[Exception]
) -> None:
    with pytest.raises(error):
        opener(Folder())(*arguments)
