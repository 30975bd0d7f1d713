"""Shows the models that can be named."""

from collections.abc import Sequence
from decimal import Decimal

import typer

from cadre_cli.options import JsonFlag
from cadre_cli.screen import escape, output, print_json, print_table
from cadre_cli.session import gateway
from cadre_cli.words import cost, count
from cadre_client import ModelDeployment, ModelGroup

__all__ = ["add_to"]

_WORDS = {"json_schema": "JSON", "reasoning": "thinking"}


def add_to(app: typer.Typer) -> None:
    """Adds the command that stands by itself."""
    app.command(epilog="Examples: cadre models · cadre models --json")(models)


def models(json_: JsonFlag = False) -> None:
    """List the models, and the operator's groups of models, that can be named.

    Says which is the default, what each can do by itself, and why one cannot be used now.
    """
    with gateway() as client:
        found = client.models()
    if json_:
        print_json(found.model_dump(mode="json"))
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
            for model in found.models
        ],
        empty="There are no models.",
    )
    if found.groups:
        output().print()
        _print_groups(found.groups)


def _print_groups(groups: Sequence[ModelGroup]) -> None:
    print_table(
        ["Group", "Asks", "Weight", "Limits", "Now", "Then"],
        [
            (
                escape(group.name) if each is group.deployments[0] else "",
                escape(each.id) + (f" [dim]at {escape(each.host)}[/]" if each.host else ""),
                f"{each.weight:g}",
                _limits(each),
                _standing(each),
                escape(", ".join(group.fallbacks)) if each is group.deployments[0] else "",
            )
            for group in groups
            for each in group.deployments
        ],
        empty="",
    )


def _limits(deployment: ModelDeployment) -> str:
    limits = {
        "at once": deployment.concurrent,
        "calls a minute": deployment.requests_per_minute,
        "tokens a minute": deployment.tokens_per_minute,
    }
    said = [f"{count(limit)} {words}" for words, limit in limits.items() if limit is not None]
    return ", ".join(said) or "-"


def _standing(deployment: ModelDeployment) -> str:
    colour = "green"
    if deployment.unavailable_reason:
        colour = "red"
    elif deployment.cooling_seconds or deployment.waiting:
        colour = "yellow"
    return f"[{colour}]{escape(deployment.standing)}[/]"


def _price(usd: Decimal | None) -> str:
    return "unknown" if usd is None else cost(usd)
