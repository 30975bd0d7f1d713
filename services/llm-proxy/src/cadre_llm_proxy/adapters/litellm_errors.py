"""litellm's exceptions in our words, by table.

Providers' own messages quote keys and prompts, so none of their text is passed on: only the status, and the short
identifiers (`type`, `code`, `param`) of an OpenAI-like error body.
"""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from cadre_llm_proxy.domain import facts
from cadre_llm_proxy.domain.calls import Target

__all__ = ["FAILURES", "failure_of", "is_ours"]

# By class name, as litellm is imported late. An exception is what the first of its classes in this table says.
FAILURES: Mapping[str, type[facts.ProviderFailure]] = {
    "AuthenticationError": facts.KeyRefused,
    "PermissionDeniedError": facts.ProviderForbids,
    "PaymentRequiredError": facts.ProviderUnpaid,
    "NotFoundError": facts.ModelUnknown,
    "LiteLLMUnknownProvider": facts.ModelUnknown,
    "ModelNotMappedError": facts.ModelUnknown,
    "ContextWindowExceededError": facts.ContextTooLong,
    "ContentPolicyViolationError": facts.ContentRefused,
    "GuardrailRaisedException": facts.ContentRefused,
    "BlockedPiiEntityError": facts.ContentRefused,
    "SensitiveDataRouteException": facts.ContentRefused,
    "ModifyResponseException": facts.ContentRefused,
    "UnsupportedParamsError": facts.OptionUnsupported,
    "BadRequestError": facts.RequestRefused,
    "InvalidRequestError": facts.RequestRefused,
    "RejectedRequestError": facts.RequestRefused,
    "UnprocessableEntityError": facts.RequestRefused,
    "ImageFetchError": facts.RequestRefused,
    "VectorStoreSearchError": facts.RequestRefused,
    "RateLimitError": facts.RateLimited,
    "BudgetExceededError": facts.RateLimited,
    "Timeout": facts.ProviderTimeout,
    "APITimeoutError": facts.ProviderTimeout,
    "MidStreamFallbackError": facts.StreamCut,
    "APIConnectionError": facts.ProviderUnreachable,
    "APIResponseValidationError": facts.ReplyMalformed,
    "JSONSchemaValidationError": facts.ReplyMalformed,
    "ServiceUnavailableError": facts.ProviderFailed,
    "BadGatewayError": facts.ProviderFailed,
    "InternalServerError": facts.ProviderFailed,
    "APIError": facts.ProviderFailed,
    "APIStatusError": facts.ProviderFailed,
    "MockException": facts.ProviderFailed,
    "OpenAIError": facts.ProviderFailed,
}

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

_SERVERS_FAULT = 500
_BY_STATUS: Mapping[int, type[facts.ProviderFailure]] = {
    401: facts.KeyRefused,
    402: facts.ProviderUnpaid,
    403: facts.ProviderForbids,
    404: facts.ModelUnknown,
    429: facts.RateLimited,
}
_IDENTIFIER = re.compile(r"[A-Za-z][\w.\[\]-]{0,63}")
_NOT_JSON = ("JSONDecodeError", "Expecting value", "Invalid response object", "Unable to get json")
# What the HTTP clients say, and litellm takes for a server's failure.
_NO_CONNECTION = ("Connection error", "Cannot connect to host", "connection attempts failed")


def failure_of(error: Exception, target: Target, *, seconds: float) -> facts.ProviderFailure:
    """What an exception from litellm means; `seconds` is the time that the request had."""
    cls = _class_of(error)
    message, resolution = _WORDS[cls]
    said = {"provider": target.provider, "model": target.model}
    details = _details(error)
    failure = cls(
        message.format(seconds=seconds, **said) + _suffix(details),
        resolution=resolution.format(**said),
        metadata={**said, **details},
    )
    failure.retry_after_seconds = _retry_after(error)
    return failure


def is_ours(error: Exception) -> bool:
    """Whether the table has an answer for it."""
    return any(cls.__name__ in FAILURES for cls in type(error).__mro__)


def _class_of(error: Exception) -> type[facts.ProviderFailure]:
    cls = next(FAILURES[c.__name__] for c in type(error).__mro__ if c.__name__ in FAILURES)
    if cls is facts.RequestRefused:
        # litellm goes by words in the body before it looks at the status.
        return _by_status(_status(error))
    if cls in (facts.ProviderUnreachable, facts.ProviderFailed) and _is_malformed(error):
        return facts.ReplyMalformed
    if cls is facts.ProviderFailed and any(sign in str(error) for sign in _NO_CONNECTION):
        return facts.ProviderUnreachable
    return cls


def _is_malformed(error: Exception) -> bool:
    # litellm says "connection error" also of a body that it could not read.
    return any(sign in str(error) for sign in _NOT_JSON)


def _by_status(status: int) -> type[facts.ProviderFailure]:
    if status >= _SERVERS_FAULT:
        return facts.ProviderFailed
    return _BY_STATUS.get(status, facts.RequestRefused)


def _status(error: Exception) -> int:
    """What the provider answered, as the exception next to it says; 0 when it answered nothing."""
    found = [getattr(each, "status_code", None) for each in _chain(error)]
    return next((status for status in reversed(found) if isinstance(status, int)), 0)


def _details(error: Exception) -> dict[str, str]:
    status = _status(error)
    details = {"status": str(status)} if status else {}
    body = _error_body(error)
    for name in ("type", "code", "param"):
        value = body.get(name)
        if isinstance(value, str) and _IDENTIFIER.fullmatch(value):
            details[name] = value
    return details


def _error_body(error: Exception) -> Mapping[str, Any]:
    for each in _chain(error):
        try:
            body = json.loads(getattr(getattr(each, "response", None), "text", ""))
        except (ValueError, TypeError, RuntimeError):
            # Not JSON, or the body of a stream that nobody read.
            continue
        inner = body.get("error", body) if isinstance(body, dict) else None
        if isinstance(inner, dict):
            return inner
    return {}


def _suffix(details: Mapping[str, str]) -> str:
    return f" ({', '.join(f'{k} {v}' for k, v in details.items())})" if details else ""


def _retry_after(error: Exception) -> float | None:
    text = _header(error, "retry-after")
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


def _header(error: Exception, name: str) -> str:
    for each in _chain(error):
        for holder in (getattr(each, "litellm_response_headers", None), _headers(each)):
            if holder and (value := holder.get(name)):
                return str(value)
    return ""


def _headers(error: BaseException) -> Mapping[str, str] | None:
    return getattr(getattr(error, "response", None), "headers", None)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The exception and those behind it: litellm keeps what the provider said in one place or another."""
    each: BaseException | None = error
    while each is not None:
        yield each
        each = each.__cause__ or each.__context__
