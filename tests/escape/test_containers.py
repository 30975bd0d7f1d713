"""Attacks of full Python in mode docker, on a real engine: nothing of the machine or its network is reached."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import pytest
import pytest_asyncio
from tests.escape.container_attacks import FILES, KERNEL, NETWORK
from tests.fakes.website import Website, website
from tests.service.sandbox.containers import Stub, in_session, sandbox_with_containers

from cadre.sandbox.v1 import sandbox_pb2
from cadre_kit.channels import call
from cadre_kit.errors import InvalidInput
from cadre_sandbox.settings import SandboxSettings

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="module")]

TRY = """
import ctypes, http.client, os, resource, socket, subprocess, time, urllib.request
libc = ctypes.CDLL(None, use_errno=True)
def refuse():
    raise PermissionError(ctypes.get_errno())
def open_url(url, proxies=None):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler(proxies))
    return opener.open(url, timeout=5).read().decode()
def tunnel(host, port):
    connection = http.client.HTTPConnection('127.0.0.1', 3128, timeout=5)
    connection.set_tunnel(host, port)
    connection.request('GET', '/')
    return connection.getresponse().read().decode()
def attempt(code):
    try:
        exec(code, dict(globals()))
    except Exception as error:
        return f'{type(error).__name__}: {error}'
    finally:
        subprocess.run('rm -rf ./* /tmp/*', shell=True)
    return 'LEAKED'
"""
# An attempt that went wrong by itself has shown nothing.
NOT_REFUSED = tuple(
    f'"{kind}' for kind in ("AttributeError", "NameError", "SyntaxError", "TypeError")
)
Attempt = Callable[[str], Awaitable[str]]


@dataclass(frozen=True)
class Near:
    """The sandbox, the server that its operator allows, and one on this machine that nobody may reach."""

    stub: Stub
    allowed: Website
    secret: Website

    def filled_in(self, text: str) -> str:
        return text.replace("{A}", str(self.allowed.port)).replace("{S}", str(self.secret.port))


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def near(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Near]:
    async with website() as allowed, website() as secret:
        allowed.page("/", "welcome")
        allowed.redirect("/away", f"http://localhost:{secret.port}/")
        allowed.redirect("/away-by-address", f"http://127.0.0.1:{secret.port}/")
        settings = SandboxSettings(
            _env_file=None,
            home=tmp_path_factory.mktemp("home"),
            sandbox_docker_pool=1,
            sandbox_hosts=f"localhost:{allowed.port},localhost:{secret.port},*",
            allowed_addresses=f"localhost:{allowed.port}",
        )
        async with sandbox_with_containers(settings) as stub:
            yield Near(stub, allowed, secret)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def attempt(near: Near) -> AsyncIterator[Attempt]:
    """Tries code in a container that may ask for every host of the operator's list."""
    opening = sandbox_pb2.OpenSessionRequest(mode=sandbox_pb2.MODE_DOCKER, hosts=["*"])
    opened = await call(near.stub.OpenSession, opening, service="sandbox", timeout_seconds=60)
    session = opened.session.id

    async def run(code: str) -> str:
        program = f"{TRY}\nresult = attempt({near.filled_in(code)!r})"
        done = await in_session(near.stub, session, program, timeout_seconds=10)
        # The kernel ends what makes a call by an old way.
        assert done.outcome in (sandbox_pb2.OUTCOME_SUCCEEDED, sandbox_pb2.OUTCOME_BLOCKED), done
        return str(done.result.text or done.error.message)

    yield run
    closing = sandbox_pb2.CloseSessionRequest(session_id=session)
    await call(near.stub.CloseSession, closing, service="sandbox", timeout_seconds=60)


@pytest.mark.parametrize(
    "allowed",
    [
        "assert open_url('http://localhost:{A}/') == 'welcome'",
        "assert tunnel('localhost', {A}) == 'welcome'",
        "open('own', 'w').write('x')",
        "socket.create_server(('127.0.0.1', 0))",
        "os.waitpid(os.fork() or os._exit(0), 0)",
    ],
)
async def test_what_is_allowed_is_seen_to_happen(allowed: str, attempt: Attempt) -> None:
    assert await attempt(allowed) == '"LEAKED"'


@pytest.mark.parametrize("name", NETWORK)
async def test_no_other_address_is_reached(name: str, attempt: Attempt, near: Near) -> None:
    said = await attempt(NETWORK[name])

    assert "LEAKED" not in said
    assert not said.startswith(NOT_REFUSED), said
    assert near.secret.connections == 0


@pytest.mark.parametrize("name", [*FILES, *KERNEL])
async def test_nothing_of_the_machine_is_reached(name: str, attempt: Attempt) -> None:
    said = await attempt({**FILES, **KERNEL}[name])

    assert "LEAKED" not in said
    assert not said.startswith(NOT_REFUSED), said


async def test_a_host_beyond_the_operators_list_cannot_be_asked_for(near: Near) -> None:
    request = sandbox_pb2.ExecuteRequest(
        code="1", mode=sandbox_pb2.MODE_DOCKER, hosts=["localhost:22"]
    )

    with pytest.raises(InvalidInput) as caught:
        await call(near.stub.Execute, request, service="sandbox", timeout_seconds=20)

    assert caught.value.code == "HOST_NOT_ALLOWED"


async def test_a_program_that_asks_for_no_host_has_no_opening(near: Near) -> None:
    code = "import os\nresult = ['http_proxy' in os.environ, os.path.exists('/run/proxy')]"
    request = sandbox_pb2.ExecuteRequest(code=code, mode=sandbox_pb2.MODE_DOCKER)

    done = await call(near.stub.Execute, request, service="sandbox", timeout_seconds=60)

    assert done.result.text == "[false, false]"
    assert "network" in done.walls


async def test_a_program_with_one_host_reaches_no_other_of_the_list(near: Near) -> None:
    code = TRY + (
        f"result = [open_url('http://localhost:{near.allowed.port}/'),"
        " attempt(\"open_url('http://example.com/')\")]"
    )
    request = sandbox_pb2.ExecuteRequest(
        code=code, mode=sandbox_pb2.MODE_DOCKER, hosts=[f"localhost:{near.allowed.port}"]
    )

    done = await call(near.stub.Execute, request, service="sandbox", timeout_seconds=60)

    assert done.result.text == '["welcome", "HTTPError: HTTP Error 403: Forbidden"]'
    assert "proxy" in done.walls
    assert "network" not in done.walls
