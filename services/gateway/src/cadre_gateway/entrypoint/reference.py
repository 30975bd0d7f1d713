"""The page that shows the API to people, made from its OpenAPI description; no script, nothing from the network."""

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

__all__ = ["reference_page"]

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
code { font: 0.9em ui-monospace, monospace; }
summary { cursor: pointer; padding: 0.3rem 0; }
summary b { display: inline-block; width: 4.5rem; }
table { border-collapse: collapse; margin: 0.5rem 0 1rem 4.5rem; }
td { border-top: 1px solid #8884; padding: 0.2rem 0.8rem 0.2rem 0; vertical-align: top; }
p { margin: 0.3rem 0 0.3rem 4.5rem; }
h1 + p { margin-left: 0; }
@media (prefers-color-scheme: dark) { body { background: #111; color: #ddd; } a { color: #8cf; } }
"""

Spec = Mapping[str, Any]


def reference_page(spec: Spec) -> str:
    """The whole page."""
    info = spec["info"]
    operations = "".join(_operations(spec))
    documents = "".join(_documents(spec))
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(info['title'])}</title>"
        f"<meta name=viewport content='width=device-width'><style>{_STYLE}</style>"
        f"<h1>{escape(info['title'])} {escape(info['version'])}</h1><p>{escape(info['description'])} "
        f"For programs: <a href=/openapi.json>openapi.json</a>.</p>"
        f"<h2>Requests</h2>{operations}<h2>Documents</h2>{documents}</html>"
    )


def _operations(spec: Spec) -> Iterator[str]:
    for path, methods in spec["paths"].items():
        for method, operation in methods.items():
            yield (
                f"<details><summary><b>{method.upper()}</b><code>{escape(path)}</code></summary>"
                f"<p>{escape(operation.get('description', ''))}</p>"
                f"<table>{''.join(_rows(operation))}</table></details>"
            )


def _rows(operation: Spec) -> Iterator[str]:
    for needed in operation.get("security", []):
        scopes = ", ".join(scope for scopes in needed.values() for scope in scopes)
        yield _row("scope", f"needs a key that may {escape(scopes)}")
    for parameter in operation.get("parameters", []):
        about = parameter.get("description") or parameter["schema"].get("description", "")
        yield _row(f"{parameter['name']} ({parameter['in']})", escape(about))
    body = operation.get("requestBody")
    if body:
        yield _row("body", _link(body["content"]) + escape(body.get("description", "")))
    for status, answer in operation["responses"].items():
        yield _row(status, f"{_link(answer.get('content', {}))} {escape(answer['description'])}")


def _documents(spec: Spec) -> Iterator[str]:
    for name, schema in spec["components"]["schemas"].items():
        fields = schema.get("properties", {})
        rows = "".join(_row(field, _field(about)) for field, about in fields.items())
        words = ", ".join(str(word) for word in schema.get("enum", []))
        yield (
            f"<details id={escape(name)}><summary><code>{escape(name)}</code></summary>"
            f"<p>{escape(schema.get('description', ''))} {escape(words)}</p><table>{rows}</table></details>"
        )


def _field(schema: Spec) -> str:
    kinds = ", ".join(_kinds(schema))
    return f"{kinds}. {escape(schema.get('description', ''))}" if kinds else "any"


def _kinds(schema: Spec) -> Iterator[str]:
    if "$ref" in schema:
        yield _anchor(schema["$ref"])
    elif "anyOf" in schema:
        for one in schema["anyOf"]:
            yield from _kinds(one)
    elif schema.get("type") == "array":
        yield f"list of {' or '.join(_kinds(schema.get('items', {}))) or 'anything'}"
    elif "type" in schema:
        yield escape(str(schema.get("format", schema["type"])))


def _link(content: Spec) -> str:
    schemas = [one.get("schema", {}) for one in content.values()]
    return " ".join(_anchor(one["$ref"]) for one in schemas if "$ref" in one)


def _anchor(reference: str) -> str:
    name = escape(reference.rpartition("/")[2])
    return f"<a href='#{name}'>{name}</a>"


def _row(name: str, about: str) -> str:
    return f"<tr><td><code>{escape(name)}</code><td>{about}"
