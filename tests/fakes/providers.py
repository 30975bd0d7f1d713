"""Real HTTP servers on loopback that speak the wire formats of model providers, and misbehave as told."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

INPUT_TOKENS = 12
OUTPUT_TOKENS = 5


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a server sends. `cut` ends the connection instead of the body; `stall` sends nothing more, for ever. After
    the chunk with `hold_after` in it, it waits for `release`."""

    status: int = 200
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    chunks: tuple[bytes, ...] = ()
    cut: bool = False
    stall: bool = False
    hold_after: bytes = b""
    release: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request as it arrived."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass(kw_only=True)
class ProviderServer:
    """Gives the answers in turn, the last one for ever; `gone` is set when a client hung up on it."""

    answers: list[Answer] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    writers: set[asyncio.StreamWriter] = field(default_factory=set)
    url: str = ""

    def will(self, *answers: Answer) -> None:
        """From now on."""
        self.answers = list(answers)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.writers.add(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                self.asked.append(await _read(reader))
                self.arrived.set()
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                if not await self._send(answer, reader, writer):
                    break
        self.writers.discard(writer)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    async def _send(
        self, answer: Answer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        extra = "".join(f"{name}: {value}\r\n" for name, value in answer.headers)
        writer.write(
            f"HTTP/1.1 {answer.status} X\r\ncontent-type: {answer.content_type}\r\n"
            f"transfer-encoding: chunked\r\n{extra}\r\n".encode()
        )
        for chunk in answer.chunks:
            writer.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
            await writer.drain()
            if answer.hold_after and answer.hold_after in chunk:
                await answer.release.wait()
        if answer.stall and not await reader.read(1):
            self.gone.set()
        if answer.cut or answer.stall:
            return False
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True


@asynccontextmanager
async def provider_server(*answers: Answer) -> AsyncIterator[ProviderServer]:
    """A server on a free port."""
    provider = ProviderServer(answers=list(answers))
    server = await asyncio.start_server(provider.handle, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    provider.url = f"http://{host}:{port}"
    try:
        yield provider
    finally:
        server.close()
        for writer in provider.writers:
            writer.close()
        await server.wait_closed()


async def _read(reader: asyncio.StreamReader) -> Asked:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = head.strip().split("\r\n")
    headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Asked(path=first.split()[1], headers=headers, body=json.loads(body or b"{}"))


def json_answer(document: object, *, status: int = 200, **headers: str) -> Answer:
    """A JSON body."""
    return Answer(
        status=status,
        chunks=(json.dumps(document).encode(),),
        headers=tuple((name.replace("_", "-"), value) for name, value in headers.items()),
    )


def events(*documents: object, done: bool = True, cut: bool = False, stall: bool = False) -> Answer:
    """Server-sent events."""
    said = [f"data: {json.dumps(document)}\n\n".encode() for document in documents]
    end = [b"data: [DONE]\n\n"] if done else []
    return Answer(content_type="text/event-stream", chunks=(*said, *end), cut=cut, stall=stall)


def openai_reply(text: str, *, finish: str = "stop", usage: bool = True) -> Answer:
    """A whole reply in OpenAI's words."""
    message = {"role": "assistant", "content": text}
    document = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-4.1-mini-2025-04-14",
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
    }
    return json_answer({**document, **({"usage": _OPENAI_USAGE} if usage else {})})


def openai_tool_call(name: str, arguments: str) -> Answer:
    """A reply that calls a tool, in OpenAI's words."""
    message = {"role": "assistant", "content": None, "tool_calls": [_openai_call(name, arguments)]}
    return json_answer(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": "gpt-4.1-mini-2025-04-14",
            "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}],
            "usage": _OPENAI_USAGE,
        }
    )


def openai_tool_call_stream(name: str, arguments: str) -> Answer:
    """A call of a tool, its arguments in two pieces, in OpenAI's words."""
    middle = len(arguments) // 2
    first = {"index": 0, **_openai_call(name, arguments[:middle])}
    second = {"index": 0, "function": {"arguments": arguments[middle:]}}
    return events(
        _openai_chunk({"role": "assistant", "content": None, "tool_calls": [first]}),
        _openai_chunk({"tool_calls": [second]}),
        _openai_chunk({}, finish="tool_calls"),
        {**_openai_chunk({}), "choices": [], "usage": _OPENAI_USAGE},
    )


def _openai_call(name: str, arguments: str) -> dict[str, Any]:
    return {
        "id": "call_1",
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    }


_OPENAI_USAGE = {
    "prompt_tokens": INPUT_TOKENS,
    "completion_tokens": OUTPUT_TOKENS,
    "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS,
}


def openai_stream(
    pieces: Sequence[str], *, cut: bool = False, stall: bool = False, finish: str = "stop"
) -> Answer:
    """A reply in pieces in OpenAI's words, with usage at its end; or without an end."""
    whole = not (cut or stall)
    deltas = [_openai_chunk({"content": piece}) for piece in pieces]
    end = [
        _openai_chunk({}, finish=finish),
        {**_openai_chunk({}), "choices": [], "usage": _OPENAI_USAGE},
    ]
    return events(*deltas, *(end if whole else ()), done=whole, cut=cut, stall=stall)


def openai_ended_early(pieces: Sequence[str]) -> Answer:
    """A stream whose body ends well, but whose reply does not."""
    return events(*[_openai_chunk({"content": piece}) for piece in pieces], done=False)


def _openai_chunk(delta: dict[str, Any], *, finish: str | None = None) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "gpt-4.1-mini-2025-04-14",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }


def openai_error(status: int, code: str, message: str = "no", **headers: str) -> Answer:
    """An error in OpenAI's words."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    error = {"message": message, "type": kind, "param": None, "code": code}
    return json_answer({"error": error}, status=status, **headers)


def anthropic_tool_call(name: str, arguments: str) -> Answer:
    """A reply that calls a tool, in Anthropic's words."""
    block = {"type": "tool_use", "id": "toolu_1", "name": name, "input": json.loads(arguments)}
    return _anthropic_message([block], "tool_use")


def anthropic_reply(text: str, *, finish: str = "end_turn") -> Answer:
    """A whole reply in Anthropic's words; four of its tokens were read from the prompt cache."""
    return _anthropic_message([{"type": "text", "text": text}], finish)


def _anthropic_message(content: list[dict[str, Any]], stop: str) -> Answer:
    return json_answer(
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "claude-haiku-4-5-20251001",
            "content": content,
            "stop_reason": stop,
            "stop_sequence": None,
            "usage": {
                "input_tokens": INPUT_TOKENS - 4,
                "cache_read_input_tokens": 4,
                "cache_creation_input_tokens": 0,
                "output_tokens": OUTPUT_TOKENS,
            },
        }
    )


def anthropic_stream(pieces: Sequence[str], *, finish: str = "end_turn") -> Answer:
    """A reply in pieces in Anthropic's words."""
    deltas = [{"type": "text_delta", "text": piece} for piece in pieces]
    return _anthropic_events({"type": "text", "text": ""}, deltas, finish)


def anthropic_tool_call_stream(name: str, arguments: str) -> Answer:
    """A call of a tool, its arguments in two pieces, in Anthropic's words."""
    middle = len(arguments) // 2
    pieces = (arguments[:middle], arguments[middle:])
    deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
    block = {"type": "tool_use", "id": "toolu_1", "name": name, "input": {}}
    return _anthropic_events(block, deltas, "tool_use")


def _anthropic_events(block: dict[str, Any], deltas: Sequence[dict[str, Any]], stop: str) -> Answer:
    message: dict[str, Any] = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-haiku-4-5-20251001",
        "content": [],
        "stop_reason": None,
        "usage": {"input_tokens": INPUT_TOKENS, "output_tokens": 1},
    }
    documents: list[dict[str, Any]] = [
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": block},
        *({"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": stop, "stop_sequence": None},
            "usage": {"output_tokens": OUTPUT_TOKENS},
        },
        {"type": "message_stop"},
    ]
    said = [f"event: {d['type']}\ndata: {json.dumps(d)}\n\n".encode() for d in documents]
    return Answer(content_type="text/event-stream", chunks=tuple(said))


def gemini_reply(text: str, *, finish: str = "STOP") -> Answer:
    """A whole reply in Gemini's words."""
    return json_answer(_gemini(text, finish=finish))


def gemini_tool_call(name: str, arguments: str) -> Answer:
    """A reply that calls a tool, in Gemini's words."""
    return json_answer(_gemini_parts([_gemini_call(name, arguments)], finish="STOP"))


def gemini_tool_call_stream(name: str, arguments: str) -> Answer:
    """A call of a tool in Gemini's words, which never come in pieces."""
    return events(_gemini_parts([_gemini_call(name, arguments)], finish="STOP"), done=False)


def _gemini_call(name: str, arguments: str) -> dict[str, Any]:
    return {"functionCall": {"name": name, "args": json.loads(arguments)}}


def gemini_stream(pieces: Sequence[str], *, finish: str = "STOP") -> Answer:
    """A reply in pieces in Gemini's words."""
    *first, last = pieces
    documents = [*(_gemini(piece) for piece in first), _gemini(last, finish=finish)]
    return events(*documents, done=False)


def _gemini(text: str, *, finish: str | None = None) -> dict[str, Any]:
    return _gemini_parts([{"text": text}], finish=finish)


def _gemini_parts(parts: list[dict[str, Any]], *, finish: str | None = None) -> dict[str, Any]:
    content = {"role": "model", "parts": parts}
    return {
        "candidates": [
            {"index": 0, "content": content, **({"finishReason": finish} if finish else {})}
        ],
        "usageMetadata": {
            "promptTokenCount": INPUT_TOKENS,
            "candidatesTokenCount": OUTPUT_TOKENS,
            "totalTokenCount": INPUT_TOKENS + OUTPUT_TOKENS,
        },
        "modelVersion": "gemini-2.5-flash",
    }


def openai_embeddings(vectors: Sequence[Sequence[float]]) -> Answer:
    """Vectors in OpenAI's words, the last one first."""
    data = [
        {"object": "embedding", "index": index, "embedding": list(vector)}
        for index, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": INPUT_TOKENS, "total_tokens": INPUT_TOKENS}
    return json_answer(
        {
            "object": "list",
            "model": "text-embedding-3-small",
            "data": data[::-1],
            "usage": usage,
        }
    )


def gemini_embeddings(vectors: Sequence[Sequence[float]]) -> Answer:
    """Vectors in Gemini's words."""
    return json_answer({"embeddings": [{"values": list(vector)} for vector in vectors]})


def openai_thinking(thought: str, text: str) -> Answer:
    """A reply with what the model thought, and how likely its one word was, as vLLM says it."""
    likely = {
        "token": text,
        "logprob": -0.25,
        "bytes": None,
        "top_logprobs": [{"token": "No", "logprob": -1.5, "bytes": None}],
    }
    message = {"role": "assistant", "content": text, "reasoning_content": thought}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return json_answer(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": "m",
            "choices": [{**choice, "logprobs": {"content": [likely]}}],
            "usage": _OPENAI_USAGE,
        }
    )


def openai_detailed(thought: str, text: str) -> Answer:
    """A reply whose usage says what was cached (4) and only thought (2), in the words of OpenAI's format."""
    message = {"role": "assistant", "content": text, "reasoning_content": thought}
    usage = {
        **_OPENAI_USAGE,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }
    return json_answer(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": "m",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": usage,
        }
    )


def anthropic_detailed(thought: str, text: str) -> Answer:
    """A reply with what the model thought, in Anthropic's words; four of its tokens were read from the cache."""
    thinking = {"type": "thinking", "thinking": thought, "signature": "c2lnbmVk"}
    return _anthropic_message([thinking, {"type": "text", "text": text}], "end_turn")


def gemini_detailed(thought: str, text: str) -> Answer:
    """A reply with what the model thought, in Gemini's words, which count it beside the reply's tokens."""
    parts: list[dict[str, Any]] = [{"text": thought, "thought": True}, {"text": text}]
    document = _gemini_parts(parts, finish="STOP")
    document["usageMetadata"] |= {
        "cachedContentTokenCount": 4,
        "candidatesTokenCount": OUTPUT_TOKENS - 2,
        "thoughtsTokenCount": 2,
    }
    return json_answer(document)


def anthropic_error(status: int, code: str, message: str = "no", **headers: str) -> Answer:
    """An error in Anthropic's words."""
    error = {"type": code, "message": message}
    return json_answer({"type": "error", "error": error}, status=status, **headers)


def gemini_error(status: int, code: str, message: str = "no", **headers: str) -> Answer:
    """An error in Gemini's words."""
    error = {"code": status, "message": message, "status": code.upper()}
    return json_answer({"error": error}, status=status, **headers)
