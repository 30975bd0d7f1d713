"""What a provider's refusal means, by its HTTP status and the identifiers in its body, and how that is said.

Providers' own messages quote keys and prompts, so none of their text is passed on: only the status, and the short
identifiers (`type`, `code`, `param`) of an error's body.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Any

from cadre_llm_proxy.domain import facts
from cadre_llm_proxy.domain.calls import Target

__all__ = ["error_body", "failure", "identifiers", "meaning", "seconds_to_wait"]

_WORDS: Mapping[type[facts.ProviderFailure], tuple[str, str]] = {
    facts.KeyRefused: (
        "{provider} does not accept the key",
        "Check the key in the llm-proxy's environment, and that it belongs to {provider}.",
    ),
    facts.ProviderForbids: (
        "{provider} does not allow model {model!r} with this key",
        "Give the key access to the model, or name another model.",
    ),
    facts.ProviderUnpaid: (
        "the account with {provider} has no credit",
        "Add credit to the account, or use another provider.",
    ),
    facts.ModelUnknown: (
        "{provider} has no model {model!r}",
        "See `cadre models`, and the provider's own list; names must match exactly.",
    ),
    facts.ContextTooLong: (
        "the messages are too long for model {model!r} of {provider}",
        "Shorten the prompt or what is put into it, or use a model with a longer context.",
    ),
    facts.ContentRefused: (
        "{provider} refused the request for its content",
        "Rephrase the prompt, or use another provider.",
    ),
    facts.OptionUnsupported: (
        "model {model!r} of {provider} does not take one of the options",
        "Remove the option from the node, or use another model.",
    ),
    facts.RequestRefused: (
        "{provider} refused the request",
        "Check the node's options and output_schema against what the model takes.",
    ),
    facts.RateLimited: (
        "{provider} takes no more requests for now",
        "Try again later, send less at once, or raise the limit with the provider.",
    ),
    facts.ProviderTimeout: (
        "{provider} did not answer within {seconds:g} s",
        "Try again, or give the node a longer timeout.",
    ),
    facts.StreamCut: (
        "the connection to {provider} ended in the middle of a reply",
        "Try again.",
    ),
    facts.ProviderUnreachable: (
        "{provider} cannot be reached",
        "Check the network, and the provider's address if you set one.",
    ),
    facts.ReplyMalformed: (
        "{provider} answered something that is not a reply",
        "Try again; check the provider's address if you set one.",
    ),
    facts.ProviderFailed: (
        "{provider} failed",
        "Try again later, or use another provider.",
    ),
}

_BY_STATUS: Mapping[int, type[facts.ProviderFailure]] = {
    401: facts.KeyRefused,
    402: facts.ProviderUnpaid,
    403: facts.ProviderForbids,
    404: facts.ModelUnknown,
    # It gave up waiting for our request, and may take the next one.
    408: facts.ProviderFailed,
    413: facts.ContextTooLong,
    429: facts.RateLimited,
}
# Said more exactly than by the status.
_BY_IDENTIFIER: Mapping[str, type[facts.ProviderFailure]] = {
    "context_length_exceeded": facts.ContextTooLong,
    "exceed_context_size_error": facts.ContextTooLong,
    "request_too_large": facts.ContextTooLong,
    "content_filter": facts.ContentRefused,
    "content_policy_violation": facts.ContentRefused,
    "unsupported_parameter": facts.OptionUnsupported,
    "unsupported_value": facts.OptionUnsupported,
    "insufficient_quota": facts.ProviderUnpaid,
    "rate_limit_exceeded": facts.RateLimited,
    "invalid_api_key": facts.KeyRefused,
    "model_not_found": facts.ModelUnknown,
}
# For servers whose errors have no such identifier.
_TOO_LONG = re.compile(
    r"maximum context length|context (length|window|size)|prompt is too long|input token count",
    re.IGNORECASE,
)
_SERVERS_FAULT = 500
# Without hyphens: identifiers have none, and most keys do.
_IDENTIFIER = re.compile(r"[A-Za-z][\w.\[\]]{0,63}")
_KEY_LIKE = 6


def meaning(status: int, body: Mapping[str, Any]) -> type[facts.ProviderFailure]:
    """What an error's status and body mean."""
    if status >= _SERVERS_FAULT:
        return facts.ProviderFailed
    for value in identifiers(body).values():
        if value in _BY_IDENTIFIER:
            return _BY_IDENTIFIER[value]
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if _TOO_LONG.search(str(body.get("message", ""))):
        return facts.ContextTooLong
    return facts.RequestRefused


def failure(
    cls: type[facts.ProviderFailure],
    target: Target,
    *,
    seconds: float = 0.0,
    details: Mapping[str, str] | None = None,
) -> facts.ProviderFailure:
    """The fact, in words; `seconds` is the time that the request had."""
    details = {k: v for k, v in (details or {}).items() if not _quotes_key(v, target)}
    message, resolution = _WORDS[cls]
    said = {"provider": target.provider, "model": target.model}
    suffix = f" ({', '.join(f'{k} {v}' for k, v in details.items())})" if details else ""
    return cls(
        message.format(seconds=seconds, **said) + suffix,
        resolution=resolution.format(**said),
        metadata={**said, **details},
    )


def _quotes_key(text: str, target: Target) -> bool:
    if target.api_key is None:
        return False
    key = target.api_key.get_secret_value()
    return len(text) >= _KEY_LIKE and (text in key or key in text)


def error_body(document: object) -> Mapping[str, Any]:
    """The part of a body that tells of the error; empty when there is none."""
    if isinstance(document, list) and document:
        document = document[0]
    inner = document.get("error", document) if isinstance(document, dict) else None
    return inner if isinstance(inner, dict) else {}


def identifiers(body: Mapping[str, Any]) -> dict[str, str]:
    """The short identifiers in an error's body; they say which kind and which field, and quote nothing."""
    found = {name: body.get(name) for name in ("type", "code", "param")}
    return {
        name: value
        for name, value in found.items()
        if isinstance(value, str) and _IDENTIFIER.fullmatch(value)
    }


def seconds_to_wait(retry_after: str) -> float | None:
    """What a Retry-After header says: seconds, or a date; None when it says nothing."""
    try:
        seconds = float(retry_after)
        return max(0.0, seconds) if isfinite(seconds) else None
    except ValueError:
        pass
    try:
        until = parsedate_to_datetime(retry_after)
        return max(0.0, (until - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None
