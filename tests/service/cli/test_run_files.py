"""`cadre runs files`: what a run left, listed and taken home."""

from pathlib import Path

import pytest
from tests.fakes.http_api import Store
from tests.service.cli.conftest import Cadre

PLOT = b"\x89PNG\r\n\x1a\n\x00\xff"


@pytest.fixture
def run(cadre: Cadre, store: Store, triage: str) -> str:
    """A run that left a picture and a table whose name needs quoting."""
    found: str = cadre.json("run", triage, "-i", "message=hello")["run_id"]
    store.files[found] = {"draw/plot.png": PLOT, "draw/10% of ümlauts?.csv": b"a,b\n"}
    return found


def test_the_files_of_a_run_are_listed(cadre: Cadre, run: str) -> None:
    ran = cadre("runs", "files", run)

    assert ran.returncode == 0
    assert [line.split() for line in ran.stdout.splitlines() if ".png" in line] == [
        ["draw/plot.png", "10", "image/png"]
    ]
    assert "draw/10% of ümlauts?.csv" in ran.stdout


def test_as_json_they_are_one_document(cadre: Cadre, run: str) -> None:
    assert cadre.json("runs", "files", run) == [
        {"path": "draw/plot.png", "size_bytes": 10, "media_type": "image/png"},
        {"path": "draw/10% of ümlauts?.csv", "size_bytes": 4, "media_type": "text/csv"},
    ]


def test_they_are_written_to_a_folder_byte_for_byte(cadre: Cadre, run: str, tmp_path: Path) -> None:
    ran = cadre("runs", "files", run, "--save", "results")

    assert ran.returncode == 0
    assert (tmp_path / "results/draw/plot.png").read_bytes() == PLOT
    assert (tmp_path / "results/draw/10% of ümlauts?.csv").read_bytes() == b"a,b\n"


def test_nothing_that_is_there_is_replaced(cadre: Cadre, run: str, tmp_path: Path) -> None:
    (tmp_path / "results/draw").mkdir(parents=True)
    (tmp_path / "results/draw/plot.png").write_text("mine")

    ran = cadre("runs", "files", run, "--save", "results")

    assert ran.returncode == 2
    assert "plot.png is not written" in ran.stderr
    assert (tmp_path / "results/draw/plot.png").read_text() == "mine"


@pytest.mark.parametrize("path", ["../outside", "a/../../outside", "/outside"])
def test_no_name_leads_out_of_the_folder(
    cadre: Cadre, store: Store, run: str, path: str, tmp_path: Path
) -> None:
    store.files[run] = {path: b"x"}
    before = set(tmp_path.parent.rglob("*outside*"))

    cadre("runs", "files", run, "--save", "results")

    assert set(tmp_path.parent.rglob("*outside*")) == before
    assert not Path("/outside").exists()


def test_a_run_that_left_none_says_so(cadre: Cadre, store: Store, run: str) -> None:
    store.files.clear()

    assert "It left none." in cadre("runs", "files", run).stdout
    assert cadre.json("runs", "files", run) == []


def test_a_run_that_is_not_there_is_an_error(cadre: Cadre) -> None:
    ran = cadre("runs", "files", "nothing")

    assert ran.returncode == 2
    assert "no run nothing" in ran.stderr


def test_the_help_has_an_example(cadre: Cadre) -> None:
    assert "cadre runs files 01J" in cadre("runs", "files", "--help").stdout
