"""Reads and writes what agents remember."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cadre_cli.errors import CliError
from cadre_cli.options import JsonFlag, read_text
from cadre_cli.screen import escape, output, print_json, print_table
from cadre_cli.session import gateway
from cadre_cli.words import as_text, moment

if TYPE_CHECKING:
    from cadre_client import MemoryItem

__all__ = ["app"]

app = typer.Typer(help="Read and write what agents remember.")
Namespace = Annotated[
    str,
    typer.Argument(
        help="Where: segments with / between them, as in workflow/triage.", show_default=False
    ),
]
Key = Annotated[str, typer.Argument(help="The value's key.", show_default=False)]

Tags = Annotated[
    list[str] | None,
    typer.Option("--tag", help="A tag; give it once for each.", show_default=False),
]


@app.command(
    epilog="Examples: cadre memory put team/facts office Berlin · cadre memory put team/facts size 12 --as-json"
)
def put(
    namespace: Namespace,
    key: Key,
    value: Annotated[str, typer.Argument(help="Text; @FILE reads a file.", show_default=False)],
    as_json: Annotated[
        bool, typer.Option("--as-json", help="The value is JSON, not text.")
    ] = False,
    ttl: Annotated[
        float | None, typer.Option(metavar="SECONDS", min=0, help="Forget it after this long.")
    ] = None,
    tag: Tags = None,
    json_: JsonFlag = False,
) -> None:
    """Store a value, in place of the one with the same key."""
    text = read_text(Path(value[1:])) if value.startswith("@") else value
    with gateway() as client:
        item = client.put_memory(
            namespace.split("/"), key, _value(text, as_json), ttl_seconds=ttl, tags=tag or ()
        )
    if json_:
        print_json(item.model_dump(mode="json"))
        return
    output().print(f"{key} is stored (version {item.version})", markup=False, highlight=False)


@app.command(epilog="Example: cadre memory get team/facts office")
def get(namespace: Namespace, key: Key, json_: JsonFlag = False) -> None:
    """Print a value."""
    with gateway() as client:
        item = client.get_memory(namespace.split("/"), key)
    if json_:
        print_json(item.model_dump(mode="json"))
        return
    output().print(as_text(item.value), markup=False, highlight=False, soft_wrap=True)


@app.command("list", epilog="Example: cadre memory list team/facts --prefix off")
def list_items(
    namespace: Namespace,
    prefix: Annotated[str, typer.Option(help="Only keys that begin so.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="At most this many.")] = 100,
    tag: Tags = None,
    json_: JsonFlag = False,
) -> None:
    """List the values of a namespace by key; namespaces below it are left out."""
    with gateway() as client:
        items = client.list_memories(
            namespace.split("/"), key_prefix=prefix, limit=limit, tags=tag or ()
        )
    if json_:
        print_json({"items": [item.model_dump(mode="json") for item in items]})
        return
    rows = [(*_row(item), moment(item.updated_time)) for item in items]
    print_table(["Key", "Value", "Stored"], rows, empty="Nothing is stored there.")


@app.command(epilog="Example: cadre memory search team 'where do we work?'")
def search(
    namespace: Namespace,
    query: Annotated[str, typer.Argument(help="What is sought, in words.", show_default=False)],
    top: Annotated[int, typer.Option(min=1, max=200, help="At most this many hits.")] = 10,
    mode: Annotated[
        str, typer.Option(help="hybrid, text (by words) or vector (by meaning).")
    ] = "hybrid",
    tag: Tags = None,
    json_: JsonFlag = False,
) -> None:
    """Find the values in a namespace, and below it, that match a question best."""
    with gateway() as client:
        hits = client.search_memories(
            namespace.split("/"), query, top_k=top, mode=mode, tags=tag or ()
        )
    if json_:
        print_json({"hits": [hit.model_dump(mode="json") for hit in hits]})
        return
    print_table(
        ["Score", "Namespace", "Key", "Value"],
        [
            (f"{hit.score:.2f}", escape("/".join(hit.item.namespace)), *_row(hit.item))
            for hit in hits
        ],
        empty="Nothing matches.",
    )


@app.command(epilog="Example: cadre memory delete team/facts office")
def delete(namespace: Namespace, key: Key, json_: JsonFlag = False) -> None:
    """Forget a value."""
    with gateway() as client:
        deleted = client.delete_memory(namespace.split("/"), key)
    if json_:
        print_json({"deleted": deleted})
        return
    said = "is forgotten" if deleted else "was not stored"
    output().print(f"{key} {said}", markup=False, highlight=False)


@app.command(
    epilog="Examples: cadre memory forget user/ada --tag draft · cadre memory forget user/ada --everything"
)
def forget(
    namespace: Namespace,
    tag: Tags = None,
    everything: Annotated[
        bool, typer.Option("--everything", help="Forget all of the namespace.")
    ] = False,
    json_: JsonFlag = False,
) -> None:
    """Forget for good what has all the tags, in a namespace and below it."""
    with gateway() as client:
        forgotten = client.forget_memories(
            namespace.split("/"), tags=tag or (), everything=everything
        )
    if json_:
        print_json({"forgotten": forgotten})
        return
    output().print(f"{forgotten} forgotten", markup=False, highlight=False)


def _value(text: str, as_json: bool) -> Any:
    if not as_json:
        return text
    try:
        return json.loads(text)
    except ValueError as exc:
        raise CliError(
            f"the value is not JSON: {exc}",
            code="INPUT_INVALID",
            resolution="Write JSON, or leave --as-json out to store text.",
        ) from exc


def _row(item: "MemoryItem") -> tuple[str, str]:
    return escape(item.key), escape(as_text(item.value))
