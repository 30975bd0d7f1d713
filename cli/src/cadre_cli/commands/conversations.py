"""Conversations and the facts that were learned from them: the rest of `cadre memory`."""

from typing import Annotated, Any

import typer

from cadre_cli.commands.memories import Asked, Namespace, app, in_utc
from cadre_cli.options import JsonFlag
from cadre_cli.screen import escape, output, print_json, print_table
from cadre_cli.session import gateway
from cadre_cli.words import as_text, moment

__all__ = ["app"]


@app.command(epilog="Example: cadre memory facts user/ada --asked 2023-04-01")
def facts(namespace: Namespace, asked: Asked = None, json_: JsonFlag = False) -> None:
    """List the facts that were learned from a conversation, or those of them that held at a time."""
    with gateway() as client:
        found = client.list_memories([*namespace.split("/"), "facts"], limit=1000, tags=["fact"])
    when = in_utc(asked)
    shown = [fact for fact in found if when is None or fact.holds(when)]
    if json_:
        print_json({"facts": [fact.model_dump(mode="json") for fact in shown]})
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
