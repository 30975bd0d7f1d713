"""A fake of the sandbox's port."""

import asyncio
from collections.abc import Mapping, Sequence

from cadre_sandbox.domain.executions import (
    CONTAINER_MINIMUM,
    Ending,
    File,
    FileEntry,
    FileNotFound,
    OnOutput,
    Program,
    Usage,
    Wall,
)

__all__ = ["FakeContainers", "FakeKernel", "FakeRunner", "ending"]

WALLS = tuple(
    Wall(name=name, holds=True, detail="") for name in ("language", "process", "limits", "syscalls")
)
CONTAINER_WALLS = tuple(
    Wall(name=name, holds=True, detail="") for group in CONTAINER_MINIMUM for name in group
)


def ending(
    *,
    stdout: bytes = b"",
    result: bytes | None = None,
    said: Mapping[str, str] | None = None,
    killed: str = "",
    status: int = 0,
    cpu_ms: int = 1,
    result_cut: bool = False,
) -> Ending:
    """A program's end; one that succeeded when nothing else is said."""
    cut_short = bool(killed) or status != 0
    return Ending(
        stdout=stdout,
        stdout_cut=False,
        stderr=b"",
        stderr_cut=False,
        result=result,
        result_cut=result_cut,
        said=said or (None if cut_short else {"outcome": "succeeded"}),
        killed=killed,
        status=status,
        usage=Usage(wall_ms=1, cpu_ms=cpu_ms, peak_memory_bytes=1),
        output_bytes=len(stdout) + len(result or b""),
    )


class FakeRunner:
    """Ends each program as `endings` says by its code; one that is not there runs until it is cancelled or its time is
    up."""

    def __init__(
        self, endings: Mapping[str, Ending] | None = None, walls: Sequence[Wall] = WALLS
    ) -> None:
        self._endings = endings or {}
        self._walls = walls
        self.ran: list[str] = []
        self.kernels: list[FakeKernel] = []
        self.running = 0
        self.may_open = asyncio.Event()
        self.may_open.set()

    def walls(self) -> Sequence[Wall]:
        return self._walls

    async def run(self, program: Program, on_output: OnOutput | None = None) -> Ending:
        self.ran.append(program.code)
        self.running += 1
        try:
            if program.code in self._endings:
                ended = self._endings[program.code]
                if on_output is not None and ended.stdout:
                    on_output(False, ended.stdout)
                return ended
            await asyncio.sleep(program.limits.timeout_seconds)
            return ending(killed="time", status=-9)
        finally:
            self.running -= 1

    has_sessions = True

    async def open(self, shape: Program) -> "FakeKernel":
        await self.may_open.wait()
        kernel = FakeKernel(self)
        self.kernels.append(kernel)
        return kernel


class FakeKernel:
    """A session of a fake runner; keeps files, and no variables."""

    def __init__(self, runner: FakeRunner) -> None:
        self.ended = asyncio.Event()
        self._runner = runner
        self._files: dict[str, bytes] = {}

    async def run(self, program: Program, on_output: OnOutput | None = None) -> Ending:
        return await self._runner.run(program, on_output)

    async def write(self, file: File) -> None:
        self._files[file.name] = file.content

    async def read(self, name: str) -> File:
        if name not in self._files:
            raise FileNotFound(f"there is no file {name!r}")
        return File(name=name, content=self._files[name])

    async def entries(self) -> Sequence[FileEntry]:
        return [FileEntry(name=name, size_bytes=len(c)) for name, c in sorted(self._files.items())]

    async def close(self) -> None:
        self.ended.set()


class FakeContainers(FakeRunner):
    """Containers, or with `missing` why there are none."""

    def __init__(
        self,
        endings: Mapping[str, Ending] | None = None,
        walls: Sequence[Wall] = CONTAINER_WALLS,
        *,
        missing: str = "",
    ) -> None:
        super().__init__(endings, walls)
        self.missing = missing
        self.packages: Sequence[str] = ("numpy",)
        self.hosts: Sequence[str] = ("data.example.org", "*.example.com", "wiki:8080")
        self.hosts_missing = ""
