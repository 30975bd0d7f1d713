"""Conversations and the facts that were learned from them: the rest of `cadre memory`."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cadre_cli.commands.memories import Asked, Namespace, app, in_utc
from cadre_cli.options import JsonFlag
from cadre_cli.screen import errors, escape, output, print_json, print_table
from cadre_cli.session import gateway
from cadre_cli.words import as_text, moment

if TYPE_CHECKING:
    from cadre_client import MemoryItem

__all__ = ["app"]

# Where memory keeps what a model has yet to do, or could not.
_WORK = ["cadre", "work"]


@app.command(epilog="Example: cadre memory facts user/ada --asked 2023-04-01")
def facts(namespace: Namespace, asked: Asked = None, json_: JsonFlag = False) -> None:
    """List the facts that were learned from a conversation, or those of them that held at a time; and what a model has
    yet to do for it, or could not."""
    with gateway() as client:
        found = client.list_memories([*namespace.split("/"), "facts"], limit=1000, tags=["fact"])
        work = client.list_memories(_WORK, limit=1000, metadata={"conversation": namespace})
    when = in_utc(asked)
    shown = [fact for fact in found if when is None or fact.holds(when)]
    if json_:
        facts_found, left = (
            [each.model_dump(mode="json") for each in all_] for all_ in (shown, work)
        )
        print_json({"facts": facts_found, "work": left})
        return
    print_table(
        ["Fact", "From", "Until", "Key"],
        [
            (
                escape(as_text(fact.value)),
                moment(fact.valid_from),
                moment(fact.valid_to),
                escape(fact.key),
            )
            for fact in shown
        ],
        empty="No facts were learned there.",
    )
    for each in work:
        errors().print(_work_line(each), markup=False, highlight=False, soft_wrap=True)


def _work_line(work: "MemoryItem") -> str:
    """What a model has yet to do for a conversation, or could not."""
    doing = "Learning from it" if "learn/" in work.key else "Summing it up"
    told = work.metadata
    reason = f" {told['code']}: {told.get('reason')}" if told.get("code") else ""
    if told.get("state") == "failed":
        return f"{doing} failed; what was said is kept.{reason}"
    return f"{doing} is under way." + (f" It failed, and is tried again.{reason}" if reason else "")


@app.command(epilog="Example: cadre memory conversations user")
def conversations(
    namespace: Namespace,
    limit: Annotated[int, typer.Option(min=1, help="At most this many.")] = 100,
    json_: JsonFlag = False,
) -> None:
    """List the conversations at and below a namespace."""
    with gateway() as client:
        found = client.conversations(namespace.split("/"), limit=limit)
    if json_:
        print_json({"conversations": [each.model_dump(mode="json") for each in found]})
        return
    print_table(
        ["Conversation", "Newest message", "Said"],
        [
            (escape("/".join(c.namespace)), escape(c.newest.text), moment(c.newest.time))
            for c in found
        ],
        empty="There are no conversations there.",
    )


@app.command(epilog="Example: cadre memory messages user/ada --tokens 500 --summary")
def messages(
    namespace: Namespace,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most this many.")] = 100,
    tokens: Annotated[
        int, typer.Option(min=0, help="At most about this many tokens; 0 means any.")
    ] = 0,
    summary: Annotated[
        bool, typer.Option("--summary", help="Begin with the summary of what is left out.")
    ] = False,
    json_: JsonFlag = False,
) -> None:
    """Print the newest messages of a conversation."""
    with gateway() as client:
        found = client.messages(
            namespace.split("/"), limit=limit, max_tokens=tokens, with_summary=summary
        )
    if json_:
        print_json(found.model_dump(mode="json"))
        return
    rows = [("–", "summary", escape(found.summary.text))] if found.summary else []
    rows += [(moment(m.time), escape(m.name or m.role), escape(m.text)) for m in found.messages]
    print_table(["Said", "By", "Text"], rows, empty="Nothing was said there.")


@app.command(epilog="Example: cadre memory append user/ada 'I moved to Berlin in May' --learn")
def append(
    namespace: Namespace,
    text: Annotated[str, typer.Argument(help="What is said.", show_default=False)],
    role: Annotated[str, typer.Option(help="user, assistant, system or tool.")] = "user",
    name: Annotated[str, typer.Option(help="Who says it.")] = "",
    learn: Annotated[
        bool, typer.Option("--learn", help="Have a model learn facts from it afterwards.")
    ] = False,
    summary_tokens: Annotated[
        int,
        typer.Option(min=0, help="Have older messages summed up above so many tokens; 0: never."),
    ] = 0,
    json_: JsonFlag = False,
) -> None:
    """Add a message to the end of a conversation."""
    said: dict[str, Any] = {"role": role, "name": name, "text": text}
    with gateway() as client:
        position = client.append_messages(
            namespace.split("/"), [said], learn=learn, summary_tokens=summary_tokens
        )
    if json_:
        print_json({"position": position})
        return
    output().print(f"it is message {position}", markup=False, highlight=False)
