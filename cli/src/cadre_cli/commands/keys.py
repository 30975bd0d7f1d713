"""API keys: what each may do, how often, until when and for how much."""

from decimal import Decimal
from typing import TYPE_CHECKING, Annotated

import typer

from cadre_cli.errors import CliError
from cadre_cli.groups import group
from cadre_cli.options import JsonFlag, seconds_of, usd_of
from cadre_cli.screen import errors, escape, output, print_json, print_table
from cadre_cli.session import gateway
from cadre_cli.words import moment

if TYPE_CHECKING:
    from cadre_client import ApiKey, MadeKey

__all__ = ["app"]

app = group("Make, list, rotate and revoke API keys, each with a scope.")
Name = Annotated[str, typer.Argument(help="The key's name.", show_default=False)]

_SCOPES = ("read", "run", "write", "admin")
_PERIODS = ("run", "day", "week", "month")
_RATE_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_COLOURS = {"active": "green", "expired": "yellow", "revoked": "red"}


@app.command(
    epilog="Examples: cadre keys create ci --scope run --expires 30d --rate 60/m --budget 5/day · "
    "cadre keys create dashboard --scope read · CADRE_API_KEY=$(cadre keys create me --scope write) cadre runs list"
)
def create(
    name: Name,
    scope: Annotated[
        str,
        typer.Option(
            help="read, run, write or admin; each includes those before it.", show_default=False
        ),
    ],
    expires: Annotated[
        str | None, typer.Option(metavar="TIME", help="Valid for 12h, 30d; for ever if not given.")
    ] = None,
    rate: Annotated[
        str | None,
        typer.Option(metavar="N/UNIT", help="At most N requests each s, m, h or d, such as 60/m."),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="USD/PERIOD",
            help="What its model calls may cost each run, day, week or month, such as 5/day.",
        ),
    ] = None,
    json_: JsonFlag = False,
) -> None:
    """Make a key. Its secret is printed once, alone on standard output, and cannot be shown again."""
    if scope not in _SCOPES:
        raise typer.BadParameter(f"{scope!r} is none of {', '.join(_SCOPES)}", param_hint="--scope")
    usd, period = _budget(budget)
    with gateway() as client:
        made = client.create_key(
            name,
            scope,
            expires_seconds=None if expires is None else seconds_of(expires),
            rate=_rate(rate),
            budget_usd=usd,
            budget_period=period,
        )
    _tell(made, json_)


@app.command("list", epilog="Example: cadre keys list --json")
def list_keys(json_: JsonFlag = False) -> None:
    """List keys by name, those too that are not valid any more. Costs of each: cadre costs --by key."""
    with gateway() as client:
        found = client.api_keys()
    if json_:
        print_json({"keys": [key.model_dump(mode="json") for key in found]})
        return
    print_table(
        ["Name", "Begins with", "Scope", "Status", "Rate", "Expires", "Last used"],
        [_cells(key) for key in found],
        empty="There are no keys beside the one in CADRE_HOME. Make one: cadre keys create ci --scope run",
    )


@app.command(epilog="Example: cadre keys rotate ci --grace 1h")
def rotate(
    name: Name,
    grace: Annotated[
        str, typer.Option(metavar="TIME", help="For how long the old secret stays valid too.")
    ] = "0s",
    json_: JsonFlag = False,
) -> None:
    """Give a key another secret; its scope, limits and costs stay."""
    with gateway() as client:
        made = client.rotate_key(name, grace_seconds=seconds_of(grace))
    _tell(made, json_)


@app.command(epilog="Example: cadre keys revoke ci")
def revoke(name: Name, json_: JsonFlag = False) -> None:
    """Take a key back, at once and for good. Its name is not given again."""
    with gateway() as client:
        revoked = client.revoke_key(name)
    if json_:
        print_json(revoked.model_dump(mode="json"))
        return
    output().print(f"{name} is revoked", markup=False)


def _tell(made: "MadeKey", json_: bool) -> None:
    if json_:
        print_json(made.model_dump(mode="json"))
        return
    print(made.secret)
    key = made.key
    until = f" until {moment(key.expires_time)}" if key.expires_time else ""
    errors().print(
        f"{key.name} may {key.scope}{until}. Keep the secret now: it is not stored and cannot be shown again.",
        markup=False,
    )


def _cells(key: "ApiKey") -> tuple[str, ...]:
    rate = f"{key.rate.requests} in {key.rate.seconds:g} s" if key.rate else "-"
    status = f"[{_COLOURS.get(key.status, 'red')}]{escape(key.status)}[/]"
    expires = moment(key.expires_time) if key.expires_time else "never"
    used = moment(key.last_used_time) if key.last_used_time else "never"
    return escape(key.name), escape(key.prefix), escape(key.scope), status, rate, expires, used


def _rate(text: str | None) -> tuple[int, float] | None:
    if text is None:
        return None
    number, _, unit = text.partition("/")
    if not number.isdecimal() or int(number) < 1 or unit not in _RATE_SECONDS:
        raise CliError(
            f"{text!r} is no rate",
            code="RATE_INVALID",
            resolution="Give a number of requests and s, m, h or d, such as 60/m.",
        )
    return int(number), _RATE_SECONDS[unit]


def _budget(text: str | None) -> tuple[Decimal | None, str]:
    if text is None:
        return None, "day"
    amount, _, period = text.partition("/")
    if period not in _PERIODS:
        raise CliError(
            f"{text!r} is no budget",
            code="BUDGET_INVALID",
            resolution="Give US dollars and run, day, week or month, such as 5/day.",
        )
    return usd_of(amount), period
