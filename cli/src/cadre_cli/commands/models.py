"""Shows the models that can be named."""

from decimal import Decimal

import typer

from cadre_cli.options import JsonFlag
from cadre_cli.screen import escape, print_json, print_table
from cadre_cli.session import gateway
from cadre_cli.words import cost, count

__all__ = ["add_to"]

_WORDS = {"json_schema": "JSON", "reasoning": "thinking"}


def add_to(app: typer.Typer) -> None:
    """Adds the command that stands by itself."""
    app.command(epilog="Examples: cadre models · cadre models --json")(models)


def models(json_: JsonFlag = False) -> None:
    """List the models that can be named.

    Says which is the default, what each can do by itself, and why one cannot be used now.
    """
    with gateway() as client:
        found = client.models()
    if json_:
        print_json({"models": [model.model_dump(mode="json") for model in found]})
        return
    print_table(
        ["Model", "Usable", "Context", "$ per million in", "out", "Can", ""],
        [
            (
                escape(model.id) + (" [bold](default)[/]" if model.default else ""),
                "[green]yes[/]" if model.available else "[red]no[/]",
                count(model.context_tokens) if model.context_tokens else "-",
                _price(model.input_usd_per_million),
                _price(model.output_usd_per_million),
                ", ".join(_WORDS.get(ability, ability) for ability in model.abilities) or "-",
                f"[dim]{escape(model.unavailable_reason)}[/]",
            )
            for model in found
        ],
        empty="There are no models.",
    )


def _price(usd: Decimal | None) -> str:
    return "unknown" if usd is None else cost(usd)
