"""litellm's exceptions in our words, by table."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cadre_llm_proxy.adapters.failures import (
    error_body,
    failure,
    identifiers,
    meaning,
    seconds_to_wait,
)
from cadre_llm_proxy.adapters.openai_values import Unreadable
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

# What no status says: litellm's own reading is kept.
_EXACT = (facts.ContextTooLong, facts.ContentRefused, facts.OptionUnsupported)
_REFUSALS = (facts.OptionUnsupported, facts.RequestRefused)
# What litellm makes a status up for: none was answered, or a good one.
_NO_STATUS = (facts.StreamCut, facts.ReplyMalformed, facts.ProviderTimeout)
_GOOD = 200
_REFUSED = 400
# What litellm says of a reply that it cannot read.
_MADE_UP = (0, 200, 422, 500)
# The HTTP clients' names for a connection that ended before the reply did; litellm makes a status up for it.
_CUT = frozenset({"ReadError", "RemoteProtocolError", "ClientPayloadError"})
_NOT_CONNECTED = "ConnectTimeout"
# What litellm calls a body that it could not read.
_MAYBE_MALFORMED = (facts.ProviderUnreachable, facts.ProviderFailed, facts.RequestRefused)
_NOT_JSON = ("JSONDecodeError", "Expecting value", "Invalid response object", "Unable to get json")
# What the HTTP clients say, and litellm takes for a server's failure.
_NO_CONNECTION = ("Connection error", "Cannot connect to host", "connection attempts failed")


def failure_of(
    error: Exception,
    target: Target,
    *,
    seconds: float,
    answered: int = 0,
    options: Sequence[str] = (),
) -> facts.ProviderFailure:
    """What an exception from litellm means; `seconds` is how long was waited, `answered` the status of the
    answer to it, 0 when there was none, `options` the names of what the request sets."""
    for each in _chain(error):
        if isinstance(each, facts.ProviderFailure):
            return each
    status, body = _status(error), _error_body(error)
    cls = _class_of(error, status, body)
    if cls in _MAYBE_MALFORMED and answered == _GOOD and status in _MADE_UP:
        # It worked on the request, and litellm could not read what it answered.
        cls = facts.ReplyMalformed
    elif _GOOD < answered < _REFUSED:
        cls = facts.ProviderUnreachable
    details = identifiers(body)
    if cls in _REFUSALS and not answered:
        # It is litellm that refused, and made the status up.
        details |= _named(error, options)
    elif status and cls not in _NO_STATUS:
        details = {"status": str(status), **details}
    wait = seconds_to_wait(_headers_of(error), body)
    return failure(cls, target, seconds=seconds, details=details, retry_after_seconds=wait)


def is_ours(error: Exception) -> bool:
    """Whether the table has an answer for it."""
    return any(cls.__name__ in FAILURES for cls in type(error).__mro__)


def _class_of(
    error: Exception, status: int, body: Mapping[str, Any]
) -> type[facts.ProviderFailure]:
    cls = next(FAILURES[c.__name__] for c in type(error).__mro__ if c.__name__ in FAILURES)
    if cls in _EXACT:
        return cls
    if any(type(each).__name__ == _NOT_CONNECTED for each in _chain(error)):
        return facts.ProviderUnreachable
    if any(isinstance(each, Unreadable) for each in _chain(error)):
        return facts.ReplyMalformed
    if cls is facts.StreamCut and any(isinstance(e, json.JSONDecodeError) for e in _chain(error)):
        return facts.ReplyMalformed
    if any(type(each).__name__ in _CUT for each in _chain(error)):
        return facts.StreamCut
    if status >= _REFUSED and _answered(error):
        # litellm goes by words in the body before it looks at the status.
        return meaning(status, body)
    if cls in _MAYBE_MALFORMED and _is_malformed(error):
        return facts.ReplyMalformed
    if cls is facts.ProviderFailed and any(sign in str(error) for sign in _NO_CONNECTION):
        return facts.ProviderUnreachable
    return cls


def _answered(error: Exception) -> bool:
    """Whether the status is the provider's; litellm makes one up for what never got an answer."""
    return not _is_malformed(error) and not any(sign in str(error) for sign in _NO_CONNECTION)


def _is_malformed(error: Exception) -> bool:
    return any(sign in str(error) for sign in _NOT_JSON)


def _status(error: Exception) -> int:
    """What the provider answered, as the exception next to it says; 0 when it answered nothing."""
    found = [getattr(each, "status_code", None) for each in _chain(error)]
    return next((status for status in reversed(found) if isinstance(status, int)), 0)


def _error_body(error: Exception) -> Mapping[str, Any]:
    for each in _chain(error):
        try:
            document = json.loads(getattr(getattr(each, "response", None), "text", ""))
        except (ValueError, TypeError, RuntimeError):
            # Not JSON, or the body of a stream that nobody read.
            continue
        if body := error_body(document):
            return body
    return {}


def _headers_of(error: Exception) -> Mapping[str, str]:
    """Those that say for how long to wait."""
    found: dict[str, str] = {}
    for each in _chain(error):
        for holder in (getattr(each, "litellm_response_headers", None), _headers(each)):
            for name in ("retry-after", "retry-after-ms"):
                if holder and (value := holder.get(name)):
                    found.setdefault(name, str(value))
    return found


def _headers(error: BaseException) -> Mapping[str, str] | None:
    return getattr(getattr(error, "response", None), "headers", None)


def _named(error: Exception, options: Sequence[str]) -> dict[str, str]:
    """The option that an error is about."""
    words = str(error).lower().replace("_", " ")
    named = (n for n in options if re.search(rf"\b{re.escape(n.replace('_', ' '))}\b", words))
    return next(({"param": name} for name in named), {})


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The exception and those behind it: litellm keeps what the provider said in one place or another."""
    each: BaseException | None = error
    while each is not None:
        yield each
        each = each.__cause__ or each.__context__
