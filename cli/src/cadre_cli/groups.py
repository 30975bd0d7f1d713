"""Commands that belong together, such as `cadre runs list` and `cadre runs show`."""

import typer

__all__ = ["group"]


def group(description: str) -> typer.Typer:
    """A group of commands, which shows them when none is named."""
    app = typer.Typer(help=description)

    @app.callback(invoke_without_command=True)
    def show_help(context: typer.Context) -> None:
        if context.invoked_subcommand is None:
            print(context.get_help())

    return app
