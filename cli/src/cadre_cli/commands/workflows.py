"""Lists, shows, compares and deletes applied workflows."""

from typing import TYPE_CHECKING, Annotated

import typer

from cadre_cli.diffs import lines_changed, show_changes
from cadre_cli.groups import group
from cadre_cli.options import JsonFlag
from cadre_cli.screen import escape, output, print_json, print_table
from cadre_cli.session import gateway
from cadre_cli.words import as_text, moment

if TYPE_CHECKING:
    from cadre_client import Client, Workflow

__all__ = ["app"]

app = group("List, show, compare and delete applied workflows.")
Name = Annotated[str, typer.Argument(help="The workflow's name.", show_default=False)]


@app.command("list", epilog="Example: cadre workflows list --json")
def list_workflows(json_: JsonFlag = False) -> None:
    """List workflows, each at its newest version."""
    with gateway() as client:
        found = client.workflows()
    if json_:
        print_json({"workflows": [workflow.model_dump(mode="json") for workflow in found]})
        return
    print_table(
        ["Name", "Version", "Applied", "Description"],
        [_row(workflow) for workflow in found],
        empty="There are no workflows yet. Apply one: cadre apply examples/hello.yaml",
    )


@app.command(
    epilog="Examples: cadre workflows show triage · cadre workflows show triage --diff 1 2"
)
def show(
    name: Name,
    version: Annotated[int, typer.Option(min=0, help="Which version; 0 is the newest.")] = 0,
    diff: Annotated[
        tuple[int, int] | None,
        typer.Option(metavar="A B", help="Show what changed from version A to B instead."),
    ] = None,
    json_: JsonFlag = False,
) -> None:
    """Show a workflow's inputs and file, or what changed between two of its versions."""
    with gateway() as client:
        if diff is not None:
            _show_diff(client, name, diff, json_)
            return
        found = client.workflow(name, version=version)
    if json_:
        print_json(found.model_dump(mode="json"))
        return
    output().print(f"[bold]{escape(found.name)}[/] version {found.version}")
    output().print(found.description, markup=False)
    print_table(
        ["Input", "Type", "Required", "Default", "Description"],
        [
            (
                escape(field.name),
                escape(field.type),
                "yes" if field.required else "no",
                "-" if field.default is None else escape(as_text(field.default)),
                escape(field.description),
            )
            for field in found.inputs
        ],
        empty="It takes no inputs.",
    )
    output().print()
    output().print(found.source, markup=False, highlight=False, soft_wrap=True)


@app.command(epilog="Example: cadre workflows versions triage")
def versions(name: Name, json_: JsonFlag = False) -> None:
    """List a workflow's versions, newest first."""
    with gateway() as client:
        found = client.versions(name)
    if json_:
        print_json({"versions": [workflow.model_dump(mode="json") for workflow in found]})
        return
    columns = ["Name", "Version", "Applied", "Description"]
    print_table(columns, [_row(workflow) for workflow in found], empty="It has no versions.")


@app.command(epilog="Example: cadre workflows delete triage")
def delete(name: Name, json_: JsonFlag = False) -> None:
    """Delete a workflow. Runs that it had stay, with the version that they ran."""
    with gateway() as client:
        client.delete_workflow(name)
    if json_:
        print_json({"deleted": name})
        return
    output().print(f"{name} is deleted; its runs stay", markup=False)


def _row(workflow: "Workflow") -> tuple[str, ...]:
    return (
        escape(workflow.name),
        str(workflow.version),
        moment(workflow.applied_time),
        escape(workflow.description),
    )


def _show_diff(client: "Client", name: str, diff: tuple[int, int], json_: bool) -> None:
    before, after = (client.workflow(name, version=version).source for version in diff)
    names = (f"{name}@{diff[0]}", f"{name}@{diff[1]}")
    lines = lines_changed(before, after, names=names)
    if json_:
        print_json({"name": name, "from": diff[0], "to": diff[1], "diff": "\n".join(lines)})
        return
    show_changes(lines, empty="The two versions are equal.")
