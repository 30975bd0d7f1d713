"""http_client and web_scrape: requests to addresses that the operator's rules allow."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import httpx2

from cadre_executor.adapters.tools.invocations import Invocation
from cadre_executor.adapters.tools.requests import requested
from cadre_executor.adapters.tools.secrets import Secrets
from cadre_executor.domain.tools import ToolFailed, ToolResult
from cadre_kit.outgoing import Ask, Fetched

__all__ = ["WebTools"]

_MAX_PAGE_BYTES = 2 * 1024 * 1024
_AGENT = {"user-agent": "Cadre"}
_SHOWN_HEADERS = (
    "content-type",
    "date",
    "etag",
    "last-modified",
    "link",
    "location",
    "retry-after",
)


class WebTools:
    """Makes requests for workflows."""

    def __init__(self, client: httpx2.AsyncClient, secrets: Secrets) -> None:
        self._client = client
        self._secrets = secrets

    async def request(self, asked: Invocation) -> ToolResult:
        """http_client: an answer of any status; a JSON body parsed."""
        arguments, config = asked.arguments, asked.config
        body, headers = _body(arguments)
        answer = await requested(
            self._client,
            Ask(
                url=_with_query(arguments["url"], arguments.get("query", {})),
                method=arguments.get("method", "GET"),
                headers=_AGENT | headers | arguments.get("headers", {}) | self._credentials(asked),
                body=body,
                hosts=frozenset(host.lower() for host in config.get("hosts", ())),
                seconds=asked.seconds,
                max_bytes=config.get("max_bytes", 1_048_576),
            ),
        )
        return ToolResult(value=_shown(answer))

    async def scrape(self, asked: Invocation) -> ToolResult:
        """web_scrape: a page's title and readable text."""
        ask = Ask(
            url=asked.arguments["url"],
            headers=_AGENT | {"accept": "text/html, text/plain"},
            seconds=asked.seconds,
            max_bytes=_MAX_PAGE_BYTES,
        )
        page = await requested(self._client, ask)
        _refuse_failure(page)
        title, text = await asyncio.to_thread(
            _readable, page, asked.arguments.get("format", "text") == "markdown"
        )
        most = asked.arguments.get("max_characters", 20_000)
        value = {"url": page.url, "title": title, "text": text[:most], "cut": len(text) > most}
        return ToolResult(value=value)

    def _credentials(self, asked: Invocation) -> Mapping[str, str]:
        names: Mapping[str, str] = asked.config.get("headers_env", {})
        if names and not asked.config.get("hosts"):
            raise ToolFailed(
                "http_client sends secrets to listed hosts only",
                code="HOSTS_NOT_LISTED",
                resolution="List them in the tool's config: hosts.",
            )
        return {
            header: self._secrets.of(asked.context.workflow, name) for header, name in names.items()
        }


def _body(arguments: Mapping[str, Any]) -> tuple[bytes, dict[str, str]]:
    if "json" in arguments and "body" in arguments:
        raise ToolFailed("a request has json or body, not both", code="BODY_REFUSED")
    if "json" in arguments:
        return json.dumps(arguments["json"]).encode(), {"content-type": "application/json"}
    return arguments.get("body", "").encode(errors="replace"), {}


def _with_query(url: str, query: Mapping[str, Any]) -> str:
    if not query:
        return url
    try:
        return str(httpx2.URL(url).copy_merge_params(dict(query)))
    except (httpx2.InvalidURL, UnicodeError) as exc:
        raise ToolFailed("the address is not valid", code="ADDRESS_INVALID") from exc


def _shown(answer: Fetched) -> dict[str, Any]:
    headers = {name: answer.headers[name] for name in _SHOWN_HEADERS if name in answer.headers}
    shown = {"status": answer.status, "url": answer.url, "headers": headers}
    text = _text(answer)
    if "json" in answer.headers.get("content-type", ""):
        try:
            return {**shown, "json": json.loads(text)}
        except (ValueError, RecursionError):
            return {**shown, "body": text}
    return {**shown, "body": text}


def _text(answer: Fetched) -> str:
    try:
        return answer.body.decode(answer.charset, errors="replace")
    except LookupError:
        return answer.body.decode(errors="replace")


def _refuse_failure(page: Fetched) -> None:
    if page.status >= 400:
        raise ToolFailed(
            f"the page answered with status {page.status}",
            code="PAGE_FAILED",
            metadata={"status": str(page.status)},
        )
    kind = page.headers.get("content-type", "text/html").split(";")[0].strip().lower()
    if not kind.startswith("text/") and "html" not in kind and "xml" not in kind:
        raise ToolFailed(
            f"the page is no text but {kind[:80]!r}",
            code="PAGE_NOT_TEXT",
            resolution="http_client reads JSON.",
            metadata={"kind": kind[:80]},
        )


def _readable(page: Fetched, markdown: bool) -> tuple[str, str]:
    text = _text(page)
    if page.headers.get("content-type", "").startswith("text/plain"):
        return "", text
    # Imported here: it takes long to load, and few workflows read pages.
    import trafilatura

    found = trafilatura.extract(text, url=page.url, output_format="markdown" if markdown else "txt")
    described = trafilatura.extract_metadata(text, default_url=page.url)
    # A page of only links or forms has no article; its text is all there is.
    readable = found or str(trafilatura.html2txt(text)).strip()
    return described.title or "", readable
