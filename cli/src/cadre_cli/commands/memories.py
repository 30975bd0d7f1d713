"""Reads and writes what agents remember."""

import io
import json
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cadre_cli.errors import CliError
from cadre_cli.groups import group
from cadre_cli.options import JsonFlag, json_of, read_text
from cadre_cli.screen import errors, escape, output, print_json, print_table
from cadre_cli.session import gateway
from cadre_cli.words import as_text, moment

if TYPE_CHECKING:
    from cadre_client import MemoryHit, MemoryItem

__all__ = ["Asked", "Namespace", "app", "in_utc"]

_AT_ONCE = 500

app = group("Read and write what agents remember.")
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

_DAYS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"]
Meta = Annotated[
    list[str] | None,
    typer.Option(
        "--meta",
        metavar="NAME=VALUE",
        help="Only with this in its metadata, such as kind=fact; give it once for each.",
        show_default=False,
    ),
]
Since = Annotated[
    datetime | None, typer.Option(help="Only what was said, or stored, since.", formats=_DAYS)
]
Before = Annotated[
    datetime | None, typer.Option(help="Only what was said, or stored, before.", formats=_DAYS)
]
Asked = Annotated[
    datetime | None,
    typer.Option(
        help="As of when: what did not hold then is left out. UTC unless it says so.",
        formats=_DAYS,
        show_default=False,
    ),
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
    meta: Annotated[
        list[str] | None,
        typer.Option(
            "--meta",
            metavar="NAME=VALUE",
            help="Say this of it; give it once for each.",
            show_default=False,
        ),
    ] = None,
    if_version: Annotated[
        int | None,
        typer.Option(min=0, help="Only over this version; 0: only if there is none."),
    ] = None,
    json_: JsonFlag = False,
) -> None:
    """Store a value, in place of the one with the same key."""
    text = read_text(Path(value[1:])) if value.startswith("@") else value
    with gateway() as client:
        item = client.put_memory(
            namespace.split("/"),
            key,
            _value(text, as_json),
            ttl_seconds=ttl,
            tags=tag or (),
            metadata=_named(meta or ()),
            if_version=if_version,
        )
    if json_:
        print_json(item.model_dump(mode="json"))
        return
    output().print(f"{key} is stored (version {item.version})", markup=False, highlight=False)


@app.command("import", epilog="Example: cadre memory import team/facts facts.jsonl")
def import_items(
    namespace: Namespace,
    file: Annotated[
        Path, typer.Argument(help="A JSON document a line; - reads stdin.", show_default=False)
    ],
    json_: JsonFlag = False,
) -> None:
    """Store many values, one a line: {"key": ..., "value": ...}, which may have tags, metadata, ttl_seconds and
    if_version.

    500 lines at a time are stored, all or none of them; of one that is refused is said how many were stored before.
    """
    # Only a line feed ends a line: str.splitlines would also break at U+2028 within a value.
    lines = enumerate(io.StringIO(read_text(file)), 1)
    puts = [{"put": _read(number, line, namespace)} for number, line in lines]
    stored = 0
    try:
        with gateway() as client:
            for start in range(0, len(puts), _AT_ONCE):
                stored += len(client.batch_memories(puts[start : start + _AT_ONCE]))
    except CliError as error:
        error.details += (f"stored before: {stored} lines",)
        raise
    if json_:
        print_json({"stored": stored})
        return
    output().print(f"{stored} stored", markup=False, highlight=False)


@app.command("export", epilog="Example: cadre memory export team/facts > facts.jsonl")
def export_items(namespace: Namespace) -> None:
    """Print a namespace's values, one a line, as `cadre memory import` reads them.

    Versions, and when they are forgotten, are left out, and so are namespaces below. All of a memory, with versions,
    is exported on its machine by `python -m cadre_memory export`.
    """
    with gateway() as client:
        for item in client.list_memories(namespace.split("/"), limit=sys.maxsize):
            kept = item.model_dump(mode="json", include={"key", "value", "tags", "metadata"})
            print(json.dumps(kept, ensure_ascii=False))


@app.command(epilog="Example: cadre memory get team/facts office --version 1")
def get(
    namespace: Namespace,
    key: Key,
    version: Annotated[
        int, typer.Option(min=0, help="As of this version; 0 means the newest.")
    ] = 0,
    json_: JsonFlag = False,
) -> None:
    """Print a value."""
    with gateway() as client:
        item = client.get_memory(namespace.split("/"), key, version)
    if json_:
        print_json(item.model_dump(mode="json"))
        return
    output().print(as_text(item.value), markup=False, highlight=False, soft_wrap=True)


@app.command(
    "list",
    epilog="Examples: cadre memory list team/facts --prefix off · cadre memory list user/ada/facts --meta kind=fact",
)
def list_items(
    namespace: Namespace,
    prefix: Annotated[str, typer.Option(help="Only keys that begin so.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="At most this many.")] = 100,
    tag: Tags = None,
    meta: Meta = None,
    since: Since = None,
    before: Before = None,
    json_: JsonFlag = False,
) -> None:
    """List the values of a namespace by key; namespaces below it are left out."""
    with gateway() as client:
        items = client.list_memories(
            namespace.split("/"),
            key_prefix=prefix,
            limit=limit,
            tags=tag or (),
            metadata=_named(meta or ()),
            since=in_utc(since),
            before=in_utc(before),
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
    window: Annotated[
        int, typer.Option(min=0, max=10, help="Messages to show before and after each message.")
    ] = 0,
    asked: Asked = None,
    tag: Tags = None,
    meta: Meta = None,
    since: Since = None,
    before: Before = None,
    json_: JsonFlag = False,
) -> None:
    """Find the values in a namespace, and below it, that match a question best."""
    with gateway() as client:
        found = client.search_memories(
            namespace.split("/"),
            query,
            top_k=top,
            mode=mode,
            tags=tag or (),
            metadata=_named(meta or ()),
            since=in_utc(since),
            before=in_utc(before),
            window=window,
            asked=in_utc(asked),
        )
    if json_:
        print_json(found.model_dump(mode="json"))
        return
    if found.without_meaning:
        errors().print(
            f"Only words were searched, not meaning: {found.without_meaning}.",
            markup=False,
            highlight=False,
        )
    print_table(
        ["Score", "Words", "Meaning", "Namespace", "Key", "Matched text"],
        [row for hit in found.hits for row in _hit_rows(hit)],
        empty="Nothing matches.",
    )


@app.command(epilog="Example: cadre memory namespaces user")
def namespaces(namespace: Namespace, json_: JsonFlag = False) -> None:
    """List the namespaces that hold something, at and below one."""
    with gateway() as client:
        found = client.memory_namespaces(namespace.split("/"))
    if json_:
        print_json({"namespaces": found})
        return
    rows = [(escape("/".join(each)),) for each in found]
    print_table(["Namespace"], rows, empty="Nothing is stored there.")


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
    epilog="Examples: cadre memory forget user/ada --tag draft · cadre memory forget user/ada --meta kind=fact"
)
def forget(
    namespace: Namespace,
    tag: Tags = None,
    meta: Meta = None,
    since: Since = None,
    before: Before = None,
    everything: Annotated[
        bool, typer.Option("--everything", help="Forget all of the namespace.")
    ] = False,
    json_: JsonFlag = False,
) -> None:
    """Forget for good what passes all conditions, in a namespace and below it."""
    with gateway() as client:
        forgotten = client.forget_memories(
            namespace.split("/"),
            tags=tag or (),
            metadata=_named(meta or ()),
            since=in_utc(since),
            before=in_utc(before),
            everything=everything,
        )
    if json_:
        print_json({"forgotten": forgotten})
        return
    output().print(f"{forgotten} forgotten", markup=False, highlight=False)


def _read(number: int, text: str, namespace: str) -> dict[str, Any]:
    try:
        found = json_of(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise CliError(
            f"line {number} is not a JSON object",
            code="INPUT_INVALID",
            resolution='Write each line like {"key": "office", "value": "Berlin"}.',
        )
    return {**found, "namespace": namespace.split("/")}


def _named(pairs: Sequence[str]) -> dict[str, Any]:
    """Names and values; a value that is no JSON is text."""
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise CliError(
                f"--meta {pair!r} names no value",
                code="INPUT_INVALID",
                resolution="Write --meta NAME=VALUE, such as --meta kind=fact.",
            )
        try:
            found[name] = json_of(text)
        except ValueError:
            found[name] = text
    return found


def in_utc(moment: datetime | None) -> datetime | None:
    """A moment as it was given, in UTC where it names no zone."""
    return moment and (moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def _hit_rows(hit: "MemoryHit") -> Iterator[tuple[str, ...]]:
    """A hit with its score and the parts of it; then the messages around it."""
    scores = (hit.score, hit.text_score, hit.vector_score)
    where = escape("/".join(hit.item.namespace))
    yield (*(f"{s:.2f}" for s in scores), where, escape(hit.item.key), escape(hit.matched_text))
    for each in hit.neighbours:
        said = escape(f"{each.name or each.role}: {each.text}")
        yield ("", "", "", "", f"  message {each.position}", said)


def _value(text: str, as_json: bool) -> Any:
    if not as_json:
        return text
    try:
        return json_of(text)
    except ValueError as exc:
        raise CliError(
            f"the value is not JSON: {exc}",
            code="INPUT_INVALID",
            resolution="Write JSON, or leave --as-json out to store text.",
        ) from exc


def _row(item: "MemoryItem") -> tuple[str, str]:
    return escape(item.key), escape(as_text(item.value))
