"""Mode docker on a real engine: programs, files, limits, attacks, and what is left behind."""

# ruff: noqa: E501 - an attack is read best on one line

import asyncio
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests.service.sandbox.containers import (
    Stub,
    capabilities,
    containers,
    in_session,
    sandbox_with_containers,
    until_prepared,
)

from cadre.common.v1 import common_pb2
from cadre.sandbox.v1 import sandbox_pb2, sandbox_pb2_grpc
from cadre_kit.addresses import AddressRules
from cadre_kit.channels import call, connect
from cadre_kit.errors import CadreError, InvalidInput
from cadre_kit.serving import serving
from cadre_sandbox.adapters.containers import container_runner
from cadre_sandbox.adapters.engines import Engine
from cadre_sandbox.app import build, engine_settings
from cadre_sandbox.domain.executions import RunnerLost
from cadre_sandbox.settings import SandboxSettings

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="module")]

Execute = Callable[..., Awaitable[sandbox_pb2.ExecuteResponse]]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def stub(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stub]:
    settings = SandboxSettings(_env_file=None, home=tmp_path_factory.mktemp("home"))
    async with sandbox_with_containers(settings) as stub:
        yield stub


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def execute(stub: Stub) -> Execute:
    async def run(code: str, inputs: object = None, **more: Any) -> sandbox_pb2.ExecuteResponse:
        limits = {"timeout_seconds": 10.0, **more.pop("limits", {})}
        request = sandbox_pb2.ExecuteRequest(
            code=code,
            mode=sandbox_pb2.MODE_DOCKER,
            inputs=common_pb2.Json(text=json.dumps(inputs or {})),
            limits=sandbox_pb2.Limits(**limits),
            **more,
        )
        return await call(stub.Execute, request, service="sandbox", timeout_seconds=60)

    return run


async def test_the_mode_is_offered_behind_walls_that_were_tried(stub: Stub) -> None:
    offered = await capabilities(stub)

    assert sandbox_pb2.MODE_DOCKER in offered.modes
    assert {wall.name: wall.holds for wall in offered.docker_walls} == dict.fromkeys(
        ["network", "user", "privileges", "files", "limits", "syscalls", "processes"], True
    )


async def test_any_python_runs_with_inputs_output_and_a_result(execute: Execute) -> None:
    code = """
import os, sys, threading, subprocess, pathlib
seen = []
t = threading.Thread(target=lambda: seen.append(1)); t.start(); t.join()
print('out', a); print('err', file=sys.stderr)
subprocess.run(['echo', 'from a process'], check=True)
result = {'seen': seen, 'inputs': inputs, 'eval': eval('1 + 1')}
"""

    done = await execute(code, {"a": 1})

    assert done.outcome == sandbox_pb2.OUTCOME_SUCCEEDED, done
    assert (done.stdout, done.stderr) == ("out 1\nfrom a process\n", "err\n")
    assert json.loads(done.result.text) == {"seen": [1], "inputs": {"a": 1}, "eval": 2}
    assert done.usage.peak_memory_bytes > 1_000_000
    assert "network" in done.walls


async def test_files_go_in_and_what_is_new_or_changed_comes_out_with_its_type(
    execute: Execute,
) -> None:
    given = [
        sandbox_pb2.File(name="data/in.csv", content=b"a,b\n1,2\n"),
        sandbox_pb2.File(name="same.txt", content=b"x"),
    ]
    code = """
text = open('data/in.csv').read()
open('table.csv', 'w').write(text.upper())
open('plot.png', 'wb').write(b'\\x89PNG')
open('data/in.csv', 'a').write('3,4')
"""

    done = await execute(code, files=given)

    assert {(f.name, f.content, f.media_type) for f in done.files} == {
        ("table.csv", b"A,B\n1,2\n", "text/csv"),
        ("plot.png", b"\x89PNG", "image/png"),
        ("data/in.csv", b"a,b\n1,2\n3,4", "text/csv"),
    }


async def test_links_pipes_and_large_files_stay_inside(execute: Execute) -> None:
    code = """
import os
os.symlink('/etc/passwd', 'link'); os.mkfifo('pipe'); os.symlink('/', 'folder')
with open('large', 'wb') as f: f.truncate(11 * 1024 * 1024)
for i in range(150): open(f'{i}.txt', 'w').write('x')
"""

    done = await execute(code)

    assert len(done.files) == 100
    assert {"link", "pipe", "large"}.isdisjoint(file.name for file in done.files)
    assert sandbox_pb2.LIMIT_FILES in done.limits_reached


ATTEMPTS = {
    "the network": "import socket; socket.create_connection(('1.1.1.1', 53), 1)",
    "a metadata address": "import urllib.request as u; u.urlopen('http://169.254.169.254/', timeout=1)",
    "names": "import socket; socket.getaddrinfo('example.com', 80)",
    "the root's files": "open('/etc/cadre', 'w')",
    "the interpreter's files": "open('/usr/local/bin/python3', 'a')",
    "secrets of the system": "open('/etc/shadow').read()",
    "the engine's socket": "import socket; socket.socket(socket.AF_UNIX).connect('/var/run/docker.sock')",
    "root": "import os; os.setuid(0)",
    "a mount": "import ctypes; assert ctypes.CDLL(None).mount(b'none', b'/work', b'tmpfs', 0, None) == 0",
    "a user namespace": "import ctypes; assert ctypes.CDLL(None).unshare(0x10000000) == 0",
    "kernel keys": "import ctypes; assert ctypes.CDLL(None).syscall(250, 0, -3, 1) >= 0",
    "bpf": "import ctypes; assert ctypes.CDLL(None).syscall(321, 0, 0, 0) >= 0",
    "a device": "import os; os.mknod('sda', 0o660 | 0o060000, os.makedev(8, 0))",
    "kernel settings": "open('/proc/sys/kernel/core_pattern', 'w').write('|/x')",
    "the release agent": "open('/sys/fs/cgroup/memory/release_agent', 'w').write('/x')",
    "the host's disk": "open('/dev/vda', 'rb').read(1)",
    "the clock": "import time; time.clock_settime(time.CLOCK_REALTIME, 0)",
    "the host name": "import socket; socket.sethostname('x')",
    "a raw socket": "import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
    "a large file": "open('x', 'wb').write(bytes(70 * 1024 * 1024))",
    "the environment": "import os; assert [k for k in os.environ if 'CADRE' in k or 'KEY' in k]",
    "the first process": "import os; os.kill(1, 9); os.kill(1, 0); raise PermissionError",
}


async def test_nothing_of_the_machine_is_within_reach(execute: Execute) -> None:
    code = "result = {}\nfor name, attempt in inputs.items():\n    try:\n        exec(attempt, {})\n        result[name] = 'LEAKED'\n    except BaseException as e:\n        result[name] = ''\n"

    done = await execute(code, ATTEMPTS, limits={"timeout_seconds": 30})

    assert done.outcome == sandbox_pb2.OUTCOME_SUCCEEDED, done
    assert {name for name, word in json.loads(done.result.text).items() if word} == set()


ENDINGS = {
    "wall clock": ("import time\nprint('so far')\ntime.sleep(60)", {"timeout_seconds": 1}, "TIME"),
    "processor": ("while True: pass", {"cpu_seconds": 0.5}, "CPU"),
    "memory": ("x = bytearray(10**9)", {"memory_mb": 64}, "MEMORY"),
    "output": ("while True: print('x' * 10_000)", {"output_bytes": 10_000}, "OUTPUT"),
    "result": ("result = 'x' * 20_000", {"output_bytes": 10_000}, "OUTPUT"),
}


@pytest.mark.parametrize("name", ENDINGS)
async def test_a_program_ends_at_its_limit(name: str, execute: Execute) -> None:
    code, limits, reached = ENDINGS[name]

    done = await execute(code, limits=limits)

    assert (done.outcome, done.error.code) == (sandbox_pb2.OUTCOME_LIMIT, f"LIMIT_{reached}"), done


HOSTILE = {
    "fork bomb": "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
    "thread bomb": "import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(9,)).start()",
    "kill all": "import os, signal\nos.kill(-1, signal.SIGKILL)",
    "kill the waiting interpreter": "import os\nos.kill(os.getppid(), 9)",
    "forged frames": "import os\nfor d in os.listdir('/proc'):\n    if d.isdigit():\n        try: open(f'/proc/{d}/fd/1', 'wb', 0).write(b'Z' * 100)\n        except OSError: pass",
    "survivor": "import os, time\nif os.fork() == 0:\n    os.setsid(); time.sleep(600)",
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_program_leaves_the_next_one_untouched(name: str, execute: Execute) -> None:
    await execute(HOSTILE[name], limits={"timeout_seconds": 2})

    done = await execute("import os\nresult = [os.listdir('/work'), os.listdir('/tmp'), 6 * 7]")

    assert json.loads(done.result.text) == [[], [], 42]


async def test_a_process_that_is_left_behind_is_not_waited_for(execute: Execute) -> None:
    code = "import os, time\nif os.fork() == 0:\n    os.setsid(); time.sleep(600)\nprint('done')\nresult = 1"

    done = await execute(code)

    assert (done.outcome, done.stdout) == (sandbox_pb2.OUTCOME_SUCCEEDED, "done\n")
    assert done.result.text == "1"


STREAMS = {
    "put back": (
        "import io, sys\nsys.stdout = io.StringIO()\nprint('x')\nsys.stdout = sys.__stdout__\nprint('y')",
        "y\n",
    ),
    "taken away": ("import sys\nprint('y')\nsys.stdout = None\nprint('x')", "y\n"),
    "closed": ("import sys\nprint('y')\nsys.stdout.close()", "y\n"),
}


@pytest.mark.parametrize("name", STREAMS)
async def test_a_program_does_with_its_streams_what_it_likes(name: str, execute: Execute) -> None:
    code, stdout = STREAMS[name]

    done = await execute(code)

    assert (done.outcome, done.stdout) == (sandbox_pb2.OUTCOME_SUCCEEDED, stdout), done


async def test_folders_as_deep_as_they_go_and_links_to_themselves_are_looked_through(
    execute: Execute,
) -> None:
    code = "import os\npath = '.'\nfor _ in range(1500):\n    path += '/d'\n    os.mkdir(path)\nos.symlink('a', 'a')\nopen('z.txt', 'w').write('x')"

    done = await execute(code)

    assert done.outcome == sandbox_pb2.OUTCOME_SUCCEEDED, done
    assert [file.name for file in done.files] == ["z.txt"]


async def test_an_error_is_shown_without_a_stderr(execute: Execute) -> None:
    done = await execute("import sys\nsys.stderr = None\n1 / 0")

    assert done.error.message == "line 3: ZeroDivisionError: division by zero"


async def test_an_error_names_the_programs_own_line(execute: Execute) -> None:
    done = await execute("def f():\n    return 1 / 0\n\nf()")

    assert done.outcome == sandbox_pb2.OUTCOME_FAILED
    assert done.error.message == "line 2: ZeroDivisionError: division by zero"
    assert done.stderr.splitlines()[1:3] == ["  line 4, in <module>", "  line 2, in f"]


async def test_output_comes_as_it_is_written_and_the_response_last(stub: Stub) -> None:
    code = "import time\nprint('one')\ntime.sleep(0.2)\nprint('two')"
    request = sandbox_pb2.ExecuteRequest(code=code, mode=sandbox_pb2.MODE_DOCKER)

    events = [
        e async for e in stub.StreamExecute(sandbox_pb2.StreamExecuteRequest(request=request))
    ]

    assert [e.stdout for e in events[:-1]] == [b"one\n", b"two\n"]
    assert events[-1].response.stdout == "one\ntwo\n"


async def test_a_cancelled_program_is_gone_within_a_second(stub: Stub, execute: Execute) -> None:
    request = sandbox_pb2.ExecuteRequest(
        code="import time\nprint('on')\ntime.sleep(60)", mode=sandbox_pb2.MODE_DOCKER
    )
    stream = stub.StreamExecute(sandbox_pb2.StreamExecuteRequest(request=request))
    await stream.read()

    stream.cancel()

    async with asyncio.timeout(10):
        assert (await execute("result = 1")).outcome == sandbox_pb2.OUTCOME_SUCCEEDED


async def test_containers_end_with_a_service_that_is_killed(stub: Stub, tmp_path: Path) -> None:
    settings = SandboxSettings(_env_file=None, home=tmp_path, sandbox_port=0)
    environment = {
        "PATH": os.environ["PATH"],
        "CADRE_SANDBOX_DOCKER_HOST": settings.sandbox_docker_host,
        "CADRE_HOME": str(tmp_path),
        "CADRE_SANDBOX_PORT": "0",
        "CADRE_TRACES_ENDPOINT": "",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cadre_sandbox", env=environment, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        await until(lambda: containers(settings))
    finally:
        process.kill()
        await process.wait()

    await until(lambda: not containers(settings))


async def test_a_container_that_was_never_started_is_removed_at_the_next_start(
    stub: Stub, tmp_path: Path
) -> None:
    settings = SandboxSettings(_env_file=None, home=tmp_path)
    label = f"io.cadre.sandbox={engine_settings(settings).owner}"
    created = ["docker", "create", "--label", label, settings.sandbox_docker_image, "true"]
    made = await asyncio.to_thread(
        subprocess.run, created, check=True, capture_output=True, text=True, timeout=20
    )

    async with (
        build(settings) as services,
        serving(services, host="127.0.0.1", port=0) as address,
        connect(address) as channel,
    ):
        await until_prepared(sandbox_pb2_grpc.SandboxServiceStub(channel))
        assert made.stdout[:12] not in containers(settings, "--all")


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not await asyncio.to_thread(condition):  # noqa: ASYNC110 - other processes
            await asyncio.sleep(0.1)


async def test_a_package_that_is_not_listed_is_refused(execute: Execute) -> None:
    with pytest.raises(InvalidInput) as caught:
        await execute("1", packages=["evil; rm -rf /"])

    assert caught.value.code == "PACKAGE_NOT_ALLOWED"


def _wheel(folder: Path, version: str) -> None:
    info = f"mytiny-{version}.dist-info"
    with zipfile.ZipFile(folder / f"mytiny-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr("mytiny.py", f"VERSION = {version!r}\n")
        wheel.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: mytiny\nVersion: {version}"
        )
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any"
        )
        wheel.writestr(f"{info}/RECORD", "")


def _docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _images(name: str) -> list[str]:
    return _docker("images", "--format", "{{.Repository}}:{{.Tag}}", name).split()


async def test_a_new_wheel_in_the_folder_is_taken_and_the_image_of_the_old_one_goes(
    stub: Stub, tmp_path: Path
) -> None:
    settings = SandboxSettings(
        _env_file=None, home=tmp_path, sandbox_wheels=tmp_path, sandbox_packages="mytiny"
    )
    engine = Engine(engine_settings(settings))
    await engine.connect()
    images, seen = [], []
    try:
        for version in ("1.0", "2.0"):
            _wheel(tmp_path, version)
            images.append(await engine.image(["mytiny"]))
            show = ("python3", "-c", "import mytiny; print(mytiny.VERSION)")
            seen.append(await asyncio.to_thread(_docker, "run", "--rm", images[-1], *show))
        left = [await asyncio.to_thread(_images, image) for image in images]
    finally:
        await asyncio.to_thread(_docker, "rmi", images[-1])
        engine.close()

    assert seen == ["1.0\n", "2.0\n"]
    assert left == [[], [images[-1]]]


async def test_an_image_goes_with_the_permission_for_its_package_but_not_from_under_a_container(
    stub: Stub, tmp_path: Path
) -> None:
    allowed = SandboxSettings(
        _env_file=None, home=tmp_path, sandbox_wheels=tmp_path, sandbox_packages="mytiny"
    )
    _wheel(tmp_path, "1.0")
    before = Engine(engine_settings(allowed))
    after = Engine(engine_settings(allowed.model_copy(update={"sandbox_packages": "other"})))
    other = Engine(engine_settings(allowed.model_copy(update={"home": tmp_path / "other"})))
    for engine in (before, after, other):
        await engine.connect()
    image = await before.image(["mytiny"])
    user = (await asyncio.to_thread(_docker, "create", image, "true")).strip()

    removed = [await each.remove_stale_images() for each in (before, other, after)]
    await asyncio.to_thread(_docker, "rm", user)
    removed += [await after.remove_stale_images()]

    assert removed == [0, 0, 0, 1]
    assert await asyncio.to_thread(_images, image) == []
    for engine in (before, after, other):
        engine.close()


FULL = """
FROM {base}
RUN printf '#!/bin/sh\\necho "[Errno 28] No space left on device"; exit 1' > /usr/local/bin/python3 \
    && chmod +x /usr/local/bin/python3
"""


async def test_a_disk_that_is_full_is_not_taken_for_a_package_that_is_not_there(
    stub: Stub, tmp_path: Path
) -> None:
    base = SandboxSettings(_env_file=None).sandbox_docker_image
    (tmp_path / "Dockerfile").write_text(FULL.format(base=base))
    await asyncio.to_thread(_docker, "build", "--tag", "cadre-test-full:1", str(tmp_path))
    settings = SandboxSettings(
        _env_file=None, home=tmp_path, sandbox_docker_image="cadre-test-full:1"
    )
    engine = Engine(engine_settings(settings))
    await engine.connect()

    with pytest.raises(RunnerLost, match=r"numpy cannot be built: the disk .* is full"):
        await engine.image(["numpy"])

    engine.close()
    await asyncio.to_thread(_docker, "rmi", "cadre-test-full:1")


@pytest.mark.parametrize("nobody", ["unix:///nowhere/nobody.sock", "tcp://127.0.0.1:9"])
async def test_without_an_engine_the_mode_says_why(nobody: str, tmp_path: Path) -> None:
    settings = SandboxSettings(_env_file=None, home=tmp_path, sandbox_docker_host=nobody)
    async with (
        build(settings) as services,
        serving(services, host="127.0.0.1", port=0) as address,
        connect(address) as channel,
    ):
        stub = sandbox_pb2_grpc.SandboxServiceStub(channel)
        offered = await until_prepared(stub)
        request = sandbox_pb2.ExecuteRequest(code="1", mode=sandbox_pb2.MODE_DOCKER)
        with pytest.raises(CadreError) as caught:
            await call(stub.Execute, request, service="sandbox", timeout_seconds=10)

    assert sandbox_pb2.MODE_DOCKER not in offered.modes
    assert offered.docker_missing.startswith("no Docker engine ")
    assert nobody in offered.docker_missing
    assert "CADRE_SANDBOX_DOCKER_HOST" in offered.docker_missing
    assert caught.value.code == "MODE_NOT_OFFERED"


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - the runner tells nobody
            await asyncio.sleep(0.02)


async def test_an_engine_that_comes_later_is_found(stub: Stub, tmp_path: Path) -> None:
    later = tmp_path / "engine.sock"
    settings = SandboxSettings(_env_file=None, home=tmp_path, sandbox_docker_host=f"unix://{later}")
    async with container_runner(
        engine=Engine(engine_settings(settings)),
        wanted=True,
        pool=0,
        packages=(),
        prepared=(),
        hosts=(),
        rules=AddressRules(),
        looks_again_seconds=0.1,
    ) as runner:
        await _until(lambda: runner.missing.startswith("no Docker engine listens"))
        later.symlink_to("/var/run/docker.sock")
        await _until(lambda: not runner.missing)

        assert all(wall.holds for wall in runner.walls())


@pytest_asyncio.fixture(loop_scope="module")
async def session(stub: Stub) -> AsyncIterator[str]:
    request = sandbox_pb2.OpenSessionRequest(mode=sandbox_pb2.MODE_DOCKER)
    opened = await call(stub.OpenSession, request, service="sandbox", timeout_seconds=60)
    yield opened.session.id
    closing = sandbox_pb2.CloseSessionRequest(session_id=opened.session.id)
    assert (await call(stub.CloseSession, closing, service="sandbox", timeout_seconds=60)).closed


async def test_a_session_keeps_variables_and_files(stub: Stub, session: str) -> None:
    first = await in_session(stub, session, "x = 1\nopen('a.csv', 'w').write('a,b')\nresult = x")
    second = await in_session(stub, session, "x += 1\nprint(open('a.csv').read(), x)")

    assert [(f.name, f.media_type) for f in first.files] == [("a.csv", "text/csv")]
    assert (second.stdout, list(second.files)) == ("a,b 2\n", [])
    assert not second.HasField("result")


async def test_files_of_a_session_are_written_listed_and_read(stub: Stub, session: str) -> None:
    file = sandbox_pb2.File(name="in/a.txt", content=b"given")
    writing = sandbox_pb2.WriteFileRequest(session_id=session, file=file)
    await call(stub.WriteFile, writing, service="sandbox", timeout_seconds=20)
    code = "import os\nopen('out', 'w').write(open('in/a.txt').read() * 2)\nos.symlink('/etc/passwd', 'link')"
    await in_session(stub, session, code)

    async def read(name: str) -> sandbox_pb2.File:
        request = sandbox_pb2.ReadFileRequest(session_id=session, name=name)
        answer = await call(stub.ReadFile, request, service="sandbox", timeout_seconds=20)
        found: sandbox_pb2.File = answer.file
        return found

    listing = sandbox_pb2.ListFilesRequest(session_id=session)
    listed = await call(stub.ListFiles, listing, service="sandbox", timeout_seconds=20)
    assert [(f.name, f.size_bytes) for f in listed.files] == [("in/a.txt", 5), ("out", 10)]
    assert (await read("out")).content == b"givengiven"
    for name in ("link", "nothing", "in"):
        with pytest.raises(CadreError) as caught:
            await read(name)
        assert caught.value.code == "FILE_NOT_FOUND"


async def test_an_interrupted_program_leaves_what_it_made(stub: Stub, session: str) -> None:
    done = await in_session(
        stub, session, "x = 2\nimport time\ntime.sleep(60)", timeout_seconds=0.5
    )

    assert done.error.code == "LIMIT_TIME"
    assert not done.session_reset
    assert (await in_session(stub, session, "result = x")).result.text == "2"


async def test_a_program_that_must_be_killed_leaves_its_files(stub: Stub, session: str) -> None:
    code = "import signal\nopen('kept', 'w').write('1')\nx = 1\nsignal.signal(2, signal.SIG_IGN)\nwhile True: pass"

    done = await in_session(stub, session, code, timeout_seconds=0.5)

    assert done.error.code == "LIMIT_TIME"
    assert done.session_reset
    after = await in_session(stub, session, "result = [open('kept').read(), 'x' in globals()]")
    assert json.loads(after.result.text) == ["1", False]


async def test_a_session_that_kills_its_own_container_is_gone(stub: Stub) -> None:
    request = sandbox_pb2.OpenSessionRequest(mode=sandbox_pb2.MODE_DOCKER)
    opened = await call(stub.OpenSession, request, service="sandbox", timeout_seconds=60)

    with pytest.raises(CadreError) as caught:
        await in_session(
            stub, opened.session.id, "import os, time\nos.kill(os.getppid(), 9)\ntime.sleep(60)"
        )

    assert caught.value.code == "SESSION_NOT_FOUND"
    with pytest.raises(CadreError):
        await in_session(stub, opened.session.id, "1")
