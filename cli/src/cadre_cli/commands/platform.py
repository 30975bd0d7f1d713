"""Starts, stops and examines the platform of this machine."""

from typing import Annotated

import typer

from cadre_cli.errors import CliError, ExitStatus
from cadre_cli.options import JsonFlag
from cadre_cli.screen import escape, output, print_json, print_table
from cadre_cli.words import span

__all__ = ["add_to"]

_COLOURS = {
    "ready": "green",
    "starting": "yellow",
    "waiting": "yellow",
    "ok": "green",
    "warn": "yellow",
}


def add_to(app: typer.Typer) -> None:
    """Adds the commands that stand by themselves."""
    app.command(epilog="Examples: cadre up · cadre up --detach · CADRE_GATEWAY_PORT=8400 cadre up")(
        up
    )
    app.command(epilog="Example: cadre down")(down)
    app.command(epilog="Examples: cadre status · cadre status --json")(status)
    app.command(epilog="Examples: cadre doctor · cadre doctor --json")(doctor)


def up(
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Leave it running in the background.")
    ] = False,
) -> None:
    """Start the platform; Ctrl-C stops it.

    Services, web UI, MLflow and Prefect run as processes, and are started again when they end. State and logs are below
    CADRE_HOME (./.cadre). Started twice, it says so and changes nothing.
    """
    from cadre_cli.platform import home_of, local_platform
    from cadre_cli.settings import load_settings
    from cadre_cli.starting import up, up_detached

    settings = load_settings()
    if detach:
        raise typer.Exit(up_detached(home_of(settings)))
    up(local_platform(settings))


def down() -> None:
    """Stop the platform.

    Whatever is left of one that was killed is stopped too.
    """
    from cadre_cli.platform import home_of, stop_seconds
    from cadre_cli.settings import load_settings
    from cadre_cli.supervisor.running import stop_platform

    settings = load_settings()
    home = home_of(settings)
    stopped = stop_platform(home, stop_seconds=stop_seconds(settings))
    said = "Stopped; no process is left." if stopped else f"Nothing runs from {home.path}."
    output().print(said, markup=False)


def status(json_: JsonFlag = False) -> None:
    """Show whether every service is ready.

    With its address, version, process and uptime. Ends with 3 when the platform is not usable.
    """
    from cadre_cli.settings import load_settings
    from cadre_cli.statuses import is_usable, services

    settings = load_settings()
    found = services(settings)
    if json_:
        print_json({"services": [service.document() for service in found]})
    elif not found:
        raise CliError(
            f"the platform is not running (CADRE_HOME is {settings.home})",
            code="NOT_RUNNING",
            resolution="Start it with `cadre up`.",
            exit_status=ExitStatus.UNREACHABLE,
        )
    else:
        print_table(
            ["Service", "Status", "Address", "Version", "Pid", "Up", ""],
            [
                (
                    service.name,
                    _coloured(service.status),
                    service.address,
                    service.version or "-",
                    str(service.pid or "-"),
                    span(service.uptime_s) if service.uptime_s is not None else "-",
                    f"[dim]{escape(service.detail)}[/]",
                )
                for service in found
            ],
            empty="",
        )
    raise typer.Exit(0 if is_usable(found) else ExitStatus.UNREACHABLE)


def doctor(json_: JsonFlag = False) -> None:
    """Check what the platform needs of this machine.

    Says what to do about what is missing. Ends with 1 when something that is needed fails.
    """
    from cadre_cli.checks import examine
    from cadre_cli.settings import load_settings

    checks = examine(load_settings())
    if json_:
        print_json({"checks": [check.document() for check in checks]})
    else:
        print_table(
            ["", "Check", "Found", "What to do"],
            [
                (
                    _coloured(check.outcome),
                    check.name,
                    escape(check.found),
                    escape(check.resolution),
                )
                for check in checks
            ],
            empty="",
        )
    raise typer.Exit(ExitStatus.FAILED if any(c.outcome == "fail" for c in checks) else 0)


def _coloured(status: str) -> str:
    return f"[{_COLOURS.get(status, 'red')}]{status}[/]"
