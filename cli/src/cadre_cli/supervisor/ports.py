"""Finds out, before anything is started, which ports are taken, and by whom."""

import errno
import socket
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import psutil

from cadre_cli.supervisor.programs import Program

__all__ = ["PortProblem", "port_problems"]


@dataclass(frozen=True, kw_only=True)
class PortProblem:
    """A program cannot have its port: why, and what to do."""

    program: str
    message: str
    resolution: str


def port_problems(programs: Sequence[Program]) -> list[PortProblem]:
    """One for each program whose port cannot be had."""
    listening = [program for program in programs if program.port]
    uses = Counter(program.port for program in listening)
    return [
        found
        for program in listening
        if (found := _shared(program, uses[program.port]) or _taken(program)) is not None
    ]


def _shared(program: Program, uses: int) -> PortProblem | None:
    if uses == 1:
        return None
    return PortProblem(
        program=program.name,
        message=f"port {program.port} of {program.name} is given to another service too",
        resolution=f"Set {program.port_setting} to a port of its own.",
    )


def _taken(program: Program) -> PortProblem | None:
    refused = _refusal(program.host, program.port)
    if refused is None:
        return None
    if refused == errno.EADDRINUSE:
        holder = _holder(program.port)
        return PortProblem(
            program=program.name,
            message=f"port {program.port} of {program.name} is taken by {holder}",
            resolution=f"Stop that program, or set {program.port_setting} to another port.",
        )
    return PortProblem(
        program=program.name,
        message=f"{program.name} cannot listen on {program.host}:{program.port}: {errno.errorcode[refused]}",
        resolution=f"Set CADRE_HOST to an address of this machine and {program.port_setting} to a port above 1023.",
    )


def _refusal(host: str, port: int) -> int | None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        # As servers do: a port whose last connections are still fading is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except socket.gaierror:
            return errno.EADDRNOTAVAIL
        except OSError as exc:
            return exc.errno
    return None


def _holder(port: int) -> str:
    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.AccessDenied:
        connections = []
    holders = [
        connection.pid
        for connection in connections
        if connection.status == psutil.CONN_LISTEN and connection.laddr[1:2] == (port,)
    ]
    pid = next(filter(None, holders), None)
    return _named(pid) if pid else "a program of another user"


def _named(pid: int) -> str:
    try:
        process = psutil.Process(pid)
        name, command = process.name(), process.cmdline()
    except psutil.Error:
        return f"pid {pid}"
    module = command[2:3] if command[1:2] == ["-m"] else []
    return f"{' -m '.join([name, *module])} (pid {pid})"
