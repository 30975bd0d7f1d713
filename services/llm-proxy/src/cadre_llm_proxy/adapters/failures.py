"""What a provider's refusal means, by its HTTP status and the identifiers in its body, and how that is said.

Providers' own messages quote keys and prompts, so none of their text is passed on: only the status, and the short
identifiers (`type`, `code`, `param`) of an error's body.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Any

from cadre_llm_proxy.domain import facts
from cadre_llm_proxy.domain.calls import Target

__all__ = [
    "error_body",
    "failure",
    "identifiers",
    "meaning",
    "meaning_within",
    "seconds_to_wait",
]

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
        "{provider} did not answer within {seconds:.1f} s",
        "Try again, or give the node a longer timeout; for the first part of a stream, CADRE_LLM_FIRST_TOKEN_SECONDS.",
    ),
    facts.StreamCut: (
        "the connection to {provider} ended in the middle of a reply",
        "Try again.",
    ),
    facts.ProviderUnreachable: (
        "{provider} cannot be reached",
        "Check the network, and the provider's address if you set one.",
    ),
    facts.ApiBaseRefused: (
        "the api_base of {model!r} is at a link-local or otherwise reserved address, which workflows may not reach",
        "Name another address, or have the operator name this one in a group of CADRE_LLM_MODELS_FILE.",
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
    # Not followed: that would carry the key to another address.
    **dict.fromkeys((301, 302, 303, 307, 308), facts.ProviderUnreachable),
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
    "unknown_parameter": facts.OptionUnsupported,
    "insufficient_quota": facts.ProviderUnpaid,
    "rate_limit_exceeded": facts.RateLimited,
    "invalid_api_key": facts.KeyRefused,
    "model_not_found": facts.ModelUnknown,
}
# For servers whose errors have no such identifier.
_BY_WORDS: Iterable[tuple[re.Pattern[str], type[facts.ProviderFailure]]] = (
    (
        re.compile(
            r"maximum context length|context (length|window|size)|prompt is too long|input token count",
            re.IGNORECASE,
        ),
        facts.ContextTooLong,
    ),
    # Google's and Anthropic's, with status 400.
    (re.compile(r"API[ _]key (not valid|expired|not found)", re.IGNORECASE), facts.KeyRefused),
    (re.compile(r"credit balance is too low", re.IGNORECASE), facts.ProviderUnpaid),
    (re.compile(r"location is not supported", re.IGNORECASE), facts.ProviderForbids),
    # Ollama's.
    (re.compile(r"does not support (tools|thinking|images)"), facts.OptionUnsupported),
)
_SERVERS_FAULT = 500
# The statuses of errors that come after a good one, by Anthropic's and OpenAI's types.
_STATUS_WITHIN: Mapping[str, int] = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
}
_WAIT = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)s", re.ASCII)
# Without hyphens: identifiers have none, and most keys do.
_IDENTIFIER = re.compile(r"[A-Za-z][\w.\[\]]{0,63}")
_KEY_LIKE = 6
_REFUSED = 400
_MOST_WORDS = 2000


def meaning(status: int, body: Mapping[str, Any]) -> type[facts.ProviderFailure]:
    """What an error's status and body mean."""
    if status >= _SERVERS_FAULT:
        return facts.ProviderFailed
    for value in identifiers(body).values():
        if value in _BY_IDENTIFIER:
            return _BY_IDENTIFIER[value]
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    words = str(body.get("message", ""))[:_MOST_WORDS]
    return next((cls for said, cls in _BY_WORDS if said.search(words)), facts.RequestRefused)


def meaning_within(body: Mapping[str, Any]) -> type[facts.ProviderFailure]:
    """What an error means that came after a good status: what the provider took, it mostly failed at itself."""
    code = body.get("code")
    said = identifiers(body)
    if isinstance(code, int) and code >= _REFUSED:
        return meaning(code, body)
    if any(each in _BY_IDENTIFIER for each in said.values()):
        return meaning(_REFUSED, body)
    return meaning(_STATUS_WITHIN.get(said.get("type", ""), _SERVERS_FAULT), body)


def failure(
    cls: type[facts.ProviderFailure],
    target: Target,
    *,
    seconds: float = 0.0,
    details: Mapping[str, str] | None = None,
    retry_after_seconds: float | None = None,
) -> facts.ProviderFailure:
    """The fact, in words; `seconds` is how long was waited, `retry_after_seconds` what is to be waited."""
    details = {k: v for k, v in (details or {}).items() if not _quotes_key(v, target)}
    if retry_after_seconds is not None:
        details["retry_after_seconds"] = f"{retry_after_seconds:g}"
    message, resolution = _WORDS[cls]
    said = {"provider": target.provider, "model": target.model}
    suffix = f" ({', '.join(f'{k} {v}' for k, v in details.items())})" if details else ""
    fact = cls(
        message.format(seconds=seconds, **said) + suffix,
        resolution=resolution.format(**said),
        metadata={**said, **details},
    )
    fact.retry_after_seconds = retry_after_seconds
    return fact


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


def seconds_to_wait(headers: Mapping[str, str], body: Mapping[str, Any]) -> float | None:
    """For how long a refusal wants no further request: as its Retry-After header says, in seconds or as a date, its
    retry-after-ms (OpenAI), or the RetryInfo in its body (Google). None when it does not say."""
    milliseconds = _number(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return milliseconds / 1000
    said = headers.get("retry-after", "")
    seconds = _number(said)
    if seconds is None:
        seconds = _until(said)
    return _delay(body) if seconds is None else seconds


def _until(date: str) -> float | None:
    try:
        return max(0.0, (parsedate_to_datetime(date) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return max(0.0, number) if isfinite(number) else None


def _delay(body: Mapping[str, Any]) -> float | None:
    details = body.get("details")
    for each in details if isinstance(details, list) else ():
        said = each.get("retryDelay") if isinstance(each, dict) else None
        if isinstance(said, str) and (found := _WAIT.fullmatch(said)):
            return float(found[1])
    return None
