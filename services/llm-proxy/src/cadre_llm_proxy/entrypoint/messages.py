"""Protos to our values and back; refuses what is out of its limits, naming the field."""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from cadre.common.v1 import common_pb2
from cadre.llm_proxy.v1 import llm_pb2
from cadre_kit.documents import from_json, object_from_json, to_json
from cadre_llm_proxy.domain.calls import (
    Attribution,
    BudgetWarning,
    CompletionRequest,
    FinishReason,
    Image,
    Likelihood,
    Message,
    Options,
    Reply,
    Role,
    RunBudget,
    ToolCall,
    ToolChoice,
    ToolDefinition,
    Usage,
)
from cadre_llm_proxy.domain.embedding import Embedded, EmbedRequest
from cadre_llm_proxy.domain.facts import OutputSchemaInvalid, RequestInvalid
from cadre_llm_proxy.domain.metering import Unanswered
from cadre_llm_proxy.domain.pictures import PICTURE_BYTES, PICTURE_TYPES, is_picture
from cadre_llm_proxy.domain.providers import ListedModel
from cadre_llm_proxy.domain.routes import Group, Standing

__all__ = [
    "completion_request",
    "decimal_of",
    "embed_request",
    "embed_response",
    "failed_call_message",
    "group_message",
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
_MOST_TEXTS = 2048
_MOST_DIMENSIONS = 8192
_FLOAT_BYTES = 4
_MOST_TOOLS = 128
_MOST_FALLBACKS = 8
_MOST_IMAGES = 16
# Settings that have fields of their own, or would change what is asked and how it is answered.
_OWN_PARAMS = frozenset(
    "model messages stream stream_options tools tool_choice response_format temperature max_tokens "
    "max_completion_tokens top_p seed stop logprobs top_logprobs n functions function_call "
    # Under these names providers would write more, or more often, than a budget has reserved for.
    "max_output_tokens maxOutputTokens num_predict best_of candidate_count candidateCount generationConfig "
    "generation_config extra_body options".split()
)
_TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_ROLES = {
    llm_pb2.ROLE_SYSTEM: Role.SYSTEM,
    llm_pb2.ROLE_USER: Role.USER,
    llm_pb2.ROLE_ASSISTANT: Role.ASSISTANT,
    llm_pb2.ROLE_TOOL: Role.TOOL,
}
_TOOL_CHOICES = {
    llm_pb2.TOOL_CHOICE_UNSPECIFIED: ToolChoice.AUTO,
    llm_pb2.TOOL_CHOICE_AUTO: ToolChoice.AUTO,
    llm_pb2.TOOL_CHOICE_NONE: ToolChoice.NONE,
    llm_pb2.TOOL_CHOICE_REQUIRED: ToolChoice.REQUIRED,
}
_FINISH_REASONS = {
    FinishReason.UNKNOWN: llm_pb2.FINISH_REASON_UNSPECIFIED,
    FinishReason.STOP: llm_pb2.FINISH_REASON_STOP,
    FinishReason.LENGTH: llm_pb2.FINISH_REASON_LENGTH,
    FinishReason.CONTENT_FILTER: llm_pb2.FINISH_REASON_CONTENT_FILTER,
    FinishReason.TOOL_CALLS: llm_pb2.FINISH_REASON_TOOL_CALLS,
}


def completion_request(message: llm_pb2.CompleteRequest) -> CompletionRequest:
    """What is asked. Raises RequestInvalid naming the field that is wrong."""
    return CompletionRequest(
        options=_options(message.options, "options"),
        messages=_messages(message),
        output_schema=_schema(message),
        attribution=_attribution(message.attribution),
        timeout_seconds=_seconds(message.timeout_seconds),
        tools=_tools(message),
        tool_choice=_tool_choice(message),
        fallbacks=_fallbacks(message),
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
    return RunBudget(run_id=message.run_id, usd=usd, tokens=tokens, pauses=message.pauses)


def decimal_of(text: str, field: str) -> Decimal:
    """A decimal, as it was written. Raises RequestInvalid for what is none, and for one that nobody needs."""
    _check(
        bool(_DECIMAL.fullmatch(text)),
        field,
        "a decimal such as 2.50, of at most 18 digits on either side",
    )
    return Decimal(text)


def _options(message: llm_pb2.ModelOptions, at: str) -> Options:
    temperature = message.temperature if message.HasField("temperature") else None
    max_tokens = message.max_tokens if message.HasField("max_tokens") else None
    top_p = message.top_p if message.HasField("top_p") else None
    top_logprobs = message.top_logprobs if message.HasField("top_logprobs") else None
    _check(top_logprobs is None or 0 <= top_logprobs <= 20, f"{at}.top_logprobs", "0 to 20")
    _check(temperature is None or 0 <= temperature <= 2, f"{at}.temperature", "0 to 2")
    _check(max_tokens is None or max_tokens >= 1, f"{at}.max_tokens", "1 or more")
    _check(top_p is None or 0 < top_p <= 1, f"{at}.top_p", "above 0, up to 1")
    _check(len(message.stop) <= _MOST_STOPS, f"{at}.stop", f"at most {_MOST_STOPS} texts")
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
        top_logprobs=top_logprobs,
        params=_params(message, at),
    )


def _params(message: llm_pb2.ModelOptions, at: str) -> Mapping[str, Any]:
    params = object_from_json(message.params, field=f"{at}.params")
    for name in sorted(params.keys() & _OWN_PARAMS):
        raise RequestInvalid(
            f"{at}.params must not hold {name!r}, which has a field of its own or is the llm-proxy's to set",
            metadata={"field": f"{at}.params"},
        )
    return params


def _fallbacks(message: llm_pb2.CompleteRequest) -> tuple[Options, ...]:
    _check(len(message.fallbacks) <= _MOST_FALLBACKS, "fallbacks", f"at most {_MOST_FALLBACKS}")
    return tuple(_options(each, f"fallbacks[{n}]") for n, each in enumerate(message.fallbacks))


def _messages(message: llm_pb2.CompleteRequest) -> tuple[Message, ...]:
    _check(bool(message.messages), "messages", "at least one")
    size = sum(len(m.content.encode()) for m in message.messages)
    _check(size <= _MESSAGES_BYTES, "messages", f"at most {_MESSAGES_BYTES} bytes in all")
    return tuple(_message(m, f"messages[{n}]") for n, m in enumerate(message.messages))


def _message(message: llm_pb2.Message, at: str) -> Message:
    _check(message.role in _ROLES, f"{at}.role", "system, user, assistant or tool")
    role = _ROLES[message.role]
    _check(
        bool(message.tool_call_id) == (role is Role.TOOL),
        f"{at}.tool_call_id",
        "set for a tool's message, and only there",
    )
    _check(
        not message.tool_calls or role is Role.ASSISTANT,
        f"{at}.tool_calls",
        "empty but for an assistant's message",
    )
    return Message(
        role=role,
        content=message.content,
        tool_call_id=message.tool_call_id,
        tool_calls=tuple(
            ToolCall(
                id=call.id,
                name=call.name,
                arguments=object_from_json(call.arguments, field=f"{at}.tool_calls[{n}].arguments"),
            )
            for n, call in enumerate(message.tool_calls)
        ),
        images=_images(message, role, at),
    )


def _images(message: llm_pb2.Message, role: Role, at: str) -> tuple[Image, ...]:
    _check(
        not message.images or role is Role.USER, f"{at}.images", "empty but for a user's message"
    )
    _check(len(message.images) <= _MOST_IMAGES, f"{at}.images", f"at most {_MOST_IMAGES}")
    return tuple(_image(image, f"{at}.images[{n}]") for n, image in enumerate(message.images))


def _image(image: llm_pb2.Image, at: str) -> Image:
    _check(bool(image.data) != bool(image.url), at, "either data or a url")
    if image.url:
        _check(image.url.startswith("https://"), f"{at}.url", "an https address")
        return Image(url=image.url)
    _check(len(image.data) <= PICTURE_BYTES, f"{at}.data", f"at most {PICTURE_BYTES} bytes")
    known = image.media_type in PICTURE_TYPES
    _check(known, f"{at}.media_type", f"one of {', '.join(PICTURE_TYPES)}")
    fits = is_picture(image.data, image.media_type)
    _check(fits, f"{at}.data", f"an image of type {image.media_type}")
    return Image(data=image.data, media_type=image.media_type)


def _tools(message: llm_pb2.CompleteRequest) -> tuple[ToolDefinition, ...]:
    names = [tool.name for tool in message.tools]
    _check(len(names) <= _MOST_TOOLS, "tools", f"at most {_MOST_TOOLS}")
    _check(len(set(names)) == len(names), "tools.name", "unique")
    return tuple(_tool(tool, f"tools[{n}]") for n, tool in enumerate(message.tools))


def _tool(tool: llm_pb2.ToolDefinition, at: str) -> ToolDefinition:
    _check(
        _TOOL_NAME.fullmatch(tool.name) is not None,
        f"{at}.name",
        "letters, digits, '_' and '-', 1 to 64 of them",
    )
    parameters = object_from_json(tool.parameters, field=f"{at}.parameters")
    kind = parameters.get("type", "object")
    _check(kind == "object", f"{at}.parameters", "the JSON Schema of an object")
    return ToolDefinition(
        name=tool.name,
        description=tool.description,
        parameters={"type": "object", "properties": {}, **parameters},
    )


def _tool_choice(message: llm_pb2.CompleteRequest) -> ToolChoice:
    _check(message.tool_choice in _TOOL_CHOICES, "tool_choice", "auto, none or required")
    choice = _TOOL_CHOICES[message.tool_choice]
    _check(
        bool(message.tools) or choice is not ToolChoice.REQUIRED,
        "tool_choice",
        "auto or none where there are no tools",
    )
    return choice


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
        tool_calls=[
            llm_pb2.ToolCall(id=call.id, name=call.name, arguments=to_json(call.arguments))
            for call in reply.tool_calls
        ],
        reasoning=reply.reasoning,
        likelihoods=[_likelihood_message(each) for each in reply.likelihoods],
        dropped_options=reply.dropped_options,
        cached=reply.cached,
        budget_warnings=[_warning_message(each) for each in reply.warnings],
    )


def failed_call_message(failed: Unanswered) -> llm_pb2.FailedCall:
    """What a failed call used all the same."""
    return llm_pb2.FailedCall(
        usage=usage_message(failed.usage),
        budget_warnings=[_warning_message(each) for each in failed.warnings],
    )


def _warning_message(warning: BudgetWarning) -> llm_pb2.BudgetWarning:
    limit = warning.limit_usd
    return llm_pb2.BudgetWarning(
        budget=warning.budget,
        period=warning.period,
        used_usd=f"{warning.used_usd:f}",
        limit_usd=None if limit is None else f"{limit:f}",
        used_tokens=warning.used_tokens,
        limit_tokens=warning.limit_tokens,
    )


def _likelihood_message(likelihood: Likelihood) -> llm_pb2.Likelihood:
    return llm_pb2.Likelihood(
        token=likelihood.token,
        logprob=likelihood.logprob,
        others=[_likelihood_message(other) for other in likelihood.others],
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
    price, abilities = model.facts.price, model.facts.abilities
    return llm_pb2.Model(
        provider=model.provider,
        name=model.name,
        available=not model.unavailable_reason,
        unavailable_reason=model.unavailable_reason,
        default=model.default,
        context_tokens=model.facts.context_tokens,
        input_usd_per_million=None if price is None else f"{price.input:f}",
        output_usd_per_million=None if price is None else f"{price.output:f}",
        tools=abilities.tools,
        json_schema=abilities.schema,
        images=abilities.images,
        reasoning=abilities.reasoning,
        embeddings=abilities.embeddings,
        max_output_tokens=model.facts.max_output_tokens,
    )


def group_message(group: Group, standings: Sequence[Standing]) -> llm_pb2.ModelGroup:
    """A group that can be named instead of a model."""
    return llm_pb2.ModelGroup(
        name=group.name,
        models=[f"{each.provider}/{each.model}" for each in group.deployments],
        fallbacks=group.fallbacks,
        deployments=[_deployment_message(each) for each in standings],
    )


def _deployment_message(standing: Standing) -> llm_pb2.ModelDeployment:
    deployment = standing.deployment
    return llm_pb2.ModelDeployment(
        provider=deployment.provider,
        model=deployment.model,
        host=deployment.host,
        weight=deployment.weight,
        concurrent=deployment.limits.concurrent,
        requests_per_minute=deployment.limits.requests_per_minute,
        tokens_per_minute=deployment.limits.tokens_per_minute,
        cooling_seconds=standing.cooling_seconds,
        waiting=standing.waiting,
        unavailable_reason=standing.unavailable,
    )


def embed_request(message: llm_pb2.EmbedRequest) -> EmbedRequest:
    """What is to be embedded. Raises RequestInvalid naming the field that is wrong."""
    texts = message.texts
    _check(1 <= len(texts) <= _MOST_TEXTS, "texts", f"1 to {_MOST_TEXTS}")
    _check(all(texts), "texts", "of at least one character each")
    size = sum(len(text.encode()) for text in texts)
    _check(size <= _MESSAGES_BYTES, "texts", f"at most {_MESSAGES_BYTES} bytes in all")
    _check(0 <= message.dimensions <= _MOST_DIMENSIONS, "dimensions", f"0 to {_MOST_DIMENSIONS}")
    return EmbedRequest(
        options=Options(
            provider=message.provider,
            model=message.model,
            api_base=message.api_base,
            api_key_env=message.api_key_env,
        ),
        texts=tuple(texts),
        dimensions=message.dimensions or None,
        attribution=_attribution(message.attribution),
        timeout_seconds=_seconds(message.timeout_seconds),
    )


def embed_response(embedded: Embedded) -> llm_pb2.EmbedResponse:
    """The vectors."""
    vectors = embedded.embeddings.vectors
    return llm_pb2.EmbedResponse(
        vectors=vectors,
        dimensions=len(vectors[0]) // _FLOAT_BYTES,
        provider=embedded.reply.provider,
        model=embedded.reply.model,
        usage=usage_message(embedded.reply.usage),
        call_id=embedded.reply.call_id,
    )
