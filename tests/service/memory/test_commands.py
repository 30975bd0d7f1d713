"""The memory database from a shell: checked, exported and imported by the real program."""

import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.postgresql import Postgresql
from tests.redis_server import RedisServer

from cadre_kit.databases import connect_sqlite

LINES: tuple[dict[str, Any], ...] = (
    {
        "namespace": ["agent", "ada"],
        "key": "city",
        "value": {"name": "Berlin"},
        "metadata": {"source": "mail"},
        "tags": ["home"],
        "fields": ["name"],
        "expires": None,
    },
    {
        "namespace": ["conversation", "c1"],
        "key": "message/0000000000",
        "value": "We adopted a beagle",
        "metadata": {},
        "tags": [],
        "fields": None,
        "expires": None,
        "message": {
            "role": "user",
            "name": "Ada",
            "session": "s1",
            "time": "2023-05-01T09:00:00+00:00",
        },
    },
)


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param("postgresql", marks=pytest.mark.postgresql),
        pytest.param("redis", marks=pytest.mark.redis),
    ]
)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/memory.db"
    own = {"postgresql": "postgresql_server", "redis": "redis_at"}[request.param]
    server: Postgresql | RedisServer = request.getfixturevalue(own)
    return server.fresh()


def memory(
    home: Path, command: str, said: str = "", url: str = ""
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cadre_memory", command],
        env={"CADRE_HOME": str(home), "CADRE_MEMORY_DATABASE_URL": url, "PATH": ""},
        input=said,
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
        timeout=60,
        check=False,
    )


def test_what_was_imported_is_exported_as_it_was(tmp_path: Path, url: str) -> None:
    lines = "".join(json.dumps(line) + "\n" for line in LINES)
    imported = memory(tmp_path, "import", lines, url)
    exported = memory(tmp_path, "export", url=url)

    assert (imported.returncode, imported.stderr) == (0, "2 memories are stored\n")
    assert [json.loads(line) for line in exported.stdout.splitlines()] == list(LINES)
    assert memory(tmp_path, "check", url=url).stderr == "everything agrees\n"


def test_a_line_that_is_none_is_named(tmp_path: Path) -> None:
    beyond_a_limit = (json.dumps({**line, "namespace": ["x" * 2_000]}) for line in LINES)
    half = json.dumps({**LINES[1], "value": "\ud800"})
    for damage in ("[1]", "\udcff", half, *beyond_a_limit):
        refused = memory(tmp_path, "import", f"{json.dumps(LINES[0])}\n{damage}\n")

        assert refused.returncode == 1
        assert refused.stderr.startswith("line 2 is no memory")
    assert "namespace: Field required; " in memory(tmp_path, "import", '{"x": 1}\n').stderr
    assert json.loads(memory(tmp_path, "export").stdout) == LINES[0]


def test_as_much_as_may_be_stored_is_imported_again(tmp_path: Path) -> None:
    full = "é" * (512 * 1024 - 1)
    lines = [
        *({**LINES[0], "key": f"k{n}", "value": full, "fields": []} for n in range(9)),
        {**LINES[1], "value": full},
        {**LINES[0], "key": "tight", "value": [1] * (512 * 1024 - 1), "fields": []},
    ]

    imported = memory(tmp_path, "import", "".join(json.dumps(line) + "\n" for line in lines))

    assert (imported.returncode, imported.stderr) == (0, "11 memories are stored\n")


def test_a_check_says_what_does_not_agree(tmp_path: Path) -> None:
    memory(tmp_path, "import", json.dumps(LINES[0]) + "\n")
    with closing(connect_sqlite(f"sqlite:///{tmp_path}/memory.db")) as connection:
        connection.execute("DELETE FROM entry")
        connection.execute("INSERT INTO version VALUES (77, 1, '1', '{}', '[]', 0)")

    checked = memory(tmp_path, "check")

    assert checked.returncode == 1
    assert checked.stderr.splitlines() == [
        "1 items that are not searched",
        "1 versions of items that are not there, or newer than them",
    ]
