"""Remote agents that `agent` nodes hand work to."""

from typing import TYPE_CHECKING, Annotated

import typer

from cadre_cli.groups import group
from cadre_cli.options import JsonFlag
from cadre_cli.screen import escape, output, print_json, print_table
from cadre_cli.session import gateway
from cadre_cli.words import moment

if TYPE_CHECKING:
    from cadre_client import Agent

__all__ = ["app"]

app = group("List, show, add and remove remote agents (A2A).")

Name = Annotated[str, typer.Argument(help="The agent's name.", show_default=False)]
_COLOURS = {"healthy": "green", "unreachable": "red"}


@app.command("list", epilog="Example: cadre agents list --json")
def list_agents(json_: JsonFlag = False) -> None:
    """List remote agents by name, with what they can do and how they are."""
    with gateway() as client:
        found = client.agents()
    if json_:
        print_json({"agents": [agent.model_dump(mode="json") for agent in found]})
        return
    print_table(
        ["Name", "Address", "Skills", "Health", "Last seen"],
        [
            (
                escape(agent.name),
                escape(agent.url),
                escape(", ".join(skill.name for skill in agent.skills)),
                _health(agent),
                moment(agent.last_seen_time),
            )
            for agent in found
        ],
        empty="There are no agents yet. Add one: cadre agents add https://agent.example.com",
    )


@app.command(epilog="Example: cadre agents show translator")
def show(name: Name, json_: JsonFlag = False) -> None:
    """Show one agent: where it is, what it can do, how it is."""
    with gateway() as client:
        agent = client.agent(name)
    if json_:
        print_json(agent.model_dump(mode="json"))
        return
    screen = output()
    screen.print(f"[bold]{escape(agent.name)}[/] {_health(agent)}", highlight=False)
    for line in _lines(agent):
        screen.print(line, markup=False, highlight=False)


@app.command(
    epilog="Examples: cadre agents add https://agent.example.com · "
    "cadre agents add https://agent.example.com/.well-known/agent-card.json --name translator "
    "--secret AGENT_TRANSLATOR_TOKEN"
)
def add(
    url: Annotated[
        str,
        typer.Argument(
            help="Where its card is, or the address below which /.well-known/agent-card.json is.",
            show_default=False,
        ),
    ],
    name: Annotated[
        str, typer.Option(help="What workflows will call it.", show_default="what it calls itself")
    ] = "",
    secret: Annotated[
        str,
        typer.Option(
            help="The executor's environment variable with its token or key; begins with AGENT_.",
            show_default=False,
        ),
    ] = "",
    json_: JsonFlag = False,
) -> None:
    """Add a remote agent by the address of its card; it stays until it is removed.

    Its card is read now, and again from time to time. Adding it again changes it.
    """
    with gateway() as client:
        agent = client.register_agent(url, name=name, secret=secret)
    if json_:
        print_json(agent.model_dump(mode="json"))
        return
    skills = ", ".join(skill.name for skill in agent.skills) or "no skills"
    output().print(f"{agent.name} is at {agent.url}: {skills}", markup=False, highlight=False)


@app.command(epilog="Example: cadre agents remove translator")
def remove(name: Name, json_: JsonFlag = False) -> None:
    """Remove an agent; tasks that it works on go on."""
    with gateway() as client:
        client.delete_agent(name)
    if json_:
        print_json({"removed": name})
        return
    output().print(f"{name} is removed", markup=False)


def _health(agent: "Agent") -> str:
    return f"[{_COLOURS.get(agent.health, 'yellow')}]{escape(agent.health)}[/]"


def _lines(agent: "Agent") -> list[str]:
    said = [
        ("", agent.health_detail),
        ("", agent.description),
        ("Calls itself", f"{agent.title} {agent.version}".strip()),
        ("Address", f"{agent.url} ({agent.protocol_binding})"),
        ("Card", agent.card_url),
        ("Secret", agent.secret),
        ("Last seen", moment(agent.last_seen_time)),
        ("Until", moment(agent.expires_time) if agent.expires_time else ""),
    ]
    lines = [f"{what}: {text}" if what else text for what, text in said if text]
    for skill in agent.skills:
        about = f": {skill.description}" if skill.description else ""
        lines.append(f"Skill {skill.name}{about}")
    return lines
