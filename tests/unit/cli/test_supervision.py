"""What the supervisor knows without a process: reasons in logs, the state file, the children's environment."""

import asyncio
import json
from pathlib import Path

import pytest

from cadre_cli.environment import child_environment, without_provider_keys
from cadre_cli.platform import local_platform
from cadre_cli.settings import PlatformSettings
from cadre_cli.supervisor.children import Ending
from cadre_cli.supervisor.logs import ProgramLog
from cadre_cli.supervisor.processes import ProcessMark
from cadre_cli.supervisor.programs import Platform
from cadre_cli.supervisor.state import Home, PlatformState, ProgramState, ProgramStatus
from cadre_cli.supervisor.supervisor import Supervisor


@pytest.fixture
def log(tmp_path: Path) -> ProgramLog:
    return ProgramLog(tmp_path / "executor.log", file_bytes=100)


def settings(**given: object) -> PlatformSettings:
    return PlatformSettings.model_validate({"home": Path("/tmp/home"), **given})


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("starting\nno such file: x\n\n", "no such file: x"),
        (
            'Traceback (most recent call last):\n  File "a.py", line 1\nmodule.OddError: odd\nbye\n',
            "module.OddError: odd",
        ),
        (
            json.dumps(
                {"event": "service_failed", "reason": "No room.", "resolution": "Make some."}
            )
            + "\nlast words\n",
            "No room. Make some",
        ),
        ("", ""),
        ("half a li", "half a li"),
        ('odd\n{"event": "run_ended", "level": "info"}\n', "odd"),
    ],
)
def test_the_reason_of_an_end_is_found_in_the_last_lines(
    log: ProgramLog, output: str, reason: str
) -> None:
    for byte in output.encode():
        log.write(bytes([byte]))

    assert log.reason() == reason


def test_the_reason_is_not_taken_from_the_process_before(log: ProgramLog) -> None:
    log.write(b"old reason\n")

    log.begin()

    assert log.reason() == ""


def test_a_log_is_rotated_by_size_and_only_so_many_files_are_kept(log: ProgramLog) -> None:
    for number in range(12):
        log.write(f"{number:02}".encode() * 30)

    files = sorted(file.name for file in log.path.parent.iterdir())
    assert files == ["executor.log", "executor.log.1", "executor.log.2", "executor.log.3"]
    assert log.path.read_bytes().startswith(b"11")
    assert (log.path.parent / "executor.log.3").read_bytes().startswith(b"08")


def test_a_log_that_cannot_be_written_does_not_stop_the_program(tmp_path: Path) -> None:
    log = ProgramLog(tmp_path / "no such folder" / "executor.log")

    log.write(b"lost, but remembered\n")

    assert log.reason() == "lost, but remembered"


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (0, "ended with exit status 0"),
        (2, "ended with exit status 2"),
        (-11, "was killed by SIGSEGV"),
        (-9, "was killed by SIGKILL (by hand, or by the system because memory ran out)"),
        (-99, "was killed by signal 99"),
    ],
)
def test_an_end_is_said_in_words(status: int, words: str) -> None:
    assert str(Ending(status=status)) == words


def test_the_state_file_gives_back_what_was_written(tmp_path: Path) -> None:
    program = ProgramState(
        name="memory",
        address="127.0.0.1:7413",
        status=ProgramStatus.READY,
        process=ProcessMark(pid=7, started=1.5),
        restarts=2,
        reason="was killed by SIGKILL",
    )
    state = PlatformState(programs=(program,), usable=True)
    home = Home(path=tmp_path)

    home.write_state(state)

    assert home.read_state() == state


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"programs": 1}', '{"programs": [{"pid": 1}]}'])
def test_a_state_file_that_cannot_be_read_is_an_empty_state(tmp_path: Path, text: str) -> None:
    home = Home(path=tmp_path)
    home.state_file.write_text(text)

    assert home.read_state() == PlatformState()


class Holds:
    async def holds(self) -> bool:
        return True


def test_whoever_reads_that_the_platform_is_usable_can_read_all_that_was_said(
    tmp_path: Path,
) -> None:
    home = Home(path=tmp_path)
    home.create()
    written: list[bool] = []

    def on_usable(_: float) -> None:
        written.append(home.read_state().usable)

    async def until_usable() -> None:
        platform = Platform(home=home, programs=(), usable=Holds())
        supervisor = Supervisor(platform, say=lambda _: None, on_usable=on_usable)
        running = asyncio.create_task(supervisor.run())
        while not home.read_state().usable:  # noqa: ASYNC110 - it is a file
            await asyncio.sleep(0)
        supervisor.stop()
        await running

    asyncio.run(asyncio.wait_for(until_usable(), 10))

    assert written == [False]


def test_the_lock_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    home = Home(path=tmp_path)

    with home.hold() as first, home.hold() as second:
        assert (first, second) == (True, False)
        assert home.supervisor_pid()
    assert home.supervisor_pid() is None


def test_a_port_that_was_moved_holds_for_every_program() -> None:
    environment = child_environment(
        settings(executor_port=8410, mlflow_port=8420), {"PATH": "/bin"}
    )

    assert environment["CADRE_EXECUTOR_ADDRESS"] == "127.0.0.1:8410"
    assert environment["CADRE_TRACES_ENDPOINT"] == "http://127.0.0.1:8420/v1/traces"
    assert environment["CADRE_HOME"] == "/tmp/home"
    assert environment["PREFECT_HOME"] == "/tmp/home/prefect"
    assert environment["PATH"] == "/bin"


def test_what_the_user_set_stays_and_loopback_is_never_asked_of_a_proxy() -> None:
    given = {"CADRE_TRACES_ENDPOINT": "", "NO_PROXY": "example.org"}

    environment = child_environment(settings(), given)

    assert environment["CADRE_TRACES_ENDPOINT"] == ""
    assert environment["NO_PROXY"] == "example.org,localhost,127.0.0.1,::1"


def test_prefect_keeps_the_database_that_somebody_gave_it() -> None:
    name = "PREFECT_SERVER_DATABASE_CONNECTION_URL"

    ours = child_environment(settings(), {})
    theirs = child_environment(settings(), {name: "postgresql+asyncpg://db/prefect"})
    theirs_of_old = child_environment(settings(), {"PREFECT_API_DATABASE_CONNECTION_URL": "x"})

    assert ours[name] == "sqlite+aiosqlite:////tmp/home/prefect/prefect.db?plugin=cadre_prefect"
    assert theirs[name] == "postgresql+asyncpg://db/prefect"
    assert name not in theirs_of_old


def test_only_the_llm_proxy_gets_the_keys_of_providers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")

    programs = local_platform(settings()).programs

    holders = [p.name for p in programs if "OPENAI_API_KEY" in p.environment]
    assert holders == ["llm-proxy"]


def test_the_executor_gets_the_keys_of_search_services(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TAVILY_API_KEY", "tvly-secret")

    programs = local_platform(settings()).programs

    holders = [p.name for p in programs if "TAVILY_API_KEY" in p.environment]
    assert sorted(holders) == ["executor", "llm-proxy"]


def test_the_platforms_own_key_goes_to_every_program() -> None:
    kept = without_provider_keys({"CADRE_API_KEY": "cadre_x", "GROQ_API_KEY": "y"})

    assert kept == {"CADRE_API_KEY": "cadre_x"}


def test_a_gateway_with_a_certificate_is_reached_by_tls_by_all() -> None:
    chosen = settings(gateway_tls_cert_file="a.crt", gateway_port=8400)
    programs = {program.name: program for program in local_platform(chosen).programs}

    assert programs["gateway"].url == "https://127.0.0.1:8400"
    assert programs["frontend"].url == "http://127.0.0.1:7401"
    assert programs["frontend"].environment["CADRE_GATEWAY_URL"] == "https://127.0.0.1:8400"


def test_mlflow_and_prefect_come_up_behind_the_services_and_below_them() -> None:
    programs = {program.name: program for program in local_platform(settings()).programs}

    essential = {name for name, program in programs.items() if program.essential}
    assert essential == {"gateway", "executor", "llm-proxy", "sandbox", "memory", "frontend"}
    assert set(programs["mlflow"].after) == essential
    assert programs["prefect-worker"].after == ("prefect",)
    behind = [program for name, program in programs.items() if name not in essential]
    assert all(program.niceness > 0 and program.stop_seconds for program in behind)


def test_every_port_of_the_platform_has_a_setting_that_moves_it() -> None:
    names = {f"CADRE_{name}".upper() for name in PlatformSettings.model_fields}

    for program in local_platform(settings()).programs:
        assert program.port == 0 or program.port_setting in names
