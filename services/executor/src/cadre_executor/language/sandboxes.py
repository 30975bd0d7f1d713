"""Compiles how programs are run: the mode, and what a program may use."""

import re
from dataclasses import dataclass

from cadre_executor.domain.workflows import SandboxLimits, SandboxMode, Template
from cadre_executor.language.node_shapes import SandboxShape
from cadre_executor.language.positions import Path
from cadre_executor.language.reports import Report
from cadre_executor.language.templates import Compiler

MAX_SECONDS = 300.0
MIN_MEBIBYTES = 32
MAX_MEBIBYTES = {SandboxMode.PYTHON: 2048, SandboxMode.DOCKER: 65_536}

_PRESETS = {"low": (256, 30.0), "medium": (512, 60.0), "high": (1024, 120.0), "max": (2048, 300.0)}
"""MiB and seconds."""


@dataclass(frozen=True, kw_only=True)
class SandboxCompiler:
    """Compiles the sandbox blocks of one node."""

    templates: Compiler
    report: Report

    def limits(self, shape: SandboxShape | None, path: Path) -> SandboxLimits:
        """What a program may use: its own numbers before its preset's."""
        if shape is None:
            return SandboxLimits()
        mode = SandboxMode(shape.mode or "python")
        if mode is SandboxMode.PYTHON:
            self._check_python(shape, path)
        memory, seconds = _PRESETS[shape.preset] if shape.preset else (None, None)
        resources = shape.resources
        if resources:
            memory = resources.memory_mb or _mebibytes(resources.memory) or memory
            seconds = resources.timeout or seconds
        mebibytes = self._at_most(memory, MAX_MEBIBYTES[mode], "MiB", path)
        return SandboxLimits(
            mode=mode,
            preset=shape.preset or "",
            timeout_seconds=self._at_most(shape.timeout or seconds, MAX_SECONDS, "seconds", path),
            cpu_seconds=resources.cpu_seconds if resources else None,
            cpus=resources.cpu if resources and mode is SandboxMode.DOCKER else None,
            memory_mb=None if mebibytes is None else max(MIN_MEBIBYTES, int(mebibytes)),
            packages=tuple(shape.packages or ()),
            hosts=_hosts(shape) if mode is SandboxMode.DOCKER else (),
            files=self._files(shape, path),
        )

    def _files(self, shape: SandboxShape, path: Path) -> dict[str, Template]:
        return {
            name: self.templates.text(text, (*path, "files", name))
            for name, text in (shape.files or {}).items()
        }

    def _check_python(self, shape: SandboxShape, path: Path) -> None:
        if shape.packages:
            self.report.error(
                "NEEDS_DOCKER",
                (*path, "packages"),
                "`packages` needs a container",
                "add mode: docker",
                at_key=True,
            )
        if shape.network:
            self.report.note(
                "NO_EFFECT",
                (*path, "network"),
                "programs in mode python have no network",
                "add mode: docker, or fetch it with a tool before and pass it as an input",
            )

    def _at_most(self, value: float | None, most: float, unit: str, path: Path) -> float | None:
        if value is None or value <= most:
            return value
        self.report.note(
            "LIMIT_LOWERED",
            path,
            f"a program gets at most {most:g} {unit}, not {value:g}",
            "split the program, or lower the limit",
        )
        return most


def _hosts(shape: SandboxShape) -> tuple[str, ...]:
    match shape.network:
        case True:
            return ("*",)
        case list(hosts):
            return tuple(hosts)
    return ()


def _mebibytes(text: str | None) -> int | None:
    if text is None:
        return None
    number, unit = int(re.sub(r"\D", "", text)), text.lower().rstrip("b")[-1]
    return number * 1024 if unit == "g" else number
