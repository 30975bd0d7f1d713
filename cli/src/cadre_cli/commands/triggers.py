"""What starts runs from outside: tried without a provider, looked at, and mended where it failed."""

import time
from enum import Enum
from typing import TYPE_CHECKING, Annotated

import typer

from cadre_cli import following
from cadre_cli.errors import CliError, ExitStatus
from cadre_cli.groups import group
from cadre_cli.options import JsonFlag
from cadre_cli.screen import errors, escape, output, print_json, print_table
from cadre_cli.session import gateway
from cadre_cli.words import as_text, moment

if TYPE_CHECKING:
    from cadre_client import Client, Delivery

__all__ = ["app"]

app = group("Try triggers, and see what came from outside and what failed of it.")

_START_SECONDS = 30.0
_LOOK_SECONDS = 0.1
_SHOWN = 2_000
_COLOURS = {"started": "green", "ended": "green", "parked": "red", "discarded": "dim"}
DeliveryId = Annotated[str, typer.Argument(help="The delivery's id.", show_default=False)]


class Status(Enum):
    """Where a delivery stands."""

    RECEIVED = "received"
    STARTED = "started"
    ENDED = "ended"
    PARKED = "parked"
    DISCARDED = "discarded"


@app.command(
    epilog='Examples: cadre trigger send webhook triage \'{"message": "hello"}\' · '
    "cadre trigger send telegram helper 'Is it on?'"
)
def send(
    kind: Annotated[
        str,
        typer.Argument(
            help="Which kind: webhook, telegram, whatsapp, slack, email.", show_default=False
        ),
    ],
    name: Annotated[
        str,
        typer.Argument(
            help="The workflow of a webhook; the name of a bot, number, app or mailbox.",
            show_default=False,
        ),
    ],
    text: Annotated[
        str, typer.Argument(help="The message; a webhook's JSON body.", show_default=False)
    ],
    detach: Annotated[
        bool, typer.Option("--detach", help="Do not wait for the run's end.")
    ] = False,
    json_: JsonFlag = False,
) -> None:
    """Send a signed delivery to the local gateway, as the provider would, and follow the run that it starts.

    Needs no account and no network. The provider is sent nothing: the run's end is shown here, and of a message that
    asks for no run, such as /status, the delivery without the words that answer it.
    """
    with gateway() as client:
        delivery = _started(client, _kept(client.send_sample(client.sample(kind, name, text))))
        if not delivery.run_id:
            _show(delivery, json_)
            return
        if not json_:
            errors().print(f"Run {delivery.run_id}, by delivery {delivery.id}", highlight=False)
        if not detach:
            following.show_end(client, delivery.run_id, json_)
        elif json_:
            print_json(delivery.model_dump(mode="json"))


@app.command(epilog="Example: cadre trigger sources --json")
def sources(json_: JsonFlag = False) -> None:
    """List the triggers of all applied workflows, with the address of each."""
    with gateway() as client:
        found = client.triggers()
    if json_:
        print_json({"triggers": [one.model_dump(mode="json") for one in found]})
        return
    print_table(
        ["Kind", "Address", "Workflow", "Command", "Reply", "State"],
        [
            (
                one.kind,
                escape(one.address),
                escape(one.workflow),
                escape(one.command or "-"),
                escape(one.reply or "-"),
                "[green]on[/]" if one.enabled else "[yellow]off[/]",
            )
            for one in found
        ],
        empty="No applied workflow has a trigger for what comes from outside. See docs/triggers.md.",
    )


@app.command("list", epilog="Examples: cadre trigger list · cadre trigger list --status parked")
def list_deliveries(
    status: Annotated[
        Status | None, typer.Option(help="Only those in this status.", show_default=False)
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(help="Only from here, such as telegram/helper.", show_default=False),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most this many.")] = 50,
    json_: JsonFlag = False,
) -> None:
    """List what came from outside, newest first."""
    with gateway() as client:
        found = client.deliveries(status.value if status else None, source, limit=limit)
    if json_:
        print_json({"deliveries": [one.model_dump(mode="json") for one in found]})
        return
    print_table(
        ["Delivery", "From", "Workflow", "Received", "Status", "Why"],
        [
            (
                one.id,
                escape(one.source),
                escape(one.workflow),
                moment(one.received_time),
                _coloured(one.status),
                escape(one.error.code if one.error else ""),
            )
            for one in found
        ],
        empty="Nothing came yet. Try a trigger: cadre trigger send webhook NAME '{}'",
    )


@app.command(epilog="Example: cadre trigger show 01JD2N3Q8ZC4R6T8V0X2Z4B6D8")
def show(delivery_id: DeliveryId, json_: JsonFlag = False) -> None:
    """Show a delivery: what came, its run, what was sent for it, and what failed."""
    with gateway() as client:
        found = client.delivery(delivery_id)
    _show(found, json_)


@app.command(epilog="Example: cadre trigger replay 01JD2N3Q8ZC4R6T8V0X2Z4B6D8")
def replay(delivery_id: DeliveryId, json_: JsonFlag = False) -> None:
    """Let a parked delivery go on from where it failed."""
    with gateway() as client:
        found = client.replay_delivery(delivery_id)
    _show(found, json_)


@app.command(epilog="Example: cadre trigger discard 01JD2N3Q8ZC4R6T8V0X2Z4B6D8")
def discard(delivery_id: DeliveryId, json_: JsonFlag = False) -> None:
    """Give a parked delivery up."""
    with gateway() as client:
        found = client.discard_delivery(delivery_id)
    _show(found, json_)


def _kept(delivery: "Delivery | None") -> "Delivery":
    if delivery is None:
        raise CliError(
            "the message asks for nothing, so nothing is kept of it",
            code="NOTHING_ASKED",
            resolution="Send one with words in it, that is meant for the bot.",
        )
    return delivery


def _started(client: "Client", delivery: "Delivery") -> "Delivery":
    """The delivery once its run is started. Raises CliError with what keeps it from being started."""
    deadline = time.monotonic() + _START_SECONDS
    while delivery.status == "received" and time.monotonic() < deadline:
        time.sleep(_LOOK_SECONDS)
        delivery = client.delivery(delivery.id)
    if delivery.status not in ("received", "parked"):
        return delivery
    error = delivery.error
    raise CliError(
        error.message if error else "the delivery was accepted, and its run is not started yet",
        code=error.code if error else "NOT_STARTED",
        resolution=(error.resolution if error else "")
        or f"`cadre trigger show {delivery.id}` says more.",
        exit_status=ExitStatus.FAILED,
    )


def _show(found: "Delivery", json_: bool) -> None:
    if json_:
        print_json(found.model_dump(mode="json"))
        return
    details = {
        "Delivery": found.id,
        "From": f"{found.source}, there called {found.key}",
        "Workflow": f"{found.workflow} version {found.version}"
        if found.version
        else found.workflow,
        "Run": _run(found),
        "Received": moment(found.received_time),
        "Status": found.status,
        **({"Next try": moment(found.next_time)} if found.next_time else {}),
        **({"Why": f"{found.error.message} ({found.error.code})"} if found.error else {}),
        **(
            {"What to do": found.error.resolution} if found.error and found.error.resolution else {}
        ),
        **{f"Came: {name}": _cut(as_text(value)) for name, value in (found.content or {}).items()},
    }
    for name, value in details.items():
        output().print(f"[dim]{escape(name)}:[/] {escape(value)}", highlight=False)
    for reply in found.replies:
        why = f": {reply.error.message}" if reply.error and reply.status != "sent" else ""
        known = f", {reply.receipt}" if reply.receipt else ""
        said = f"Reply {reply.id} {reply.status}{known}, {reply.tries} tries{why}"
        output().print(escape(said), highlight=False)


def _cut(text: str) -> str:
    """Files that came along are longer than anybody reads; `--json` has all."""
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(text)} characters)"


def _run(found: "Delivery") -> str:
    if found.batch_id:
        return f"batch {found.batch_id}"
    if not found.run_id:
        return "none is asked for"
    return found.run_id if found.status != "received" else "not started"


def _coloured(status: str) -> str:
    return f"[{_COLOURS.get(status, 'cyan')}]{status}[/]"
