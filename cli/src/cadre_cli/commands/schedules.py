"""Starts applied workflows by the clock."""

from enum import Enum
from typing import TYPE_CHECKING, Annotated

import typer

from cadre_cli.groups import group
from cadre_cli.options import InputsFile, InputValues, JsonFlag, Notify, read_inputs, seconds_of
from cadre_cli.screen import escape, output, print_json, print_table
from cadre_cli.session import gateway
from cadre_cli.words import moment, span

if TYPE_CHECKING:
    from cadre_client import Schedule

__all__ = ["add_to", "app"]

app = group("List, pause, resume and delete schedules.")


class CatchUp(Enum):
    """What becomes of times that passed while nothing could start a run."""

    SKIP = "skip"
    LATEST = "latest"
    ALL = "all"


Name = Annotated[str, typer.Argument(help="The schedule's name.", show_default=False)]


def add_to(app: typer.Typer) -> None:
    """Adds the command that stands by itself."""
    app.command(
        epilog="Examples: cadre deploy triage --cron '*/5 * * * *' · "
        "cadre deploy report --cron '0 9 * * 1-5' --timezone Europe/Berlin -i team=support · "
        "cadre deploy sweep --interval 90s --max-concurrent 1 --notify https://example.com/cadre · "
        "cadre deploy bill --rrule 'FREQ=MONTHLY;BYMONTHDAY=-1;BYHOUR=18;BYMINUTE=0;BYSECOND=0' --catch-up latest"
    )(deploy)


def deploy(
    workflow: Annotated[
        str, typer.Argument(help="The applied workflow's name.", show_default=False)
    ],
    cron: Annotated[
        str,
        typer.Option(
            help="When: minute, hour, day of month, month, day of week.", show_default=False
        ),
    ] = "",
    interval: Annotated[
        str,
        typer.Option(
            help="How often: a number and s, m, h or d, such as 90s; from 10s on.",
            show_default=False,
        ),
    ] = "",
    rrule: Annotated[
        str, typer.Option(help="When: one recurrence rule of RFC 5545.", show_default=False)
    ] = "",
    timezone: Annotated[
        str | None, typer.Option(help="Time zone such as Europe/Berlin; UTC if not given.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="The schedule's name; the workflow's if not given.")
    ] = None,
    inputs: InputValues = None,
    inputs_file: InputsFile = None,
    max_concurrent: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=1000,
            help="At most so many of its runs at once; others wait.",
            show_default=False,
        ),
    ] = None,
    catch_up: Annotated[
        CatchUp,
        typer.Option(
            help="Times missed while Prefect was down: skip them, make up for the latest, or for all."
        ),
    ] = CatchUp.SKIP,
    notify: Notify = "",
    json_: JsonFlag = False,
) -> None:
    """Start an applied workflow by the clock: --cron, --interval or --rrule.

    It runs at its newest version. Deploying it again changes the schedule.
    """
    values = read_inputs(inputs, inputs_file)
    if [bool(cron), bool(interval), bool(rrule)].count(True) != 1:
        raise typer.BadParameter("Give exactly one of --cron, --interval and --rrule.")
    seconds = seconds_of(interval) if interval else 0
    with gateway() as client:
        made = client.create_schedule(
            workflow,
            cron,
            interval_seconds=seconds,
            rrule=rrule,
            name=name,
            timezone=timezone,
            inputs=values,
            max_concurrent=max_concurrent or 0,
            catch_up=catch_up.value,
            notify=notify,
        )
    _tell(made, f"will next run {made.workflow} at {moment(made.next_time)}", json_)


@app.command("list", epilog="Example: cadre schedules list --json")
def list_schedules(json_: JsonFlag = False) -> None:
    """List schedules by name, with the time of each one's next run."""
    with gateway() as client:
        found = client.schedules()
    if json_:
        print_json({"schedules": [schedule.model_dump(mode="json") for schedule in found]})
        return
    print_table(
        ["Name", "Workflow", "When", "Time zone", "State", "Next run"],
        [
            (
                escape(schedule.name),
                escape(schedule.workflow),
                escape(clock_in_words(schedule)),
                escape(schedule.timezone),
                "[yellow]paused[/]" if schedule.paused else "[green]active[/]",
                moment(schedule.next_time),
            )
            for schedule in found
        ],
        empty="There are no schedules yet. Make one: cadre deploy NAME --cron '0 9 * * *'",
    )


@app.command(epilog="Example: cadre schedules pause triage")
def pause(name: Name, json_: JsonFlag = False) -> None:
    """Stop a schedule from starting runs."""
    with gateway() as client:
        changed = client.pause_schedule(name)
    _tell(changed, "is paused", json_)


@app.command(epilog="Example: cadre schedules resume triage")
def resume(name: Name, json_: JsonFlag = False) -> None:
    """Let a paused schedule start runs again; times that passed are not made up for."""
    with gateway() as client:
        changed = client.resume_schedule(name)
    _tell(changed, f"will next run {changed.workflow} at {moment(changed.next_time)}", json_)


@app.command(epilog="Example: cadre schedules delete triage")
def delete(name: Name, json_: JsonFlag = False) -> None:
    """Delete a schedule; runs that it started stay."""
    with gateway() as client:
        client.delete_schedule(name)
    if json_:
        print_json({"deleted": name})
        return
    output().print(f"{name} is deleted; its runs stay", markup=False)


def clock_in_words(schedule: "Schedule") -> str:
    """When it is due, as its command line says it."""
    if schedule.interval_seconds:
        return f"every {span(schedule.interval_seconds)}"
    return schedule.cron or schedule.rrule or "never"


def _tell(schedule: "Schedule", what: str, json_: bool) -> None:
    if json_:
        print_json(schedule.model_dump(mode="json"))
        return
    output().print(f"{schedule.name} {what}", markup=False, highlight=False)
