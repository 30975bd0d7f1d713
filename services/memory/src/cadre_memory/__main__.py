"""`python -m cadre_memory`: the memory service."""

from cadre_kit.serving import run_service
from cadre_kit.settings import load_settings
from cadre_memory.app import build
from cadre_memory.settings import MemorySettings

if __name__ == "__main__":
    settings = load_settings(MemorySettings)
    run_service("memory", settings, port=settings.memory_port, build=build)
