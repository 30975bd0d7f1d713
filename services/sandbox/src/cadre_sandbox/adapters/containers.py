"""Runs each program in a container of its own, out of a pool of started ones in which an interpreter waits."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from cadre_kit.addresses import AddressRules
from cadre_kit.logs import logger
from cadre_sandbox.adapters.collected import Collected
from cadre_sandbox.adapters.container_endings import ending_of
from cadre_sandbox.adapters.container_kernels import ContainerKernel
from cadre_sandbox.adapters.engines import Engine, Started
from cadre_sandbox.adapters.guest_streams import ReadyContainer, program_bytes
from cadre_sandbox.adapters.proxies import Proxies
from cadre_sandbox.domain.executions import (
    Ending,
    Limits,
    OnOutput,
    Program,
    RunnerLost,
    Usage,
    Wall,
)
from cadre_sandbox.domain.hosts import HostList
from cadre_sandbox.worker.frames import BadFrame

__all__ = ["ContainerRunner", "container_runner"]

log = logger()

_READY_SECONDS = 60.0
# The engine is kept busy with what follows a program only when its answer is on its way: that took a third of its time.
_AFTERWARDS_SECONDS = 0.02
# Sets of packages that containers wait for; programs that ask for yet another wait for theirs to start.
_POOLS = 4
_OFF = "CADRE_SANDBOX_DOCKER is off"
_PREPARING = "its containers are being prepared; try again in a moment"
# Those of a program that asks for nothing: other limits cost a call of the engine.
_POOL_LIMITS = Limits(
    timeout_seconds=10, cpu_seconds=10, memory_mb=256, output_bytes=65536, cpus=1.0
)


class ContainerRunner:
    """Runs programs in containers. One without an engine says why, and runs none."""

    def __init__(
        self,
        *,
        engine: Engine,
        pool: int,
        packages: Sequence[str],
        hosts: Sequence[str],
        proxies: Proxies,
    ) -> None:
        self._engine = engine
        self._hosts = hosts
        self._proxies = proxies
        self._size = pool
        self._packages = packages
        self._missing = _OFF
        self._connected = False
        self._walls: Sequence[Wall] = ()
        self._pools: dict[tuple[str, ...], asyncio.Queue[ReadyContainer]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._refills: set[asyncio.Task[None]] = set()
        self._building: dict[tuple[str, ...], asyncio.Lock] = {}

    @property
    def missing(self) -> str:
        """Why no program can be run; "" when one can."""
        return self._missing

    @property
    def packages(self) -> Sequence[str]:
        """What programs may ask for."""
        return self._packages

    @property
    def hosts(self) -> Sequence[str]:
        """What programs may ask to reach."""
        return () if self.hosts_missing else self._hosts

    @property
    def hosts_missing(self) -> str:
        """Why none can be reached; "" when those that are listed can."""
        if not self._hosts:
            return "CADRE_SANDBOX_HOSTS lists none"
        return "gVisor lets no socket file in" if self._engine.is_gvisor else ""

    @property
    def has_sessions(self) -> bool:
        """Whether `open` can be called."""
        return not self._missing

    def walls(self) -> Sequence[Wall]:
        """The walls that a container proved at start."""
        return self._walls

    async def run(self, program: Program, on_output: OnOutput | None = None) -> Ending:
        """Runs it in a container of its own, which ends with it. Raises RunnerLost."""
        packages = tuple(sorted(program.packages))
        container = await self._claim(packages, program.hosts, program.limits)
        try:
            if not await self._granted(container, program.limits):
                return _without_memory(program.limits)
            return await self._collect(container, program, on_output)
        finally:
            self._discard(container.started)
            # Only now, so that the program had the processor to itself.
            self._refill_later(packages)

    async def open(self, shape: Program) -> ContainerKernel:
        """A session's container. Raises RunnerLost."""
        packages = tuple(sorted(shape.packages))
        container = await self._claim(packages, shape.hosts, shape.limits)
        kernel = ContainerKernel(container, lambda: self._discard(container.started))
        try:
            if not await self._granted(container, shape.limits):
                raise RunnerLost(
                    f"the interpreter and its packages alone take more than {shape.limits.memory_mb} MiB",
                    resolution="Raise memory_mb.",
                )
            await kernel.begin()
        except BaseException:
            await kernel.close()
            raise
        finally:
            self._refill_later(packages)
        return kernel

    async def _granted(self, container: ReadyContainer, limits: Limits) -> bool:
        if _are_pools(limits) or self._engine.is_gvisor:
            return True
        return await self._engine.adjust(container.started.id, limits)

    async def _collect(
        self, container: ReadyContainer, program: Program, on_output: OnOutput | None
    ) -> Ending:
        limits, began = program.limits, time.monotonic()
        collected, killed = Collected(limits.output_bytes, on_output), ""
        try:
            async with asyncio.timeout(limits.timeout_seconds):
                await container.send(program_bytes(program))
                async for data in container.received():
                    collected.feed(data)
                    if collected.flood:
                        killed = "output"
                    if collected.flood or collected.said() is not None:
                        break
        except TimeoutError:
            killed = "time"
        except BadFrame:
            killed = "frames"
        facts = {} if killed else collected.said() or {}
        if not killed and not facts and await self._took_too_much(container):
            facts = {"said": {"outcome": "limit", "code": "LIMIT_MEMORY"}}
        return ending_of(collected, facts, killed=killed, began=began)

    async def _took_too_much(self, container: ReadyContainer) -> bool:
        """Whether it ended for its memory. In gVisor one process over it takes the others with it."""
        if not self._engine.is_gvisor:
            return False
        return await self._engine.ran_out_of_memory(container.started.id, container.started.at)

    async def _claim(
        self, packages: tuple[str, ...], hosts: frozenset[str], limits: Limits
    ) -> ReadyContainer:
        if self._engine.is_gvisor and not _are_pools(limits):
            # Its containers keep the limits that they were started with.
            return await self._make(packages, limits=limits)
        if hosts:
            return await self._make(packages, hosts)
        pool = self._pools.get(packages)
        while pool is not None and not pool.empty():
            container = pool.get_nowait()
            if not container.gone():
                return container
            self._discard(container.started)
        return await self._make(packages)

    async def _refill(self, packages: tuple[str, ...]) -> None:
        await asyncio.sleep(_AFTERWARDS_SECONDS)
        pool = self._pools[packages]
        # One at a time, so that programs under way get the processor.
        async with self._building.setdefault(packages, asyncio.Lock()):
            while pool.qsize() < self._size:
                try:
                    pool.put_nowait(await self._make(packages))
                except RunnerLost as exc:
                    log.warning("sandbox_pool_not_refilled", reason=exc.message)
                    return

    async def _make(
        self,
        packages: tuple[str, ...],
        hosts: frozenset[str] = frozenset(),
        limits: Limits = _POOL_LIMITS,
    ) -> ReadyContainer:
        image = await self._engine.image(packages)
        proxy = await self._proxies.start(HostList(hosts)) if hosts else None
        starting = asyncio.create_task(self._engine.start(image, packages, limits, proxy))
        try:
            started = await asyncio.shield(starting)
        except asyncio.CancelledError:
            # The engine starts it all the same.
            self._spawn(self._give_up(starting))
            raise
        except RunnerLost:
            if proxy is not None:
                proxy.close()
            raise
        container = ReadyContainer(started)
        try:
            async with asyncio.timeout(_READY_SECONDS):
                await container.ready()
        except (TimeoutError, BadFrame) as exc:
            raise RunnerLost("a container did not get ready") from exc
        finally:
            if not container.is_ready:
                self._discard(started)
        return container

    async def _give_up(self, starting: asyncio.Task[Started]) -> None:
        with contextlib.suppress(RunnerLost):
            self._discard(await starting)

    def _discard(self, started: Started) -> None:
        started.stream.close()
        if started.proxy is not None:
            started.proxy.close()
        self._spawn(self._remove(started))

    async def _remove(self, started: Started) -> None:
        await asyncio.sleep(_AFTERWARDS_SECONDS)
        try:
            await self._engine.remove(started.id)
        except RunnerLost as exc:
            log.warning("sandbox_container_not_removed", container=started.id, reason=exc.message)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _refill_later(self, packages: tuple[str, ...]) -> None:
        if packages not in self._pools and len(self._pools) >= _POOLS:
            return
        self._pools.setdefault(packages, asyncio.Queue())
        task = self._spawn(self._refill(packages))
        self._refills.add(task)
        task.add_done_callback(self._refills.discard)

    async def prepare(self, sets: Sequence[tuple[str, ...]], looks_again_seconds: float) -> None:
        """Removes what an earlier process left, proves the walls, and fills the pools, as soon as there is an engine
        that lets it."""
        self._missing = _PREPARING
        while self._missing:
            try:
                removed = await self._begin()
            except RunnerLost as exc:
                missing = f"{exc.message}. {exc.resolution}"
                if missing != self._missing:
                    log.info("sandbox_without_docker", reason=exc.message)
                self._missing = missing
                await asyncio.sleep(looks_again_seconds)
            else:
                self._missing = ""
                log.info("sandbox_docker_ready", orphans_removed=removed)
        for packages in sets:
            self._refill_later(packages)

    async def _begin(self) -> int:
        """How many containers an earlier process had left."""
        await self._engine.connect()
        self._connected = True
        removed = await self._engine.remove_orphans()
        await self._engine.remove_stale_images()
        self._walls = await self._prove()
        return removed

    async def _prove(self) -> Sequence[Wall]:
        limits = replace(_POOL_LIMITS, timeout_seconds=_READY_SECONDS)
        ending = await self.run(Program(code=_PROOF, inputs={}, limits=limits))
        try:
            found = json.loads(ending.result or b"")
        except ValueError as exc:
            raise RunnerLost("a container did not say which of its walls hold") from exc
        return [
            Wall(name=name, holds=found.get(name) is True, detail=detail)
            for name, detail in _KEEPS_OUT.items()
        ]

    def _empty_pools(self) -> None:
        for pool in self._pools.values():
            while not pool.empty():
                self._discard(pool.get_nowait().started)

    async def close(self) -> None:
        """Ends every container."""
        self._size = 0
        for refilling in tuple(self._refills):
            refilling.cancel()
        self._empty_pools()
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self._empty_pools()
        if self._connected:
            with contextlib.suppress(RunnerLost):
                await self._engine.remove_orphans()


@asynccontextmanager
async def container_runner(
    *,
    engine: Engine,
    wanted: bool,
    pool: int,
    packages: Sequence[str],
    prepared: Sequence[str],
    hosts: Sequence[str],
    rules: AddressRules,
    looks_again_seconds: float = 10.0,
) -> AsyncIterator[ContainerRunner]:
    """A runner that gets ready by itself, as an image may have to come first, or the engine; until then it says what
    is missing, and looks again every `looks_again_seconds`."""
    runner = ContainerRunner(
        engine=engine, pool=pool, packages=packages, hosts=hosts, proxies=Proxies(rules)
    )
    sets = [(), tuple(sorted(prepared))] if prepared else [()]
    preparing = asyncio.create_task(runner.prepare(sets, looks_again_seconds)) if wanted else None
    try:
        yield runner
    finally:
        if preparing is not None:
            preparing.cancel()
            await asyncio.gather(preparing, return_exceptions=True)
        await runner.close()
        engine.close()


def _are_pools(limits: Limits) -> bool:
    """Whether a container of the pool has these."""
    return (limits.memory_mb, limits.cpus) == (_POOL_LIMITS.memory_mb, _POOL_LIMITS.cpus)


def _without_memory(limits: Limits) -> Ending:
    """The interpreter and its packages alone take more than the program may."""
    return Collected(limits.output_bytes).ending(
        said={"outcome": "limit", "code": "LIMIT_MEMORY"},
        killed="",
        status=0,
        usage=Usage(wall_ms=0, cpu_ms=0, peak_memory_bytes=0),
    )


_KEEPS_OUT = {
    "network": "every address: no interface but loopback",
    "user": "the rights of root and of other users",
    "privileges": "capabilities, set-user-id programs (no-new-privileges)",
    "files": "writing anywhere but to a work volume of 64 MiB (read-only root)",
    "limits": "memory, CPUs, processes, descriptors, file size (cgroups, rlimits)",
    "syscalls": "ptrace, keys, bpf, io_uring, namespaces, mounts, sockets but UNIX and internet ones (seccomp)",
    "processes": "the sight of other processes",
}
_PROOF = """
import ctypes, os, platform, socket
libc = ctypes.CDLL(None, use_errno=True)
# ptrace, keyctl, bpf, io_uring_setup, userfaultfd, perf_event_open, process_vm_readv, by their numbers
CALLS = {'x86_64': (101, 250, 321, 425, 323, 298, 310), 'aarch64': (117, 219, 280, 425, 282, 241, 270)}
def calls_refused():
    for number in CALLS.get(platform.machine(), ()):
        if libc.syscall(number, 0, 0, 0, 0, 0) != -1 or ctypes.get_errno() not in (1, 38):
            return False
    if libc.unshare(0x10000000) != -1 or ctypes.get_errno() != 1:
        return False
    return all(refused(lambda: socket.socket(family, socket.SOCK_RAW)) for family in (16, 17, 40))
status = dict(line.rstrip().split(':\\t', 1) for line in open('/proc/self/status') if ':\\t' in line)
def refused(attempt):
    try:
        attempt()
    except OSError:
        return True
    return False
def limits():
    for path in ('/sys/fs/cgroup/memory.max', '/sys/fs/cgroup/memory/memory.limit_in_bytes'):
        if os.path.exists(path):
            return int(open(path).read()) <= 512 * 1024 * 1024
    # gVisor shows no cgroup; its memory is what the container's is.
    return gvisor and int(open('/proc/meminfo').readline().split()[1]) <= 512 * 1024
gvisor = os.path.exists('/proc/sentry-meminfo') or os.path.exists('/proc/gvisor')
def connect():
    socket.create_connection(('192.0.2.1', 80), 1)
result = {
    'network': refused(connect) and os.listdir('/sys/class/net') == ['lo'],
    'user': os.getuid() != 0 and refused(lambda: os.setuid(0)),
    'privileges': int(status['CapEff'], 16) == 0 and status.get('NoNewPrivs', '1') == '1',
    'files': refused(lambda: open('/etc/found', 'w')) and refused(lambda: open('/found', 'w')),
    'limits': limits(),
    # gVisor makes none of a program's calls itself, whatever it answers to them.
    'syscalls': gvisor or (calls_refused() and status.get('Seccomp') == '2'),
    'processes': len([n for n in os.listdir('/proc') if n.isdigit()]) < 8,
}
"""
