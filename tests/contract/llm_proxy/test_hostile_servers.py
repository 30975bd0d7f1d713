"""What servers of OpenAI's format send that its description does not speak of, read straight from the wire."""

import asyncio
import gzip
import json
from typing import Any

import pytest
from tests.fakes.providers import (
    Answer,
    ProviderServer,
    json_answer,
    openai_error,
    openai_reply,
    openai_stream,
)

from cadre_llm_proxy.domain import calls, facts
from cadre_llm_proxy.domain.completions import Models

pytestmark = pytest.mark.asyncio(loop_scope="session")
STOP = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
Deltas = dict[str, Any]


def whole(choice: dict[str, Any] | None = None, **fields: Any) -> Answer:
    """A reply of `Hi`, but for what is given."""
    message = {"index": 0, "message": {"role": "assistant", "content": "Hi"}}
    return json_answer(
        {"choices": [{**message, "finish_reason": "stop", **(choice or {})}], **fields}
    )


def said(**message: Any) -> Answer:
    """A reply whose message is this."""
    return whole({"message": {"role": "assistant", **message}})


def wire(*deltas: Deltas) -> bytes:
    """A whole stream of these deltas."""
    chunks = [*({"choices": [{"index": 0, "delta": delta}]} for delta in deltas), STOP]
    events = b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks)
    return events + b"data: [DONE]\n\n"


def raw(*chunks: bytes, **fields: Any) -> Answer:
    """A stream of these bytes."""
    return Answer(content_type="text/event-stream", chunks=chunks, **fields)


@pytest.fixture
def straight(ways: dict[bool, Models]) -> Models:
    return ways[True]


@pytest.fixture
def asked(provider: ProviderServer) -> calls.Ask:
    return calls.Ask(
        target=calls.Target(provider="openai_compatible", model="m", api_base=provider.url),
        options=calls.Options(),
        messages=(calls.Message(role=calls.Role.USER, content="?"),),
        output_schema=None,
        seconds=60,
    )


async def read(models: Models, ask: calls.Ask) -> tuple[str, calls.Answer]:
    """The text that a stream shows, and its answer."""
    *parts, answer = [part async for part in models.stream(ask)]
    assert isinstance(answer, calls.Answer)
    return "".join(part.text for part in parts if isinstance(part, calls.Delta)), answer


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": "12", "completion_tokens": 5},
        {"prompt_tokens": -12, "completion_tokens": 5},
        {"prompt_tokens": float("nan"), "completion_tokens": 5},
        {"prompt_tokens": 1.5, "completion_tokens": 5},
        {"prompt_tokens": 10**30, "completion_tokens": 5},
        [12, 5],
        "12",
    ],
)
async def test_tokens_that_are_no_counts_are_unknown(
    usage: Any, straight: Models, asked: calls.Ask, provider: ProviderServer
) -> None:
    provider.will(whole(usage=usage))

    answer = await straight.ask(asked)

    assert (answer.content, answer.tokens) == ("Hi", None)


@pytest.mark.parametrize(
    ("answer", "content", "finish"),
    [
        (
            said(content=[{"type": "text", "text": "H"}, {"type": "text", "text": "i"}]),
            "Hi",
            "stop",
        ),
        (said(content=None, refusal="I cannot."), "I cannot.", "content_filter"),
        (said(content="a\ud83d"), "a\ufffd", "stop"),
        (whole({"finish_reason": {"why": "?"}}), "Hi", "unknown"),
        (whole(model=5), "Hi", "stop"),
        (
            Answer(
                chunks=(gzip.compress(whole().chunks[0]),), headers=(("content-encoding", "gzip"),)
            ),
            "Hi",
            "stop",
        ),
    ],
)
async def test_odd_replies_are_read_as_what_they_mean(
    answer: Answer,
    content: str,
    finish: str,
    straight: Models,
    asked: calls.Ask,
    provider: ProviderServer,
) -> None:
    provider.will(answer)

    found = await straight.ask(asked)

    assert (found.content, found.finish_reason.value, found.model) == (content, finish, "m")


@pytest.mark.parametrize("number", [float("nan"), float("-inf"), None])
async def test_a_likelihood_without_a_number_is_that_of_what_never_comes(
    number: float | None, straight: Models, asked: calls.Ask, provider: ProviderServer
) -> None:
    provider.will(whole({"logprobs": {"content": [{"token": "Hi", "logprob": number}]}}))

    answer = await straight.ask(asked)

    assert answer.likelihoods == (calls.Likelihood(token="Hi", logprob=-9999.0),)


async def test_arguments_may_be_an_object(
    straight: Models, asked: calls.Ask, provider: ProviderServer
) -> None:
    call = {"id": 7, "function": {"name": "w", "arguments": {"city": "Oslo"}}}
    provider.will(said(content=None, tool_calls=[call]))

    answer = await straight.ask(asked)

    assert answer.tool_calls == (calls.WrittenCall(id="7", name="w", arguments='{"city": "Oslo"}'),)


HELLO = wire({"content": "Héllo \U0001f600"}, {"content": " wörld"})


@pytest.mark.parametrize(
    "answer",
    [
        raw(*[HELLO[n : n + 1] for n in range(len(HELLO))]),
        raw(HELLO.replace(b"\n", b"\r\n")),
        raw(b": ping\n\n", b"data:\n\nevent: x\nid: 5\nretry: 9\n\n", HELLO),
        raw(b"\xef\xbb\xbf" + HELLO),
        raw(HELLO.replace(b"data: ", b"data:")),
        raw(gzip.compress(HELLO), headers=(("content-encoding", "gzip"),)),
        raw(wire({"content": "Héllo \ud83d"}, {"content": "\ude00 wörld"})),
        raw(HELLO.replace(b'"stop"', b"null")),
        raw(HELLO.replace(b"data: [DONE]\n\n", b"")),
        openai_reply("Héllo \U0001f600 wörld"),
    ],
    ids=[
        "bytes",
        "crlf",
        "comments",
        "mark",
        "tight",
        "gzip",
        "halves",
        "no end",
        "no done",
        "no stream",
    ],
)
async def test_a_stream_is_read_however_it_is_cut_and_ended(
    answer: Answer, straight: Models, asked: calls.Ask, provider: ProviderServer
) -> None:
    provider.will(answer)

    shown, found = await read(straight, asked)

    assert shown == found.content == "Héllo \U0001f600 wörld"


def piece(index: int | None, call_id: str | None, name: str | None, arguments: str) -> Deltas:
    """A piece of a call of a tool."""
    function = {"arguments": arguments, **({"name": name} if name else {})}
    called = {"function": function, **({"id": call_id} if call_id else {})}
    return {"tool_calls": [{**called, **({} if index is None else {"index": index})}]}


@pytest.mark.parametrize(
    ("pieces", "found"),
    [
        (
            [piece(0, "a", "w", '{"n":1}'), piece(0, "b", "w", '{"n":2}')],
            ['a w {"n":1}', 'b w {"n":2}'],
        ),
        (
            [
                piece(None, "a", "w", '{"n'),
                piece(None, None, None, '":1}'),
                piece(None, "b", "w", ""),
            ],
            ['a w {"n":1}', "b w "],
        ),
        ([piece(0, "a", "w", '{"n'), piece(0, "a", "w", '":1}')], ['a w {"n":1}']),
        ([piece(0, "a", "w", '{"n'), piece(0, "z", None, '":1}')], ['a w {"n":1}']),
        ([piece(0, "a", "w", ""), *(piece(0, None, None, c) for c in '{"n":1}')], ['a w {"n":1}']),
        (
            [piece(0, "a", "w", '{"n'), piece(1, "b", "v", "{"), piece(0, None, None, '":1}')],
            ['a w {"n":1}', "b v {"],
        ),
    ],
    ids=["one index", "no index", "all again", "new ids", "characters", "in turns"],
)
async def test_calls_of_tools_are_put_together_however_they_are_told_apart(
    pieces: list[Deltas],
    found: list[str],
    straight: Models,
    asked: calls.Ask,
    provider: ProviderServer,
) -> None:
    provider.will(raw(wire(*pieces)))

    _, answer = await read(straight, asked)

    assert [f"{call.id} {call.name} {call.arguments}" for call in answer.tool_calls] == found


def failing(**error: Any) -> bytes:
    """An event that tells of an error."""
    return b"event: error\ndata: " + json.dumps({"error": error}).encode() + b"\n\n"


@pytest.mark.parametrize(
    ("answer", "fact"),
    [
        (json_answer({"error": "it broke"}), facts.ProviderFailed),
        (json_answer({"error": {"type": "server_error"}}), facts.ProviderFailed),
        (json_answer({"error": {"code": 429}}), facts.RateLimited),
        (json_answer({"error": {"type": "invalid_request_error"}}), facts.RequestRefused),
        (json_answer({"object": "error", "code": 404}), facts.ModelUnknown),
        (Answer(status=502, content_type="text/html", chunks=(b"<html>",)), facts.ProviderFailed),
        (Answer(status=307, chunks=(b"moved",)), facts.ProviderUnreachable),
        (openai_error(400, "x", "llama2 does not support tools"), facts.OptionUnsupported),
        (Answer(chunks=(b"x" * 1_000_000,) * 40), facts.ReplyMalformed),
        (
            Answer(
                chunks=(gzip.compress(b" " * 100_000_000),), headers=(("content-encoding", "gzip"),)
            ),
            facts.ReplyMalformed,
        ),
    ],
)
async def test_what_is_no_reply_is_named_and_not_blamed_on_the_request(
    answer: Answer,
    fact: type[facts.ProviderFailure],
    straight: Models,
    asked: calls.Ask,
    provider: ProviderServer,
) -> None:
    provider.will(answer)

    with pytest.raises(facts.ProviderFailure) as caught:
        await straight.ask(asked)

    assert type(caught.value) is fact


@pytest.mark.parametrize(
    ("answer", "fact"),
    [
        (raw(failing(type="overloaded_error")), facts.ProviderFailed),
        (raw(failing(type="rate_limit_error")), facts.RateLimited),
        (raw(b"<html>\nlogin\n</html>"), facts.ReplyMalformed),
        (raw(b"data: [DONE]\n\n"), facts.ReplyMalformed),
        (raw(b"data: " + b"x" * 2_000_000), facts.ReplyMalformed),
        (raw(*(wire({"content": "x" * 900_000})[:-60] + b"\n\n",) * 40), facts.ReplyMalformed),
    ],
    ids=["overloaded", "limited", "page", "nothing", "line", "endless"],
)
async def test_what_is_no_stream_is_named(
    answer: Answer,
    fact: type[facts.ProviderFailure],
    straight: Models,
    asked: calls.Ask,
    provider: ProviderServer,
) -> None:
    provider.will(answer)

    async with asyncio.timeout(30):
        with pytest.raises(facts.ProviderFailure) as caught:
            await read(straight, asked)

    assert type(caught.value) is fact


@pytest.mark.parametrize(
    "vectors",
    [
        [{"index": 0, "embedding": [1.0]}, {"index": 0, "embedding": [2.0]}],
        [{"index": 0, "embedding": []}, {"index": 1, "embedding": []}],
        [{"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": [float("nan")]}],
        [{"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": "AACAPw=="}],
    ],
)
async def test_vectors_that_are_none_are_refused(
    vectors: Any, straight: Models, asked: calls.Ask, provider: ProviderServer
) -> None:
    provider.will(json_answer({"data": vectors}))
    ask = calls.EmbedAsk(target=asked.target, texts=("a", "b"), dimensions=None, seconds=60)

    with pytest.raises(facts.ReplyMalformed):
        await straight.embed(ask)


async def test_a_reply_after_a_broken_one_comes_over_a_new_connection(
    straight: Models, asked: calls.Ask, provider: ProviderServer
) -> None:
    provider.will(raw(b"data: " + b"x" * 2_000_000), openai_stream(["Hi"]))

    with pytest.raises(facts.ReplyMalformed):
        await read(straight, asked)

    assert (await read(straight, asked))[0] == "Hi"
