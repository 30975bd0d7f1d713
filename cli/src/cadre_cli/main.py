"""`cadre`: its commands, and the one place where what went wrong becomes a message and an exit status."""

import os
import sys
from collections.abc import Sequence
from importlib import metadata
from typing import Annotated, NoReturn

import typer
from typer.exceptions import TyperException

from cadre_cli.commands import (
    agents,
    audit,
    batches,
    budgets,
    conversations,
    costs,
    explanations,
    files,
    keys,
    mending,
    models,
    platform,
    programs,
    run_files,
    runs,
    schedules,
    telegram,
    testing,
    triggers,
    workflows,
)
from cadre_cli.errors import CliError, ExitStatus
from cadre_cli.screen import print_error, set_wants_json

__all__ = ["app", "main", "run"]

app = typer.Typer(
    name="cadre",
    help="Start the platform and drive it: describe agent workflows in YAML, run them, see what they cost.",
    # Plain help takes half the time that help drawn with Rich does.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.callback(invoke_without_command=True)
def _show_help(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="The version, and nothing else.")
    ] = False,
) -> None:
    if version:
        print(f"cadre {metadata.version('cadre-cli')}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())


platform.add_to(app)
files.add_to(app)
mending.add_to(app)
testing.add_to(app)
runs.add_to(app)
programs.add_to(app)
models.add_to(app)
costs.add_to(app)
audit.add_to(app)
schedules.add_to(app)
app.add_typer(workflows.app, name="workflows")
explanations.add_to(runs.app)
run_files.add_to(runs.app)
app.add_typer(runs.app, name="runs")
app.add_typer(batches.app, name="batches")
app.add_typer(schedules.app, name="schedules")
app.add_typer(triggers.app, name="trigger")
app.add_typer(telegram.app, name="telegram")
app.add_typer(agents.app, name="agents")
app.add_typer(budgets.app, name="budgets")
app.add_typer(keys.app, name="keys")
app.add_typer(conversations.app, name="memory")


def main() -> NoReturn:
    """Runs the command of this process's arguments and ends the process with its exit status."""
    try:
        status = run(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read the output has enough. Python would complain at exit about what is still to be flushed.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = ExitStatus.FAILED
    sys.exit(status)


def run(arguments: Sequence[str]) -> int:
    """Runs one command and returns its exit status. No error but a broken pipe leaves it, and no traceback."""
    set_wants_json("--json" in arguments)
    try:
        return int(app(list(arguments), standalone_mode=False) or 0)
    except CliError as error:
        print_error(error)
        return error.exit_status
    except TyperException as error:
        print_error(_usage_error(error))
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return ExitStatus.CANCELLED
    except BrokenPipeError:
        raise
    except Exception as error:
        if os.environ.get("CADRE_DEBUG"):
            raise
        if isinstance(error, UnicodeEncodeError) and not all(map(_is_text, arguments)):
            print_error(_NOT_TEXT)
            return _NOT_TEXT.exit_status
        print_error(_our_mistake(error))
        return ExitStatus.FAILED


_NOT_TEXT = CliError(
    "an argument is not text: its bytes are no UTF-8",
    code="INPUT_INVALID",
    resolution="Write it in UTF-8, or give it by a file.",
)


def _is_text(argument: str) -> bool:
    # A name of a file need not be, so that this is looked at only where something could not be sent.
    return not any("\ud800" <= character <= "\udfff" for character in argument)


def _usage_error(error: TyperException) -> CliError:
    return CliError(
        error.format_message(),
        code="USAGE",
        resolution="Add --help to the command to see what it takes.",
    )


def _our_mistake(error: Exception) -> CliError:
    return CliError(
        f"cadre itself failed ({type(error).__name__})",
        code="INTERNAL",
        resolution="Set CADRE_DEBUG=1 to see where, and report it.",
    )
