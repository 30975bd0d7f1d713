"""The tools that ask the web, against real servers on loopback."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.website import Website, website
from tests.unit.executor_tools.conftest import Bench, bench_in, context

from cadre_executor.adapters.tools.invocations import Invocation
from cadre_executor.adapters.tools.searches import SearchService, SearchTools, brave, serper, tavily
from cadre_executor.domain.tools import ToolFailed
from cadre_kit.addresses import AddressRules
from cadre_kit.outgoing import outgoing_client

ARTICLE = """<html><head><title>On Rivers</title></head><body><nav><a href="/">Home</a> <a href="/x">Menu</a></nav>
<article><h1>On Rivers</h1><p>The Danube rises in the Black Forest and flows through ten countries to the sea,
which is more than any other river in the world does.</p><p>Ulm lies on it, and has the tallest church of all
the places along its way, built over five hundred years.</p></article>
<script>alert("no")</script><footer>Imprint</footer></body></html>"""
ALLOWED = {"allowed_addresses": "127.0.0.1"}


async def test_a_request_is_made_and_its_json_answer_parsed(tmp_path: Path, site: Website) -> None:
    site.json("/items", {"ok": True}, status=201)
    async with bench_in(tmp_path, **ALLOWED) as bench:
        answer = await bench(
            "http_client",
            url=site.url + "/items?a=1",
            method="POST",
            query={"b": "ä&c"},
            json={"n": 1},
            headers={"X-Trace": "1"},
        )

    assert answer["status"] == 201
    assert answer["json"] == {"ok": True}
    asked = site.asked[0]
    assert (asked.method, asked.path) == ("POST", "/items?a=1&b=%C3%A4%26c")
    assert (json.loads(asked.body), asked.headers["x-trace"]) == ({"n": 1}, "1")


async def test_a_failed_status_is_an_answer_and_text_stays_text(
    tmp_path: Path, site: Website
) -> None:
    site.page("/gone", "bye", status=410, kind="text/plain")
    async with bench_in(tmp_path, **ALLOWED) as bench:
        answer = await bench("http_get", url=site.url + "/gone")

    assert (answer["status"], answer["body"]) == (410, "bye")


@pytest.mark.parametrize("tool", ["http_client", "web_scrape", "http_post"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0x7f.1"])
async def test_this_machine_is_out_of_reach(
    bench: Bench, site: Website, tool: str, host: str
) -> None:
    with pytest.raises(ToolFailed) as refused:
        await bench(tool, url=f"http://{host}:{site.port}/")

    assert refused.value.code == "ADDRESS_REFUSED"
    assert "CADRE_ALLOWED_ADDRESSES" in refused.value.resolution
    assert site.connections == 0


async def test_a_secret_goes_to_listed_hosts_only(tmp_path: Path, site: Website) -> None:
    site.page("/", "ok")
    config = {"headers_env": {"Authorization": "WIKI"}, "hosts": ["127.0.0.1"]}
    listed = context(secrets=("WIKI",))
    async with bench_in(tmp_path, variables={"WIKI": "s3cret"}, **ALLOWED) as bench:
        await bench("http_client", url=site.url + "/", config=config, context=listed)
        for wrong, code in (
            ({**config, "hosts": ["example.org"]}, "HOST_NOT_LISTED"),
            ({"headers_env": config["headers_env"]}, "HOSTS_NOT_LISTED"),
        ):
            with pytest.raises(ToolFailed) as refused:
                await bench("http_client", url=site.url + "/", config=wrong, context=listed)
            assert refused.value.code == code
            assert "s3cret" not in str(refused.value)

    assert [asked.headers["authorization"] for asked in site.asked] == ["s3cret"]


async def test_a_page_becomes_readable_text(tmp_path: Path, site: Website) -> None:
    site.page("/rivers", ARTICLE)
    async with bench_in(tmp_path, **ALLOWED) as bench:
        page = await bench("web_scrape", url=site.url + "/rivers")
        marked = await bench("web_scrape", url=site.url + "/rivers", format="markdown")
        cut = await bench("web_scrape", url=site.url + "/rivers", max_characters=10)

    assert page["title"] == "On Rivers"
    assert "The Danube rises" in page["text"]
    assert "alert" not in page["text"]
    assert "Imprint" not in page["text"]
    assert "# On Rivers" in marked["text"]
    assert (len(cut["text"]), cut["cut"]) == (10, True)


@pytest.mark.parametrize(
    "body", ["", "<a href=x>only</a>", "<p>" * 50_000, "\x00\x01<<<>>", "plain"]
)
async def test_a_page_without_an_article_still_answers(
    tmp_path: Path, site: Website, body: str
) -> None:
    site.page("/", body)
    async with bench_in(tmp_path, **ALLOWED) as bench:
        page = await bench("web_scrape", url=site.url + "/")

    assert isinstance(page["text"], str)


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [("application/pdf", 200, "PAGE_NOT_TEXT"), ("text/html", 503, "PAGE_FAILED")],
)
async def test_what_is_no_page_is_said(
    tmp_path: Path, site: Website, kind: str, status: int, code: str
) -> None:
    site.page("/", "x", kind=kind, status=status)
    async with bench_in(tmp_path, **ALLOWED) as bench:
        with pytest.raises(ToolFailed) as refused:
            await bench("web_scrape", url=site.url + "/")

    assert refused.value.code == code


async def test_a_host_that_never_answers_ends_in_time_and_when_cancelled(
    tmp_path: Path, site: Website
) -> None:
    site.hang = True
    async with bench_in(tmp_path, **ALLOWED) as bench:
        with pytest.raises(ToolFailed) as late:
            await bench("http_get", url=site.url, seconds=0.3)
        call = asyncio.create_task(bench("http_get", url=site.url))
        await site.was_asked.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(call, 2)

    assert late.value.code in ("DEADLINE_EXCEEDED", "TOOL_TIMEOUT")


async def test_searxng_may_be_on_this_machine(tmp_path: Path, site: Website) -> None:
    found = [{"title": f"t{i}", "url": f"u{i}", "content": "c" * 2000} for i in range(9)]
    site.json("/search", {"results": found})
    async with bench_in(tmp_path, searxng_url=site.url + "/") as bench:
        answer = await bench("web_search", query="who & what", max_results=2)
        with pytest.raises(ToolFailed, match="loopback"):
            await bench("http_get", url=site.url)

    assert [result["url"] for result in answer["results"]] == ["u0", "u1"]
    assert len(answer["results"][0]["snippet"]) == 1000
    assert site.asked[0].path == "/search?q=who+%26+what&format=json"


SERVICES: list[tuple[Any, str, dict[str, Any], str]] = [
    (
        brave,
        "/res/v1/web/search",
        {"web": {"results": [{"title": "T", "url": "U", "description": "S"}]}},
        "x-subscription-token",
    ),
    (tavily, "/search", {"results": [{"title": "T", "url": "U", "content": "S"}]}, "authorization"),
    (serper, "/search", {"organic": [{"title": "T", "link": "U", "snippet": "S"}]}, "x-api-key"),
]


async def searched(service: SearchService, site: Website) -> Any:
    asked = Invocation(
        arguments={"query": "q", "max_results": 3},
        context=context(),
        config={"provider": service.name},
        seconds=5.0,
    )
    async with outgoing_client(AddressRules().allowing("127.0.0.1", site.port)) as client:
        return (await SearchTools(client, [service]).search(asked)).value


@pytest.mark.parametrize(("make", "path", "answer", "header"), SERVICES)
async def test_each_search_service_is_asked_in_its_own_way(
    site: Website, make: Any, path: str, answer: dict[str, Any], header: str
) -> None:
    site.json(path, answer)

    found = await searched(make("s3cret", url=site.url), site)

    assert found == {"results": [{"title": "T", "url": "U", "snippet": "S"}]}
    assert "s3cret" in site.asked[0].headers[header]
    assert "q" in site.asked[0].path + site.asked[0].body.decode()


@pytest.mark.parametrize("answer", ["[]", '{"results": 5}', '{"results": [{}]}', "no json", "{}"])
async def test_a_search_service_that_answers_rubbish_is_said(site: Website, answer: str) -> None:
    site.page("/search", answer)

    with pytest.raises(ToolFailed) as refused:
        await searched(tavily("s3cret", url=site.url), site)

    assert refused.value.code == "SEARCH_FAILED"
    assert "s3cret" not in str(refused.value)


async def test_a_search_key_that_is_refused_is_said(site: Website) -> None:
    site.json("/search", {}, status=401)

    with pytest.raises(ToolFailed, match="status 401") as refused:
        await searched(serper("s3cret", url=site.url), site)

    assert "SERPER_API_KEY" in refused.value.resolution


async def test_without_a_search_service_the_missing_settings_are_named(bench: Bench) -> None:
    with pytest.raises(ToolFailed) as refused:
        await bench("web_search", query="q")
    with pytest.raises(ToolFailed, match="SERPER_API_KEY is missing"):
        await bench("serper_search", query="q")
    with pytest.raises(ToolFailed, match="BRAVE_API_KEY is missing"):
        await bench("web_search", query="q", config={"provider": "brave"})

    for name in ("CADRE_SEARXNG_URL", "BRAVE_API_KEY", "TAVILY_API_KEY", "SERPER_API_KEY"):
        assert name in refused.value.message


async def test_servers_of_different_runs_share_one_client(tmp_path: Path) -> None:
    async with website() as first, website() as second, bench_in(tmp_path, **ALLOWED) as bench:
        first.page("/", "1")
        second.page("/", "2")
        answers = await asyncio.gather(
            *(
                bench("http_get", url=s.url + "/", context=context(r))
                for s, r in ((first, "a"), (second, "b"))
            )
        )

    assert [answer["body"] for answer in answers] == ["1", "2"]
