"""Runs the executor: `python -m cadre_executor`."""

from cadre_executor.app import build
from cadre_executor.settings import Settings
from cadre_kit.serving import run_service
from cadre_kit.settings import load_settings


def main() -> None:
    """Serves until SIGTERM."""
    settings = load_settings(Settings)
    run_service("executor", settings, port=settings.executor_port, build=build)


if __name__ == "__main__":
    main()
