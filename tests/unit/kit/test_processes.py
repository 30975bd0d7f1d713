"""Whether a process still runs, by its name alone."""

import os
import subprocess
import sys

import pytest

from cadre_kit.processes import own_name, process_is_dead

SAY_NAME = (sys.executable, "-c", "from cadre_kit.processes import own_name; print(own_name())")


def named_by(*before: str) -> str:
    """The name of a process that has ended."""
    return subprocess.run(
        [*before, *SAY_NAME], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_a_process_that_runs_is_not_dead() -> None:
    assert not process_is_dead(own_name())
    assert own_name() != own_name()


def test_a_process_that_ended_is_dead() -> None:
    assert process_is_dead(named_by())


def test_a_process_with_the_number_of_one_that_ended_is_another() -> None:
    machine, pid, start, rest = own_name().split("/")

    assert process_is_dead("/".join((machine, pid, f"{start}1", rest)))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may open a space of process ids")
def test_nothing_is_known_of_a_process_in_a_container_of_the_same_host_name() -> None:
    assert not process_is_dead(named_by("unshare", "--pid", "--fork", "--mount-proc"))


@pytest.mark.parametrize("name", ["", "elsewhere/1/2/3", "an-executor", "a/b/c/d/e"])
def test_nothing_is_known_of_a_name_from_elsewhere(name: str) -> None:
    assert not process_is_dead(name)
