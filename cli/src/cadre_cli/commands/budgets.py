"""Bounds what model calls may use."""

from typing import TYPE_CHECKING, Annotated

import typer

from cadre_cli.groups import group
from cadre_cli.options import JsonFlag, usd_of
from cadre_cli.screen import escape, output, print_json, print_table
from cadre_cli.session import gateway
from cadre_cli.words import cost, count, moment

if TYPE_CHECKING:
    from cadre_client import Budget, BudgetStatus, BudgetUse

__all__ = ["app"]

app = group("List, set and delete budgets: hard limits of what models may cost.")
Name = Annotated[str, typer.Argument(help="The budget's name.", show_default=False)]


@app.command("list", epilog="Example: cadre budgets list --json")
def list_budgets(json_: JsonFlag = False) -> None:
    """List budgets by name, with what is used and left of each.

    Calls that are under way or uncertain count with the most that they can cost.
    """
    with gateway() as client:
        found = client.budgets()
    if json_:
        print_json({"budgets": [status.model_dump(mode="json") for status in found]})
        return
    print_table(
        ["Name", "Bounds", "Limit", "Period", "Used", "Left", "Begins anew", ""],
        [row for status in found for row in _rows(status)],
        empty="There are no budgets yet. Set one: cadre budgets set monthly --usd 20 --per month",
    )


@app.command(
    "set",
    epilog="Examples: cadre budgets set all --usd 20 --per month · "
    "cadre budgets set triage --workflow triage --usd 0.10 --per run · "
    "cadre budgets set dear --usd 5 --per day --downgrade-to openai/gpt-4.1-mini",
)
def set_budget(
    name: Name,
    per: Annotated[str, typer.Option(help="run, day, week or month.", show_default=False)],
    usd: Annotated[str | None, typer.Option(help="US dollars, such as 2.50.")] = None,
    tokens: Annotated[int | None, typer.Option(min=1, help="Tokens, in and out.")] = None,
    workflow: Annotated[str | None, typer.Option(help="Only calls of this workflow.")] = None,
    key: Annotated[
        str | None, typer.Option(help="Only calls of this API key, by its name.")
    ] = None,
    run_id: Annotated[str | None, typer.Option("--run", help="Only calls of this run.")] = None,
    warn: Annotated[
        int, typer.Option(min=1, max=100, help="Nearly used up from so many percent on.")
    ] = 80,
    downgrade_to: Annotated[
        str | None,
        typer.Option(metavar="PROVIDER/MODEL", help="Ask this model rather than refuse a call."),
    ] = None,
    pause: Annotated[
        bool, typer.Option("--pause", help="Let runs wait at it rather than fail.")
    ] = False,
    json_: JsonFlag = False,
) -> None:
    """Set a budget, or change the one of that name.

    No call is sent whose worst case does not fit into what is left. What was spent in the period before counts.
    """
    from cadre_client import Budget

    if pause and downgrade_to:
        raise typer.BadParameter("--pause and --downgrade-to exclude each other")
    scope, subject = _scope(workflow, key, run_id)
    budget = Budget(
        name=name,
        scope=scope,
        subject=subject,
        period=per,
        usd=usd_of(usd),
        tokens=tokens,
        warn_percent=warn,
        on_exceed="downgrade" if downgrade_to else "pause" if pause else "fail",
        downgrade_to=downgrade_to or "",
    )
    with gateway() as client:
        made = client.set_budget(budget)
    if json_:
        print_json(made.model_dump(mode="json"))
        return
    output().print(f"{name} bounds {_bounds(made.budget)} to {_limit(made.budget)}", markup=False)


@app.command(epilog="Example: cadre budgets delete monthly")
def delete(name: Name, json_: JsonFlag = False) -> None:
    """Delete a budget; what was spent stays in the ledger."""
    with gateway() as client:
        client.delete_budget(name)
    if json_:
        print_json({"deleted": name})
        return
    output().print(f"{name} is deleted", markup=False)


def _scope(workflow: str | None, key: str | None, run_id: str | None) -> tuple[str, str]:
    named = {"workflow": workflow, "key": key, "run": run_id}
    given = [(scope, subject) for scope, subject in named.items() if subject is not None]
    if len(given) > 1:
        raise typer.BadParameter("name one of --workflow, --key and --run, or none for all calls")
    return given[0] if given else ("platform", "")


def _rows(status: "BudgetStatus") -> list[tuple[str, ...]]:
    budget = status.budget
    head = (escape(budget.name), escape(_bounds(budget)), escape(_limit(budget)))
    if not status.uses:
        return [(*head, f"each {budget.period}", "-", "-", "-", "")]
    return [(*head, *_use_cells(budget, use)) for use in status.uses]


def _use_cells(budget: "Budget", use: "BudgetUse") -> tuple[str, ...]:
    used, left = [], []
    if use.left_usd is not None:
        used.append(cost(use.used_usd))
        left.append(cost(use.left_usd))
    if use.left_tokens is not None:
        used.append(f"{count(use.used_tokens)} tokens")
        left.append(f"{count(use.left_tokens)} tokens")
    warning = "[yellow]nearly used up[/]" if use.warned else ""
    period = f"{budget.period} {escape(use.period)}"
    return period, " and ".join(used), " and ".join(left), moment(use.reset_time), warning


def _bounds(budget: "Budget") -> str:
    return f"{budget.scope} {budget.subject}" if budget.subject else "all calls"


def _limit(budget: "Budget") -> str:
    limits = []
    if budget.usd is not None:
        limits.append(cost(budget.usd))
    if budget.tokens is not None:
        limits.append(f"{count(budget.tokens)} tokens")
    limit = f"{' and '.join(limits)} a {budget.period}"
    return f"{limit}, {budget.instead}" if budget.instead else limit
