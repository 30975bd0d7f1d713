"""The tools of the run's workspace, and attempts to leave it."""

import os
import socket
import threading
from pathlib import Path

import pytest
from tests.unit.executor_tools.conftest import RUN, Bench, bench_in, context

from cadre_executor.adapters.workspaces import Workspaces
from cadre_executor.domain.tools import ToolFailed
from cadre_kit.errors import CadreError

OUTSIDE = (
    "/etc/passwd",
    "../secret.txt",
    "a/../../secret.txt",
    "..",
    "./../secret.txt",
    "..\\secret.txt",
    ".",
    "/",
    "//etc/passwd",
    "a/..",
)
NO_NAMES = ("a\x00b", "a\nb", "x" * 256, "/".join("d" * 20), "\ud800")


async def test_what_is_written_can_be_read_listed_and_moved(bench: Bench) -> None:
    written = await bench("file_write", path="notes/may/a.md", content="hello")

    assert written == {"path": "notes/may/a.md", "bytes": 5}
    await bench("file_move", source="notes/may/a.md", target="done/b.md")
    assert await bench("file_read", path="done/b.md") == "hello"
    assert await bench("file_glob", pattern="**/*.md") == {
        "files": [{"path": "done/b.md", "size": 5}],
        "more": False,
    }


async def test_values_and_bytes_are_written_and_read_as_such(bench: Bench) -> None:
    await bench("file_write", path="a.json", content={"n": [1, "ä"]})
    await bench("file_write", path="a.bin", content="/w==", format="base64")

    assert await bench("file_read", path="a.json", format="json") == {"n": [1, "ä"]}
    assert await bench("file_read", path="a.bin", format="base64") == "/w=="
    with pytest.raises(ToolFailed, match="not UTF-8"):
        await bench("file_read", path="a.bin")


async def test_the_first_generation_s_names_do_the_same(bench: Bench) -> None:
    await bench("json_write", path="a.json", content="text")
    await bench("write_file", path="b.txt", content="b")

    assert await bench("json_read", path="a.json") == "text"
    assert await bench("read_file", path="b.txt") == "b"
    listed = await bench("list_directory")
    assert [file["path"] for file in listed["files"]] == ["a.json", "b.txt"]


async def test_a_file_is_appended_to_or_only_created_when_that_is_said(bench: Bench) -> None:
    await bench("file_write", path="log", content="1", mode="create")
    await bench("file_write", path="log", content="2", mode="append")

    with pytest.raises(ToolFailed) as refused:
        await bench("file_write", path="log", content="3", mode="create")
    assert refused.value.code == "FILE_EXISTS"
    assert await bench("file_read", path="log") == "12"


async def test_a_move_replaces_nothing_unless_that_is_said(bench: Bench) -> None:
    await bench("file_write", path="a", content="new")
    await bench("file_write", path="b", content="old")

    with pytest.raises(ToolFailed, match="already"):
        await bench("file_move", source="a", target="b")
    await bench("file_move", source="a", target="b", replace=True)
    assert await bench("file_read", path="b") == "new"


@pytest.mark.parametrize("path", [*OUTSIDE, *NO_NAMES])
async def test_no_path_leads_outside(bench: Bench, files: Path, path: str) -> None:
    (files.parent / "secret.txt").write_text("secret")

    for call in (
        bench("file_read", path=path),
        bench("file_write", path=path, content="x"),
        bench("file_move", source=path, target="here"),
        bench("file_move", source="here", target=path),
    ):
        with pytest.raises(CadreError) as refused:
            await call
        assert "secret.txt" not in str(os.listdir(files))
        assert refused.value.code.startswith(("PATH_", "ARGUMENTS_", "FILE_"))
    assert (files.parent / "secret.txt").read_text() == "secret"


async def test_symbolic_links_are_not_followed(bench: Bench, files: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    (files / "file").symlink_to(tmp_path / "secret.txt")
    (files / "folder").symlink_to(tmp_path)

    for path in ("file", "folder/secret.txt", "folder"):
        with pytest.raises(ToolFailed):
            await bench("file_read", path=path)
        with pytest.raises(ToolFailed):
            await bench("file_write", path=path, content="x", mode="append")
    assert (await bench("file_glob"))["files"] == []
    await bench("file_write", path="file", content="mine")
    assert (tmp_path / "secret.txt").read_text() == "secret"


async def test_hard_links_pipes_and_sockets_are_no_files(
    bench: Bench, files: Path, tmp_path: Path
) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    os.link(tmp_path / "secret.txt", files / "link")
    os.mkfifo(files / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(files / "socket"))
        for path in ("link", "pipe", "socket"):
            with pytest.raises(ToolFailed, match=r"no ordinary file|cannot be used"):
                await bench("file_read", path=path, seconds=5.0)


def test_a_folder_that_is_swapped_for_a_link_meanwhile_leads_nowhere(tmp_path: Path) -> None:
    secret, workspaces = tmp_path / "outside", Workspaces(tmp_path / "w")
    secret.mkdir()
    (secret / "f").write_text("secret")
    ended = threading.Event()

    def swap() -> None:
        home = tmp_path / "w" / RUN
        while not ended.is_set():
            os.rename(home / "d", home / "real")
            os.symlink(secret, home / "d")
            os.unlink(home / "d")
            os.rename(home / "real", home / "d")

    with workspaces.open(RUN) as workspace:
        workspace.write("d/f", b"mine")
        swapping = threading.Thread(target=swap)
        swapping.start()
        seen = set()
        for _ in range(1000):
            try:
                seen.add(workspace.read("d/f", max_bytes=100))
            except ToolFailed:
                continue
        ended.set()
        swapping.join()
        seen.add(workspace.read("d/f", max_bytes=100))

    assert seen == {b"mine"}


async def test_a_run_s_files_are_bounded_in_number_and_size(tmp_path: Path) -> None:
    async with bench_in(tmp_path, workspace_max_files=2, workspace_max_mb=1) as bench:
        await bench("file_write", path="a", content="a")
        with pytest.raises(ToolFailed) as full:
            await bench("file_write", path="b", content="b" * 1_048_577)
        await bench("file_write", path="b", content="b")
        with pytest.raises(ToolFailed) as many:
            await bench("file_write", path="c", content="c")

    assert full.value.code == many.value.code == "WORKSPACE_FULL"


async def test_runs_do_not_see_each_other_s_files(bench: Bench) -> None:
    await bench("file_write", path="a", content="a")

    assert await bench("file_glob", context=context("01OTHER")) == {"files": [], "more": False}
    with pytest.raises(ToolFailed):
        await bench("file_read", path="a", context=context("../" + RUN))


async def test_a_hard_pattern_takes_no_time(bench: Bench) -> None:
    await bench("file_write", path="a" * 200, content="")

    found = await bench("file_glob", pattern="*a" * 300 + "b", seconds=5.0)
    deep = await bench("file_glob", pattern="**/" * 300 + "b", seconds=5.0)

    assert found["files"] == deep["files"] == []


async def test_rows_become_csv(bench: Bench) -> None:
    rows = [{"a": 1, "b": 'x,"y"'}, {"a": None, "c": [1, True]}]

    text = await bench("dataframe_to_csv", rows=rows)
    file = await bench("dataframe_to_csv", rows=[[1, False]], columns=["a", "b"], path="t.csv")

    assert text["csv"] == 'a,b,c\n1,"x,""y""",\n,,"[1, true]"\n'
    assert file == {"path": "t.csv", "rows": 1}
    assert await bench("file_read", path="t.csv") == "a,b\n1,false\n"


@pytest.mark.parametrize("rows", [[[1, 2]], [{"a": 1}, [2]]])
async def test_rows_that_are_no_table_are_refused(bench: Bench, rows: object) -> None:
    with pytest.raises(ToolFailed, match="rows are all objects"):
        await bench("dataframe_to_csv", rows=rows)


async def test_what_a_run_left_can_be_found_and_freed(bench: Bench, files: Path) -> None:
    await bench("file_write", path="a/b", content="x")

    assert await bench.tools.held_by() == [RUN]
    await bench.tools.release(RUN)
    assert RUN not in os.listdir(files.parent)
    assert await bench.tools.held_by() == []
