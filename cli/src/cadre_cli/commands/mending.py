"""Helps to mend workflow files: explains what is wrong with one, and makes the changes that are sure."""

import difflib
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from cadre_cli import problems
from cadre_cli.diffs import lines_changed, show_changes
from cadre_cli.edits import mended
from cadre_cli.errors import CliError, ExitStatus
from cadre_cli.explanations import Explanation, explanations
from cadre_cli.options import JsonFlag, WorkflowFile, read_text
from cadre_cli.replacing import replace_text
from cadre_cli.screen import errors, escape, output, print_json, print_table
from cadre_cli.session import gateway

if TYPE_CHECKING:
    from cadre_client import Problem, Validation

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Adds the commands that stand by themselves."""
    app.command(epilog="Examples: cadre explain UNKNOWN_STATE_FIELD · cadre explain")(explain)
    app.command(epilog="Examples: cadre fix triage.yaml · cadre fix triage.yaml --check")(fix)


def explain(
    code: Annotated[
        str | None,
        typer.Argument(help="Which code; without one all are listed.", show_default=False),
    ] = None,
    json_: JsonFlag = False,
) -> None:
    """Explain the code of a problem or a failure, with an example that is wrong and one that is right."""
    known = explanations()
    if code is None:
        _list(list(known.values()), json_)
        return
    found = known.get(code.strip().upper())
    if found is None:
        near = difflib.get_close_matches(code.upper(), known, n=1)
        raise CliError(
            f"there is no code {code!r}",
            code="CODE_NOT_FOUND",
            resolution=f"Did you mean {near[0]}?" if near else "List all: cadre explain",
        )
    if json_:
        print_json(asdict(found))
        return
    _show(found)


def fix(
    file: WorkflowFile,
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; end with 2 if there is what to change.")
    ] = False,
    json_: JsonFlag = False,
) -> None:
    """Mend what is surely meant otherwise in a workflow file: misspelt names, old names, missing quotes.

    Shows what changed. Ends with 2 when errors are left that only the author can mend.
    """
    source = read_text(file)
    with gateway() as client:
        text, done, left = mended(source, client.validate)
    if text != source and not check:
        replace_text(file, text)
    if json_:
        print_json(_document(done, left))
    elif str(file) != "-" or check:
        _show_mended(source, text, done, left, str(file))
    refused = (check and bool(done)) or not left.valid
    raise typer.Exit(ExitStatus.REFUSED if refused else ExitStatus.SUCCEEDED)


def _list(all_of_them: list[Explanation], json_: bool) -> None:
    if json_:
        print_json({"codes": [asdict(each) for each in all_of_them]})
        return
    rows = [
        (each.code, escape(each.meaning.partition(". ")[0].rstrip("."))) for each in all_of_them
    ]
    print_table(["Code", "What it says"], rows, empty="There are no codes.")


def _show(found: Explanation) -> None:
    console = output()
    console.print(found.code, style="bold")
    console.print(found.meaning, markup=False)
    for title, example, colour in (
        ("Wrong:", found.wrong, "red"),
        ("Right:", found.right, "green"),
    ):
        if example:
            console.print(f"\n{title}", style=colour)
            for line in example.splitlines():
                console.print(f"  {line}", markup=False, soft_wrap=True)


def _show_mended(
    source: str, text: str, done: list["Problem"], left: "Validation", file: str
) -> None:
    changes = lines_changed(source, text, names=(file, f"{file} (mended)"))
    show_changes(changes, empty=f"There is nothing to change in {file}.")
    for problem in done:
        errors().print(f"{problem.code} {problem.message}", markup=False, style="green")
    problems.show(left.problems, source=text, file=file)


def _document(done: list["Problem"], left: "Validation") -> dict[str, object]:
    return {
        "changed": bool(done),
        "fixes": [
            {**problems.document(problem), "fix": problem.fix.model_dump()}
            for problem in done
            if problem.fix is not None
        ],
        "valid": left.valid,
        "problems": problems.documents(left.problems),
    }
