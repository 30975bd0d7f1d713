"""The supervisor with real processes: ready, restarted, stopped, and never leaving one behind."""

import os
import pty
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
from tests.fakes.small_platform import STOP_SECONDS, SmallPlatform, alive
from tests.platform import eventually
from tests.stack.conftest import MakePlatform

from cadre_cli.supervisor.processes import stop_families


def ready(platform: SmallPlatform) -> SmallPlatform:
    platform.up()
    platform.wait_until_said("Stop it with Ctrl-C")
    return platform


def cadre(command: str, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cadre_cli", command],
        env={**os.environ, "CADRE_HOME": str(home), "CADRE_GATEWAY_URL": "http://127.0.0.1:9"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_it_says_when_each_program_is_ready_and_when_all_are(make_platform: MakePlatform) -> None:
    platform = ready(make_platform(executor="", memory=""))

    said = platform.said()

    assert "1/2 " in said
    assert "2/2 " in said
    assert "executor ready, " in said
    assert "Cadre is ready after " in said


def test_it_is_usable_only_when_the_slowest_program_is(make_platform: MakePlatform) -> None:
    platform = ready(make_platform(memory="", executor="--delay 0.7"))

    lines = [line for line in platform.said().splitlines() if line]

    assert lines[0].startswith("1/2 memory ready")
    assert lines[1].startswith("2/2 executor ready")
    assert float(lines[1].split()[-2]) >= 0.7


def test_a_killed_program_is_started_again_and_the_reason_is_said(
    make_platform: MakePlatform,
) -> None:
    platform = ready(make_platform(executor="", memory=""))
    before = platform.mark("memory")

    os.kill(before.pid, signal.SIGKILL)
    platform.wait_until_said("memory is ready again")

    assert "memory was killed by SIGKILL" in platform.said()
    assert platform.mark("memory") != before
    assert "executor is ready again" not in platform.said()


def test_what_a_killed_program_had_started_does_not_outlive_it(make_platform: MakePlatform) -> None:
    platform = ready(make_platform(sandbox="--child"))
    eventually(lambda: len(alive(platform.marks())) == 2)
    before = platform.mark("sandbox")

    os.kill(before.pid, signal.SIGKILL)
    platform.wait_until_said("sandbox is ready again")

    assert alive([before]) == []


def test_a_program_that_cannot_start_is_tried_at_a_bounded_rate_with_its_reason(
    make_platform: MakePlatform,
) -> None:
    platform = make_platform(memory="--fail the_disk_is_full")
    platform.up()

    platform.wait_until_said("again in 0.4 s\nmemory")

    said = platform.said()
    assert "ended with exit status 1: the_disk_is_full. mend it; starting it again in 0.1 s" in said
    assert [s for s in ("0.1 s", "0.2 s", "0.4 s") if s in said] == ["0.1 s", "0.2 s", "0.4 s"]
    assert "0.8 s" not in said


def test_a_program_that_cannot_be_run_at_all_is_said_and_tried_again(
    make_platform: MakePlatform,
) -> None:
    platform = make_platform(memory="--no-such-option")
    platform.up()

    platform.wait_until_said("exit status 2: program.py: error: unrecognized arguments")

    assert platform.supervisors[-1].poll() is None


def test_a_taken_port_is_named_with_its_holder_and_setting_before_anything_starts(
    make_platform: MakePlatform,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        platform = make_platform(ports={"memory": port}, executor="", memory="")

        status = platform.up().wait(10)

    assert status == 2
    assert f"port {port} of memory is taken by python" in platform.said()
    assert f"(pid {os.getpid()})" in platform.said()
    assert "CADRE_MEMORY_PORT" in platform.said()
    assert not list(platform.home.logs.iterdir())


def test_a_port_that_two_programs_share_is_refused(make_platform: MakePlatform) -> None:
    platform = make_platform(executor="", memory="")
    platform.ports["memory"] = platform.ports["executor"]

    status = platform.up().wait(10)

    assert status == 2
    assert "is given to another service too" in platform.said()


def test_a_second_up_says_that_it_runs_and_changes_nothing(make_platform: MakePlatform) -> None:
    platform = ready(make_platform(gateway="", memory=""))
    before = platform.marks()

    status = platform.up().wait(10)

    assert status == 0
    assert f"runs already (supervisor: pid {platform.supervisors[0].pid})" in platform.said()
    assert f"127.0.0.1:{platform.ports['gateway']}" in platform.said()
    assert platform.marks() == before
    assert len(alive(before)) == 2


def test_ctrl_c_at_a_terminal_stops_everything(make_platform: MakePlatform) -> None:
    platform = make_platform(executor="", sandbox="--child")
    terminal, process = up_at_terminal(platform)
    marks = platform.marks()

    os.write(terminal, b"\x03")

    assert process.wait(10) == 0
    assert alive(marks) == []
    assert "Stopped; no process is left." in platform.said()
    os.close(terminal)


def test_a_program_that_ignores_the_request_to_end_is_killed_after_its_grace(
    make_platform: MakePlatform,
) -> None:
    platform = ready(make_platform(executor="--stubborn", memory=""))
    marks, began = platform.marks(), time.monotonic()

    platform.supervisors[-1].send_signal(signal.SIGINT)
    platform.supervisors[-1].wait(10)

    assert alive(marks) == []
    assert time.monotonic() - began >= STOP_SECONDS


def test_a_second_ctrl_c_kills_at_once(make_platform: MakePlatform) -> None:
    platform = ready(make_platform(executor="--stubborn"))
    marks, began = platform.marks(), time.monotonic()

    platform.supervisors[-1].send_signal(signal.SIGINT)
    platform.wait_until_said("Stopping")
    platform.supervisors[-1].send_signal(signal.SIGINT)
    platform.supervisors[-1].wait(10)

    assert alive(marks) == []
    assert time.monotonic() - began < STOP_SECONDS


def test_down_stops_the_platform_and_returns_when_nothing_is_left(
    make_platform: MakePlatform,
) -> None:
    platform = ready(make_platform(executor="", sandbox="--child"))
    marks, watchdog = platform.marks(), platform.watchdog()

    stopped = cadre("down", platform.home.path)

    assert stopped.returncode == 0
    assert stopped.stdout == "Stopped; no process is left.\n"
    assert alive(marks) == []
    assert not watchdog.is_running()
    assert platform.supervisors[-1].wait(5) == 0


def test_down_says_when_nothing_runs(tmp_path: Path) -> None:
    stopped = cadre("down", tmp_path)

    assert stopped.returncode == 0
    assert "Nothing runs" in stopped.stdout


def test_a_killed_supervisor_leaves_nothing_behind(make_platform: MakePlatform) -> None:
    platform = ready(make_platform(executor="", sandbox="--child"))
    marks = platform.marks()

    platform.supervisors[-1].kill()

    eventually(lambda: not alive(marks), seconds=10)


def test_what_a_killed_supervisor_and_watchdog_left_is_stopped_by_the_next_up(
    make_platform: MakePlatform,
) -> None:
    platform = ready(make_platform(executor="", memory=""))
    marks = platform.marks()
    platform.watchdog().kill()
    platform.supervisors[-1].kill()
    platform.supervisors[-1].wait()

    ready(platform)

    assert alive(marks) == []
    assert "Stopped 2 processes that an earlier platform had left behind" in platform.said()


def test_what_a_killed_supervisor_and_watchdog_left_is_stopped_by_down(
    make_platform: MakePlatform,
) -> None:
    platform = ready(make_platform(executor="", memory=""))
    marks = platform.marks()
    platform.watchdog().kill()
    platform.supervisors[-1].kill()
    platform.supervisors[-1].wait()

    stopped = cadre("down", platform.home.path)

    assert stopped.stdout == "Stopped; no process is left.\n"
    assert alive(marks) == []


def test_status_names_every_process_of_a_running_platform(make_platform: MakePlatform) -> None:
    platform = ready(make_platform(executor="", memory=""))

    shown = cadre("status", platform.home.path)

    assert shown.returncode == 0
    assert str(platform.mark("memory").pid) in shown.stdout
    assert "ready" in shown.stdout


def test_a_damaged_state_file_does_not_keep_the_platform_from_starting(
    make_platform: MakePlatform,
) -> None:
    platform = make_platform(executor="")
    platform.home.create()
    platform.home.state_file.write_text('{"programs": [{"name": 1')

    ready(platform)

    assert "executor ready" in platform.said()


def test_a_process_that_got_the_pid_of_an_earlier_one_is_left_alone(
    make_platform: MakePlatform,
) -> None:
    platform = ready(make_platform(executor=""))
    mark = platform.mark("executor")
    earlier = type(mark)(pid=mark.pid, started=mark.started - 3600)

    stopped = stop_families([earlier], grace_seconds=0.0)

    assert stopped == 0
    assert psutil.Process(mark.pid).is_running()


def up_at_terminal(platform: SmallPlatform) -> tuple[int, subprocess.Popen[str]]:
    """A supervisor whose terminal is a pseudo-terminal; its output still goes where `said` reads it."""
    controller, terminal = pty.openpty()
    log = platform.folder / "up-0.txt"
    command = [sys.executable, "-m", "tests.fakes.small_platform", str(platform.spec)]
    taking_terminal = (
        "import fcntl, os, sys, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", taking_terminal, *command],
            stdin=terminal,
            stdout=output,
            stderr=output,
            text=True,
        )
    os.close(terminal)
    platform.supervisors.append(process)
    platform.wait_until_said("Stop it with Ctrl-C")
    return controller, process
