"""web_search and serper_search: one of four search services, by what the operator has set up."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import httpx2

from cadre_executor.adapters.tools.invocations import Invocation
from cadre_executor.adapters.tools.requests import requested
from cadre_executor.domain.tools import ToolFailed, ToolResult
from cadre_kit.outgoing import Ask, Fetched

__all__ = ["SearchService", "SearchTools", "brave", "searxng", "serper", "tavily"]

_MAX_BYTES = 2 * 1024 * 1024
_SNIPPET_CHARACTERS = 1000
_JSON = {"accept": "application/json", "content-type": "application/json"}


@dataclass(frozen=True, kw_only=True)
class SearchService:
    """How a search service is asked: the request for a query and a count, and where in its answer the results are."""

    name: str
    setting: str
    is_set: bool
    ask: Callable[[str, int], Ask] = field(repr=False)
    results: Callable[[Any], Sequence[Any]]
    keys: tuple[str, str, str]


def searxng(url: str) -> SearchService:
    """A SearXNG server, with its JSON format enabled."""

    def ask(query: str, count: int) -> Ask:
        parameters = urlencode({"q": query, "format": "json"})
        return Ask(url=f"{url.rstrip('/')}/search?{parameters}", headers=_JSON)

    return SearchService(
        name="searxng",
        setting="CADRE_SEARXNG_URL",
        is_set=bool(url),
        ask=ask,
        results=lambda document: document["results"],
        keys=("title", "url", "content"),
    )


def brave(key: str, *, url: str = "https://api.search.brave.com") -> SearchService:
    """Brave's search API."""

    def ask(query: str, count: int) -> Ask:
        parameters = urlencode({"q": query, "count": count})
        return Ask(
            url=f"{url}/res/v1/web/search?{parameters}",
            headers={"accept": "application/json", "x-subscription-token": key},
        )

    return SearchService(
        name="brave",
        setting="BRAVE_API_KEY",
        is_set=bool(key),
        ask=ask,
        results=lambda document: document.get("web", {}).get("results", []),
        keys=("title", "url", "description"),
    )


def tavily(key: str, *, url: str = "https://api.tavily.com") -> SearchService:
    """Tavily's search API."""

    def ask(query: str, count: int) -> Ask:
        return Ask(
            url=f"{url}/search",
            method="POST",
            headers=_JSON | {"authorization": f"Bearer {key}"},
            body=json.dumps({"query": query, "max_results": count}).encode(),
        )

    return SearchService(
        name="tavily",
        setting="TAVILY_API_KEY",
        is_set=bool(key),
        ask=ask,
        results=lambda document: document["results"],
        keys=("title", "url", "content"),
    )


def serper(key: str, *, url: str = "https://google.serper.dev") -> SearchService:
    """Google's results by serper.dev."""

    def ask(query: str, count: int) -> Ask:
        return Ask(
            url=f"{url}/search",
            method="POST",
            headers=_JSON | {"x-api-key": key},
            body=json.dumps({"q": query, "num": count}).encode(),
        )

    return SearchService(
        name="serper",
        setting="SERPER_API_KEY",
        is_set=bool(key),
        ask=ask,
        results=lambda document: document.get("organic", []),
        keys=("title", "link", "snippet"),
    )


class SearchTools:
    """Searches with the service that a node names, else with the first that is set up."""

    def __init__(self, client: httpx2.AsyncClient, services: Sequence[SearchService]) -> None:
        self._client = client
        self._services: Mapping[str, SearchService] = {s.name: s for s in services}

    async def search(self, asked: Invocation) -> ToolResult:
        """web_search."""
        return await self._with(self._chosen(asked.config.get("provider", "")), asked)

    async def search_serper(self, asked: Invocation) -> ToolResult:
        """serper_search."""
        return await self._with(self._chosen("serper"), asked)

    def lacks(self, name: str) -> str:
        """Which setting is missing for a service, or for any when no name is given; empty when none is."""
        try:
            self._chosen(name)
        except ToolFailed as failed:
            return f"{failed.message}. {failed.resolution}"
        return ""

    def _chosen(self, name: str) -> SearchService:
        asked = [self._services[name]] if name else list(self._services.values())
        for service in asked:
            if service.is_set:
                return service
        settings = " or ".join(service.setting for service in asked)
        raise ToolFailed(
            f"no search service is set up: {settings} is missing",
            code="SEARCH_NOT_SET_UP",
            resolution=f"Set {settings} for the executor, and start it again.",
            metadata={"settings": settings},
        )

    async def _with(self, service: SearchService, asked: Invocation) -> ToolResult:
        count = asked.arguments.get("max_results", 5)
        ask = service.ask(asked.arguments["query"], count)
        answer = await requested(
            self._client,
            Ask(
                url=ask.url,
                method=ask.method,
                headers=ask.headers,
                body=ask.body,
                seconds=asked.seconds,
                max_bytes=_MAX_BYTES,
                max_redirects=0,
            ),
        )
        return ToolResult(value={"results": _results(service, answer)[:count]})


def _results(service: SearchService, answer: Fetched) -> list[dict[str, str]]:
    if answer.status != 200:
        raise ToolFailed(
            f"the search service {service.name} answered with status {answer.status}",
            code="SEARCH_FAILED",
            resolution=f"Check {service.setting}, and what is left of its quota.",
            metadata={"service": service.name, "status": str(answer.status)},
        )
    title, url, snippet = service.keys
    try:
        found = service.results(json.loads(answer.body))
        return [
            {
                "title": str(result.get(title) or ""),
                "url": str(result[url]),
                "snippet": str(result.get(snippet) or "")[:_SNIPPET_CHARACTERS],
            }
            for result in found
        ]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as exc:
        raise ToolFailed(
            f"the search service {service.name} answered with what is no list of results",
            code="SEARCH_FAILED",
            metadata={"service": service.name},
        ) from exc
