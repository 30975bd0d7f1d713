"""Keeps programs up: starts them in order, says when they are ready, restarts those that end, stops all of them."""

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from cadre_cli.supervisor.children import Child, Ending
from cadre_cli.supervisor.logs import ProgramLog
from cadre_cli.supervisor.programs import Platform, Program
from cadre_cli.supervisor.state import PlatformState, ProgramState, ProgramStatus

__all__ = ["Supervisor"]


class Supervisor:
    """Runs a platform's programs until it is told to stop.

    `say` gets a line for each thing that people should know; `on_usable` is called once, with the seconds it took.
    """

    def __init__(
        self,
        platform: Platform,
        *,
        say: Callable[[str], None],
        on_usable: Callable[[float], None],
    ) -> None:
        programs = platform.programs
        self._programs = programs
        self._home = platform.home
        self._usable = platform.usable
        self._pace = platform.pace
        self._say = say
        self._on_usable = on_usable
        self._began = time.monotonic()
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._ready = {program.name: asyncio.Event() for program in programs}
        self._logs = {p.name: ProgramLog(platform.home.logs / f"{p.name}.log") for p in programs}
        states = tuple(ProgramState(name=p.name, address=p.address) for p in programs)
        self._state = PlatformState(supervisor=os.getpid(), programs=states)

    async def run(self) -> None:
        """Keeps the programs up until `stop` is called; when it returns, none of them is left."""
        self._write(self._state)
        keeping = [asyncio.create_task(self._keep(program)) for program in self._programs]
        tasks = [*keeping, asyncio.create_task(self._announce_usable())]
        try:
            await self._stop_or_fault(keeping)
        finally:
            self._write(replace(self._state, stopping=True))
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def stop(self) -> None:
        """Stops all programs: at once if it was called before, else each gets time to end by itself."""
        if self._stop.is_set():
            self._say("Killing what is left")
            self._hurry.set()
            return
        self._say("Stopping")
        self._stop.set()

    async def _stop_or_fault(self, keeping: Sequence[asyncio.Task[None]]) -> None:
        stop = asyncio.create_task(self._stop.wait())
        done, _ = await asyncio.wait([stop, *keeping], return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        for task in done:
            task.result()

    async def _keep(self, program: Program) -> None:
        await self._turn_of(program)
        pause = self._pace.first_pause_seconds
        while True:
            began = time.monotonic()
            ending = await self._run_once(program)
            if time.monotonic() - began >= self._pace.steady_seconds:
                pause = self._pace.first_pause_seconds
            self._tell_ending(program, ending, pause)
            await asyncio.sleep(pause)
            pause = min(pause * 2, self._pace.longest_pause_seconds)

    async def _turn_of(self, program: Program) -> None:
        try:
            async with asyncio.timeout(program.after_seconds):
                for name in program.after:
                    await self._ready[name].wait()
        except TimeoutError:
            return

    async def _run_once(self, program: Program) -> Ending:
        log = self._logs[program.name]
        try:
            child = await Child.start(program, log)
        except OSError as exc:
            return Ending(status=127, reason=f"{program.command[0]}: {exc.strerror}")
        self._change(program, status=ProgramStatus.STARTING, process=child.mark)
        announcing = asyncio.create_task(self._announce_ready(program))
        try:
            return await child.wait()
        finally:
            announcing.cancel()
            grace = program.stop_seconds or self._pace.stop_seconds
            await child.stop(grace_seconds=grace, hurry=self._hurry)
            self._change(program, status=ProgramStatus.STOPPED, process=None)

    async def _announce_ready(self, program: Program) -> None:
        began, told = time.monotonic(), False
        while not await program.ready.holds():
            waited = time.monotonic() - began
            if waited > self._pace.slow_seconds and not told:
                told = True
                self._say(
                    f"{program.name} is still starting after {waited:.0f} s; it logs to "
                    f"{self._logs[program.name].path}"
                )
            await asyncio.sleep(self._pace.poll_seconds)
        state = self._change(program, status=ProgramStatus.READY, reason="")
        self._ready[program.name].set()
        self._say(self._progress(program, state.restarts))

    def _progress(self, program: Program, restarts: int) -> str:
        if restarts:
            return f"{program.name} is ready again"
        elapsed = f"{time.monotonic() - self._began:.1f} s"
        if not program.counted:
            return f"{program.name} ready, {elapsed}"
        counted = [p.name for p in self._programs if p.counted]
        ready = sum(self._ready[name].is_set() for name in counted)
        return f"{ready}/{len(counted)} {program.name} ready, {elapsed}"

    async def _announce_usable(self) -> None:
        for program in self._programs:
            if program.essential:
                await self._ready[program.name].wait()
        while not await self._usable.holds():  # noqa: ASYNC110 - another process cannot set an event
            await asyncio.sleep(self._pace.poll_seconds)
        # Said before it is written: `cadre up --detach` passes on what was said, and ends when it reads this.
        self._on_usable(time.monotonic() - self._began)
        self._write(replace(self._state, usable=True))

    def _tell_ending(self, program: Program, ending: Ending, pause: float) -> None:
        restarts = self._state_of(program).restarts + 1
        self._change(
            program, status=ProgramStatus.RESTARTING, restarts=restarts, reason=str(ending)
        )
        self._say(f"{program.name} {ending}; starting it again in {pause:g} s")

    def _state_of(self, program: Program) -> ProgramState:
        return next(state for state in self._state.programs if state.name == program.name)

    def _change(self, program: Program, **changes: object) -> ProgramState:
        changed = replace(self._state_of(program), **changes)  # type: ignore[arg-type]  # fields by name
        self._write(self._state.with_program(changed))
        return changed

    def _write(self, state: PlatformState) -> None:
        self._state = state
        try:
            self._home.write_state(state)
        except OSError as exc:
            self._say(f"{self._home.state_file} cannot be written: {exc.strerror}")
