"""What can be done with a memory database from a shell, beside serving it: check, export and import."""

import asyncio
import sys
from argparse import ArgumentParser, Namespace
from datetime import UTC, datetime

from cadre_kit.errors import CadreError
from cadre_memory.adapters.databases import findings, open_store
from cadre_memory.adapters.wordllama import WordLlamaEmbedder
from cadre_memory.domain.conversations import Conversations
from cadre_memory.domain.memories import Memories
from cadre_memory.domain.searches import Searches
from cadre_memory.domain.transfers import Transfers
from cadre_memory.settings import MemorySettings


def parsed(arguments: list[str]) -> Namespace:
    """The command, `serve` when none is named. Ends the process when the arguments are wrong."""
    parser = ArgumentParser("python -m cadre_memory", description="The memory service.")
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("serve", help="serve it (the default)")
    commands.add_parser("check", help="say whether rows, versions and what is searched agree")
    commands.add_parser("export", help="write all memories to stdout, one JSON document a line")
    commands.add_parser("import", help="store what an export wrote, from stdin")
    return parser.parse_args(arguments)


def run(command: str, settings: MemorySettings) -> int:
    """Runs a command; 0 when it went well, 1 when something is wrong, which stderr says."""
    url = settings.database_url(settings.memory_database_url, "memory")
    try:
        return _check(url) if command == "check" else asyncio.run(_transfer(command, url))
    except CadreError as error:
        _say(f"{error.message} ({error.code}). {error.resolution}")
        return 1


def _check(url: str) -> int:
    found = asyncio.run(findings(url))
    for each in found:
        _say(f"{each.rows} {each.what}" if each.rows else each.what)
    if not found:
        _say("everything agrees")
    return 1 if found else 0


async def _transfer(command: str, url: str) -> int:
    embedder = WordLlamaEmbedder()
    store = await open_store(url, model=embedder.model)
    memories = Memories(
        store=store, searches=Searches(store, held_bytes=0), embedder=embedder, clock=_now
    )
    conversations = Conversations(store=store, embedder=embedder, clock=_now)
    transfers = Transfers(store=store, memories=memories, conversations=conversations)
    try:
        if command == "import":
            _say(f"{await transfers.take(sys.stdin.buffer)} memories are stored")
            return 0
        async for line in transfers.lines():
            sys.stdout.write(f"{line}\n")
        return 0
    finally:
        await store.close()


def _now() -> datetime:
    return datetime.now(UTC)


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
