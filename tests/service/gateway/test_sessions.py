"""Sessions over HTTP, from Python and from the terminal, on a real sandbox."""

import asyncio
import json
from typing import Any

import pytest
from tests.service.gateway.test_executions import cadre, gateway

from cadre_client import ApiError, Client

__all__ = ["gateway"]


async def test_a_session_keeps_variables_until_it_is_closed(gateway: Any) -> None:
    with Client(gateway.url, gateway.key) as client:
        session = await asyncio.to_thread(client.open_session, timeout_seconds=5, idle_seconds=60)
        await asyncio.to_thread(client.execute, "x = 41", session_id=session.id)
        done = await asyncio.to_thread(client.execute, "result = x + 1", session_id=session.id)
        await asyncio.to_thread(client.close_session, session.id)
        await asyncio.to_thread(client.close_session, session.id)
        with pytest.raises(ApiError) as caught:
            await asyncio.to_thread(client.execute, "x", session_id=session.id)

    assert (session.mode, session.idle_seconds, session.total_seconds) == ("python", 60, 3600)
    assert (done.result, done.session_reset) == (42, False)
    assert (caught.value.status, caught.value.code) == (404, "SESSION_NOT_FOUND")


async def test_what_a_session_cannot_have_is_refused(gateway: Any) -> None:
    with Client(gateway.url, gateway.key) as client:
        session = await asyncio.to_thread(client.open_session)
        with pytest.raises(ApiError) as caught:
            await asyncio.to_thread(client.read_session_file, session.id, "a")
        assert caught.value.code == "FILE_NOT_FOUND"
        with pytest.raises(ApiError) as caught:
            await asyncio.to_thread(client.open_session, mode="docker")
        assert caught.value.code == "MODE_NOT_OFFERED"
        await asyncio.to_thread(client.close_session, session.id)


async def test_a_session_has_files(gateway: Any) -> None:
    with Client(gateway.url, gateway.key) as client:
        session = await asyncio.to_thread(client.open_session)
        await asyncio.to_thread(client.write_session_file, session.id, "a/b c.txt", b"1")
        code = "result = open('a/b c.txt').read()\nopen('d', 'w').write('2')"
        done = await asyncio.to_thread(client.execute, code, session_id=session.id)
        files = await asyncio.to_thread(client.session_files, session.id)
        read = await asyncio.to_thread(client.read_session_file, session.id, "d")
        await asyncio.to_thread(client.close_session, session.id)

    assert (done.result, read) == ("1", b"2")
    assert [(file.name, file.size_bytes) for file in files] == [("a/b c.txt", 1), ("d", 1)]


async def test_the_command_goes_on_with_a_session(gateway: Any) -> None:
    (gateway.home / "first.py").write_text("x = [1]\nprint('one')")
    (gateway.home / "next.py").write_text("x.append(2)\nresult = x")

    status, _, said = await cadre(gateway, "exec", "first.py", "--session", "new")
    session = said.split()[-1]
    _, document, _ = await cadre(
        gateway, "exec", "next.py", "--session", session, "--json", "--close"
    )
    gone, _, error = await cadre(gateway, "exec", "next.py", "--session", session)

    assert status == 0
    assert json.loads(document)["result"] == [1, 2]
    assert json.loads(document)["session"] == session
    assert gone == 2
    assert "there is no such session" in error
