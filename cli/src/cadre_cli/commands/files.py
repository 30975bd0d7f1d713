"""Works on workflow files: makes them from a template, checks them, applies them."""

from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cadre_cli import problems
from cadre_cli.errors import CliError, ExitStatus
from cadre_cli.options import JsonFlag, WorkflowFile, read_text
from cadre_cli.screen import errors, escape, output, print_json, print_table
from cadre_cli.session import gateway

if TYPE_CHECKING:
    from cadre_client import Validation

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Adds the commands that stand by themselves."""
    app.command(epilog="Examples: cadre init · cadre init triage · cadre init triage --force")(init)
    app.command(epilog="Examples: cadre validate triage.yaml · cadre validate triage.yaml --json")(
        validate
    )
    app.command(epilog="Example: cadre schema > workflow.schema.json")(schema)
    app.command(epilog="Examples: cadre apply triage.yaml · cadre apply triage --version 3")(apply)


def init(
    template: Annotated[
        str | None,
        typer.Argument(help="Which template; without one they are listed.", show_default=False),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file of that name.")] = False,
) -> None:
    """Write a workflow file to start from.

    It is TEMPLATE.yaml in this folder, with comments; without TEMPLATE, the templates are listed.
    """
    templates = _templates()
    if template is None:
        rows = [(name, escape(_description(file))) for name, file in templates.items()]
        print_table(["Template", "What it shows"], rows, empty="There are no templates.")
        return
    if template not in templates:
        raise CliError(
            f"there is no template {template!r}",
            code="TEMPLATE_NOT_FOUND",
            resolution=f"Templates: {', '.join(templates)}.",
        )
    path = Path(f"{template}.yaml")
    _write(path, templates[template].read_text(encoding="utf-8"), force=force)
    output().print(f"Wrote {path}. Check it with `cadre validate {path}`, run it with `cadre run`.")


def validate(file: WorkflowFile, json_: JsonFlag = False) -> None:
    """Check a workflow file.

    Shows every problem at its place. Runs nothing; ends with 2 when the file is not valid.
    """
    source = read_text(file)
    with gateway() as client:
        found = client.validate(source)
    if json_:
        print_json({"valid": found.valid, "problems": problems.documents(found.problems)})
    else:
        problems.show(found.problems, source=source, file=str(file))
        valid = f"{file} is valid" if found.valid else f"{file} is not valid"
        errors().print(valid, style="green" if found.valid else "bold red", markup=False)
        for line in _hints(found, file):
            errors().print(line, style="dim", markup=False)
    raise typer.Exit(ExitStatus.SUCCEEDED if found.valid else ExitStatus.REFUSED)


def _hints(found: "Validation", file: Path) -> list[str]:
    """Which commands help with the problems."""
    fixable = sum(problem.fix is not None for problem in found.problems)
    hints = [f"`cadre fix {file}` mends {fixable} of them"] if fixable else []
    if found.problems:
        hints.append(f"`cadre explain {found.problems[0].code}` says more")
    return hints


def schema() -> None:
    """Print the JSON Schema of workflow files, for editors."""
    with gateway() as client:
        document = client.schema()
    print_json(document)


def apply(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="A workflow file; - reads standard input. With --version, a workflow's name.",
            show_default=False,
        ),
    ],
    version: Annotated[
        int | None,
        typer.Option(
            min=1, help="Go back: store this version of the workflow called FILE as the newest."
        ),
    ] = None,
    json_: JsonFlag = False,
) -> None:
    """Store a workflow file.

    It becomes the next version of the workflow that it names, which can then be run by name, scheduled and triggered.
    """
    with gateway() as client:
        source = (
            read_text(file)
            if version is None
            else client.workflow(str(file), version=version).source
        )
        with problems.shown(source=source, file=str(file)):
            applied = client.apply(source)
    if json_:
        print_json(applied.model_dump(mode="json"))
        return
    problems.show(applied.notes, source=source, file=str(file))
    workflow = applied.workflow
    said = "is stored" if applied.created else "was stored already"
    output().print(f"{workflow.name} version {workflow.version} {said}", markup=False)


def _templates() -> dict[str, Traversable]:
    folder = resources.files("cadre_cli") / "templates"
    files = {file.name: file for file in folder.iterdir()}
    return {
        name.removesuffix(".yaml"): files[name] for name in sorted(files) if name.endswith(".yaml")
    }


def _description(file: Traversable) -> str:
    lines = file.read_text(encoding="utf-8").splitlines()
    described = (
        line.strip().removeprefix("description: ") for line in lines if "description: " in line
    )
    return next(described, "")


def _write(path: Path, text: str, *, force: bool) -> None:
    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as exc:
        raise CliError(
            f"{path} is there already",
            code="FILE_EXISTS",
            resolution="Add --force to overwrite it.",
        ) from exc
    except OSError as exc:
        raise CliError(
            f"{path} cannot be written: {exc.strerror}",
            code="FILE_UNWRITABLE",
            resolution="Change to a folder that you may write to.",
        ) from exc
