"""Protos to our values and back; refuses what is out of its limits, naming the field."""

import re
from decimal import Decimal
from typing import Any

from cadre.common.v1 import common_pb2
from cadre.llm_proxy.v1 import llm_pb2
from cadre_kit.documents import from_json
from cadre_llm_proxy.domain.calls import (
    Attribution,
    CompletionRequest,
    FinishReason,
    Message,
    Options,
    Reply,
    Role,
    RunBudget,
    Usage,
)
from cadre_llm_proxy.domain.facts import OutputSchemaInvalid, RequestInvalid
from cadre_llm_proxy.domain.providers import ListedModel

__all__ = [
    "completion_request",
    "decimal_of",
    "model_message",
    "reply_message",
    "usage_message",
]

_DEFAULT_SECONDS = 120.0
_LONGEST_SECONDS = 3600.0
_LONGEST_CACHE_SECONDS = 30 * 86400.0
_DECIMAL = re.compile(r"[0-9]{1,18}(\.[0-9]{1,18})?", re.ASCII)
_MESSAGES_BYTES = 4 * 1024 * 1024
_MOST_STOPS = 4
_ROLES = {
    llm_pb2.ROLE_SYSTEM: Role.SYSTEM,
    llm_pb2.ROLE_USER: Role.USER,
    llm_pb2.ROLE_ASSISTANT: Role.ASSISTANT,
}
_FINISH_REASONS = {
    FinishReason.UNKNOWN: llm_pb2.FINISH_REASON_UNSPECIFIED,
    FinishReason.STOP: llm_pb2.FINISH_REASON_STOP,
    FinishReason.LENGTH: llm_pb2.FINISH_REASON_LENGTH,
    FinishReason.CONTENT_FILTER: llm_pb2.FINISH_REASON_CONTENT_FILTER,
}


def completion_request(message: llm_pb2.CompleteRequest) -> CompletionRequest:
    """What is asked. Raises RequestInvalid naming the field that is wrong."""
    return CompletionRequest(
        options=_options(message.options),
        messages=_messages(message),
        output_schema=_schema(message),
        attribution=_attribution(message.attribution),
        timeout_seconds=_seconds(message.timeout_seconds),
        cache_seconds=_cache_seconds(message.cache_seconds),
    )


def _attribution(message: llm_pb2.Attribution) -> Attribution:
    root = message.root_run_id or message.run_id
    return Attribution(
        workflow=message.workflow,
        version=message.version,
        run_id=message.run_id,
        node=message.node,
        root_run_id=root,
        schedule=message.schedule,
        api_key=message.api_key,
        run_budgets=tuple(_run_budget(one, message.run_id, root) for one in message.run_budgets),
    )


def _run_budget(message: llm_pb2.RunBudget, *runs: str) -> RunBudget:
    field = "attribution.run_budgets"
    _check(
        bool(message.run_id) and message.run_id in runs, f"{field}.run_id", "run_id or root_run_id"
    )
    usd = decimal_of(message.usd, f"{field}.usd") if message.HasField("usd") else None
    tokens = message.tokens if message.HasField("tokens") else None
    _check(usd is None or usd > 0, f"{field}.usd", "above 0")
    _check(tokens is None or tokens >= 1, f"{field}.tokens", "1 or more")
    return RunBudget(run_id=message.run_id, usd=usd, tokens=tokens)


def decimal_of(text: str, field: str) -> Decimal:
    """A decimal, as it was written. Raises RequestInvalid for what is none, and for one that nobody needs."""
    _check(
        bool(_DECIMAL.fullmatch(text)),
        field,
        "a decimal such as 2.50, of at most 18 digits on either side",
    )
    return Decimal(text)


def _options(message: llm_pb2.ModelOptions) -> Options:
    temperature = message.temperature if message.HasField("temperature") else None
    max_tokens = message.max_tokens if message.HasField("max_tokens") else None
    top_p = message.top_p if message.HasField("top_p") else None
    _check(temperature is None or 0 <= temperature <= 2, "options.temperature", "0 to 2")
    _check(max_tokens is None or max_tokens >= 1, "options.max_tokens", "1 or more")
    _check(top_p is None or 0 < top_p <= 1, "options.top_p", "above 0, up to 1")
    _check(len(message.stop) <= _MOST_STOPS, "options.stop", f"at most {_MOST_STOPS} texts")
    return Options(
        provider=message.provider,
        model=message.model,
        temperature=temperature,
        max_tokens=max_tokens,
        top_p=top_p,
        seed=message.seed if message.HasField("seed") else None,
        stop=tuple(message.stop),
        api_base=message.api_base,
        api_key_env=message.api_key_env,
    )


def _messages(message: llm_pb2.CompleteRequest) -> tuple[Message, ...]:
    _check(bool(message.messages), "messages", "at least one")
    _check(
        all(m.role in _ROLES for m in message.messages),
        "messages.role",
        "system, user or assistant",
    )
    size = sum(len(m.content.encode()) for m in message.messages)
    _check(size <= _MESSAGES_BYTES, "messages", f"at most {_MESSAGES_BYTES} bytes in all")
    return tuple(Message(role=_ROLES[m.role], content=m.content) for m in message.messages)


def _schema(message: llm_pb2.CompleteRequest) -> dict[str, Any] | None:
    if not message.HasField("output_schema"):
        return None
    schema = from_json(message.output_schema, field="output_schema")
    if not isinstance(schema, dict):
        raise OutputSchemaInvalid(
            "the output schema is not a JSON object", resolution="Correct the node's output_schema."
        )
    return schema


def _seconds(seconds: float) -> float:
    _check(0 <= seconds <= _LONGEST_SECONDS, "timeout_seconds", f"0 to {_LONGEST_SECONDS:g}")
    return seconds or _DEFAULT_SECONDS


def _cache_seconds(seconds: float) -> float:
    _check(
        0 <= seconds <= _LONGEST_CACHE_SECONDS, "cache_seconds", f"0 to {_LONGEST_CACHE_SECONDS:g}"
    )
    return seconds


def _check(holds: bool, field: str, allowed: str) -> None:
    if not holds:
        raise RequestInvalid(f"{field} must be {allowed}", metadata={"field": field})


def reply_message(reply: Reply) -> llm_pb2.Reply:
    """A whole reply."""
    return llm_pb2.Reply(
        content=reply.content,
        finish_reason=_FINISH_REASONS[reply.finish_reason],
        provider=reply.provider,
        model=reply.model,
        usage=usage_message(reply.usage),
        latency_ms=reply.latency_ms,
        replayed=reply.replayed,
        call_id=reply.call_id,
        cached=reply.cached,
    )


def usage_message(usage: Usage) -> common_pb2.Usage:
    """What calls used and cost."""
    return common_pb2.Usage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cost_usd=None if usage.cost_usd is None else f"{usage.cost_usd:f}",
        calls=usage.calls,
        unpriced_calls=usage.unpriced_calls,
    )


def model_message(model: ListedModel) -> llm_pb2.Model:
    """A model that can be named."""
    price = model.facts.price
    return llm_pb2.Model(
        provider=model.provider,
        name=model.name,
        available=not model.unavailable_reason,
        unavailable_reason=model.unavailable_reason,
        default=model.default,
        context_tokens=model.facts.context_tokens,
        input_usd_per_million=None if price is None else f"{price.input:f}",
        output_usd_per_million=None if price is None else f"{price.output:f}",
    )
