"""`python -m cadre_memory`: the memory service, and what can be done with its database from a shell."""

import sys

from cadre_kit.serving import run_service
from cadre_kit.settings import load_settings
from cadre_memory.app import build
from cadre_memory.commands import parsed, run
from cadre_memory.settings import MemorySettings

if __name__ == "__main__":
    command = parsed(sys.argv[1:]).command or "serve"
    settings = load_settings(MemorySettings)
    if command == "serve":
        run_service("memory", settings, port=settings.memory_port, build=build)
    sys.exit(run(command, settings))
