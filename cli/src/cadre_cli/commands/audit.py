"""Shows who changed what, and what was refused."""

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from cadre_cli.errors import CliError
from cadre_cli.options import JsonFlag, seconds_of
from cadre_cli.screen import escape, print_json, print_table
from cadre_cli.session import gateway
from cadre_cli.words import moment, now

if TYPE_CHECKING:
    from cadre_client import AuditEntry

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Adds the command."""
    app.command(
        epilog="Examples: cadre audit --last 24h · cadre audit --key ci --refused · cadre audit --method DELETE --json"
    )(audit)


def audit(
    key: Annotated[str, typer.Option(help="Only what this key did.")] = "",
    method: Annotated[str, typer.Option(help="Only this HTTP method, such as DELETE.")] = "",
    route: Annotated[
        str, typer.Option(help="Only this path's template, such as /api/v1/workflows/{name}.")
    ] = "",
    refused: Annotated[bool, typer.Option("--refused", help="Only what was refused.")] = False,
    done: Annotated[bool, typer.Option("--done", help="Only what was not refused.")] = False,
    last: Annotated[
        str | None, typer.Option(metavar="TIME", help="Only of the last 12h, 7d; all if not given.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest.")] = 50,
    json_: JsonFlag = False,
) -> None:
    """Show requests that changed something or were refused, newest first: who, what, when, and how it ended.

    Needs a key with the scope admin. Deliveries of triggers that were accepted are in `cadre trigger list`.
    """
    if refused and done:
        raise CliError("--refused and --done exclude each other", code="USAGE")
    start = None if last is None else now() - timedelta(seconds=seconds_of(last))
    with gateway() as client:
        found = client.audit(
            key=key,
            method=method,
            route=route,
            refused=refused if refused or done else None,
            start=start,
            limit=limit,
        )
    if json_:
        print_json({"entries": [entry.model_dump(mode="json") for entry in found]})
        return
    print_table(
        ["Time", "Key", "From", "Method", "Route", "Ids", "Status"],
        [_cells(entry) for entry in found],
        empty="Nothing like that was written down.",
    )


def _cells(entry: "AuditEntry") -> tuple[str, ...]:
    ids = " ".join(f"{name}={value}" for name, value in entry.ids.items())
    status = f"{entry.status} {entry.code}" if entry.code else str(entry.status)
    who = entry.key or "-"
    row = (moment(entry.time), who, entry.address, entry.method, entry.route, ids, status)
    return tuple(map(escape, row))
