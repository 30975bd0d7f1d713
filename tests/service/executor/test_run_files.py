"""The files that programs of a run leave: kept below their node, listed, read, and theirs alone."""

from typing import Any

import pytest

from cadre.executor.v1 import files_pb2, files_pb2_grpc
from cadre_kit.channels import call
from cadre_kit.errors import NotFound

SOURCE = """\
schema_version: "1.0"
flow: {name: charts}
state: {fields: {number: {type: int, required: true}, done: {type: int, default: 0}}}
nodes:
  - id: draw
    inputs: {number: "{state.number}"}
    code: |
      FILES = {"plot.png": b"PNG" * number, "data/a\\\\x1b.csv": b"a,b"}
      result = number
    sandbox: {mode: docker, network: [data.example.org]}
    outputs: [done]
edges: [{from: START, to: draw}, {from: draw, to: END}]
"""


async def listed(executor: Any, run_id: str) -> list[tuple[str, int, str]]:
    stub = files_pb2_grpc.FileServiceStub(executor.channel)
    request = files_pb2.ListRunFilesRequest(run_id=run_id)
    answer = await call(stub.ListRunFiles, request, service="executor", timeout_seconds=20)
    return [(file.path, file.size_bytes, file.media_type) for file in answer.files]


async def read(executor: Any, run_id: str, path: str) -> bytes:
    stub = files_pb2_grpc.FileServiceStub(executor.channel)
    request = files_pb2.ReadRunFileRequest(run_id=run_id, path=path)
    answer = await call(stub.ReadRunFile, request, service="executor", timeout_seconds=20)
    return bytes(answer.content)


async def test_what_a_program_leaves_is_its_runs(executor: Any, near: Any) -> None:
    first, second = [(await executor.finish(SOURCE, number=n))[0] for n in (1, 2)]

    assert await listed(executor, first.id) == [
        ("draw/data/a_x1b.csv", 3, "text/csv"),
        ("draw/plot.png", 3, "image/png"),
    ]
    assert await read(executor, second.id, "draw/plot.png") == b"PNGPNG"
    assert list(near.sandbox.requests[0].hosts) == ["data.example.org"]


@pytest.mark.parametrize("path", ["nothing", "../../executor.db", "/etc/passwd", "draw", ""])
async def test_nothing_else_can_be_read(executor: Any, path: str) -> None:
    run, _ = await executor.finish(SOURCE, number=1)

    with pytest.raises(NotFound) as caught:
        await read(executor, run.id, path)

    assert caught.value.code == "FILE_NOT_FOUND"


async def test_a_run_that_is_not_there_has_no_files(executor: Any) -> None:
    with pytest.raises(NotFound) as caught:
        await listed(executor, "01J0000000000000000000NONE")

    assert caught.value.code == "RUN_NOT_FOUND"
