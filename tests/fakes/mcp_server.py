"""A real MCP server, of the SDK, as a process: over stdio, or over HTTP at the port that its argument names.

It notes each call of `noted` in the file that the variable NOTES names.
"""

import asyncio
import os
import sys
from pathlib import Path

from mcp.server import MCPServer
from mcp_types import ToolAnnotations

server = MCPServer("numbers")


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


@server.tool()
def say(text: str) -> str:
    """Says a text."""
    return f"said {text}"


@server.tool()
def fail() -> str:
    """Fails."""
    raise ValueError("no such city")


@server.tool()
async def wait() -> str:
    """Waits for a minute, and notes when it is told to stop."""
    note("waits")
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        note("stopped")
        raise
    return "waited"


@server.tool()
def large() -> str:
    """Says far too much."""
    return "x" * 5_000_000


@server.tool()
def die() -> str:
    """Ends the process."""
    note("dies")
    os._exit(3)


@server.tool(annotations=ToolAnnotations(idempotent_hint=True))
def process_id() -> int:
    """Which process this is."""
    return os.getpid()


@server.tool()
def environment() -> list[str]:
    """The names of the variables that it sees."""
    return sorted(os.environ)


def note(word: str) -> None:
    if "NOTES" in os.environ:
        with Path(os.environ["NOTES"]).open("a") as notes:
            notes.write(f"{word}\n")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        server.run(transport="streamable-http", host="127.0.0.1", port=int(sys.argv[1]))
    else:
        server.run(transport="stdio")
