"""What can go wrong with a model call: each fact with its code, whether it may pass, and whether it was paid for."""

from enum import Enum
from typing import ClassVar

from cadre_kit.errors import (
    CadreError,
    Conflict,
    DeadlineExceeded,
    FailedPrecondition,
    InvalidInput,
    LimitExceeded,
    NotFound,
    Unavailable,
)


class Spent(Enum):
    """What a failed request used: NOTHING where the provider refused it, UNKNOWN where it may have worked on it."""

    NOTHING = "nothing"
    UNKNOWN = "unknown"


class ProviderFailure(CadreError):
    """A request to a provider that brought no reply.

    `passing` failures are tried again; not before `retry_after_seconds`, when the provider said so.
    """

    passing: ClassVar[bool] = False
    # Whether another model may answer what this one could not.
    may_pass_elsewhere: ClassVar[bool] = True
    # Whether it says something of how the provider is, and not only of the request.
    is_of_the_server: ClassVar[bool] = False
    spent: ClassVar[Spent] = Spent.NOTHING
    retry_after_seconds: float | None = None


class ProviderUnknown(InvalidInput):
    """No provider of that name is known."""

    code = "PROVIDER_UNKNOWN"


class ApiBaseRefused(ProviderFailure, InvalidInput):
    """An address was given where none belongs, is missing where one is needed, or may not be reached."""

    code = "API_BASE_REFUSED"


class ImageUnusable(ProviderFailure, InvalidInput):
    """An image cannot be fetched from its address, or is none."""

    code = "IMAGE_UNUSABLE"


class KeyVariableRefused(InvalidInput):
    """The variable named for a key may not be used for that provider."""

    code = "PROVIDER_KEY_VARIABLE_REFUSED"


class KeyMissing(FailedPrecondition):
    """The provider needs a key and there is none. Nothing was sent."""

    code = "PROVIDER_KEY_MISSING"


class OutputSchemaInvalid(InvalidInput):
    """The schema asked for is not a JSON Schema."""

    code = "OUTPUT_SCHEMA_INVALID"


class ToolSchemaInvalid(InvalidInput):
    """The parameters of a tool that is offered are not a JSON Schema that can be used."""

    code = "TOOL_SCHEMA_INVALID"


class RequestInvalid(InvalidInput):
    """A field of the request is out of its limits."""

    code = "REQUEST_INVALID"


class KeyReused(Conflict):
    """The idempotency key came before, with another request."""

    code = "IDEMPOTENCY_KEY_REUSED"


class CallUnderWay(Unavailable):
    """Another llm-proxy is at work on the call of this idempotency key, and took longer than the caller would wait."""

    code = "CALL_UNDER_WAY"


class BudgetExceeded(LimitExceeded):
    """The call's worst case does not fit into what is left of a budget. Nothing was sent."""

    code = "BUDGET_EXCEEDED"
    # The models to ask instead, as PROVIDER/MODEL, the first one first.
    downgrades: tuple[str, ...] = ()


class BudgetNeedsPrice(FailedPrecondition):
    """A budget in US dollars holds for the call, and nobody knows what the model costs. Nothing was sent."""

    code = "BUDGET_NEEDS_PRICE"


class BudgetNeedsMaxTokens(FailedPrecondition):
    """A budget holds for the call, and nobody knows how much the model can write. Nothing was sent."""

    code = "BUDGET_NEEDS_MAX_TOKENS"


class BudgetInvalid(InvalidInput):
    """A budget says something that cannot be."""

    code = "BUDGET_INVALID"


class BudgetNotFound(NotFound):
    """There is no budget of that name."""

    code = "BUDGET_NOT_FOUND"


class ModelsFileInvalid(FailedPrecondition):
    """The operator's file of groups of models cannot be used."""

    code = "MODELS_FILE_INVALID"


class PricesFileInvalid(FailedPrecondition):
    """The file of prices cannot be read, or says something that cannot be."""

    code = "PRICES_FILE_INVALID"


class KeyRefused(ProviderFailure, FailedPrecondition):
    """The provider does not accept the key."""

    code = "PROVIDER_KEY_REFUSED"
    is_of_the_server = True


class ProviderForbids(ProviderFailure, FailedPrecondition):
    """The key is good, but not for this model or place."""

    code = "PROVIDER_FORBIDS"


class ProviderUnpaid(ProviderFailure, FailedPrecondition):
    """The account with the provider has no credit."""

    code = "PROVIDER_UNPAID"
    is_of_the_server = True


class ModelUnknown(ProviderFailure, NotFound):
    """The provider has no model of that name."""

    code = "MODEL_UNKNOWN"


class RequestRefused(ProviderFailure, InvalidInput):
    """The provider does not take the request as it is."""

    code = "PROVIDER_REFUSED_REQUEST"
    may_pass_elsewhere = False


class OptionUnsupported(ProviderFailure, InvalidInput):
    """The model does not take one of the options."""

    code = "MODEL_OPTION_UNSUPPORTED"
    may_pass_elsewhere = False


class ContextTooLong(ProviderFailure, InvalidInput):
    """The messages are longer than the model's context."""

    code = "CONTEXT_TOO_LONG"


class ContentRefused(ProviderFailure, FailedPrecondition):
    """The provider's content policy does not allow the request, or the reply to it."""

    code = "CONTENT_REFUSED"

    @classmethod
    def of_reply(cls) -> "ContentRefused":
        """That the reply was withheld, or a refusal."""
        return cls(
            "the provider withheld the reply for its content",
            resolution="Rephrase the prompt, or use another provider.",
        )


class RateLimited(ProviderFailure, LimitExceeded):
    """The provider takes no more requests for now."""

    code = "RATE_LIMITED"
    is_of_the_server = True
    passing = True


class ProviderFailed(ProviderFailure, Unavailable):
    """The provider answered that it failed."""

    code = "PROVIDER_FAILED"
    is_of_the_server = True
    passing = True


class ProviderUnreachable(ProviderFailure, Unavailable):
    """Nobody answers at the provider's address."""

    code = "PROVIDER_UNREACHABLE"
    is_of_the_server = True
    passing = True


class ProviderTimeout(ProviderFailure, DeadlineExceeded):
    """The provider did not answer in time."""

    code = "PROVIDER_TIMEOUT"
    is_of_the_server = True
    spent = Spent.UNKNOWN


class TimeUsedUp(ProviderTimeout):
    """The call's time was over before its next request was sent."""

    is_of_the_server = False
    spent = Spent.NOTHING


class ReplyMalformed(ProviderFailure, Unavailable):
    """The provider answered something that is not a reply."""

    code = "PROVIDER_REPLY_MALFORMED"
    is_of_the_server = True
    passing = True
    spent = Spent.UNKNOWN


class StreamCut(ProviderFailure, Unavailable):
    """The connection ended in the middle of a reply."""

    code = "PROVIDER_STREAM_CUT"
    is_of_the_server = True
    passing = True
    spent = Spent.UNKNOWN


class OutputInvalid(ProviderFailure, Unavailable):
    """The model's reply is not what the schema asks for; another try may be."""

    code = "MODEL_OUTPUT_INVALID"
    # What the model wrote, to show it to the model again; never part of the message.
    output = ""


class OutputTruncated(ProviderFailure, FailedPrecondition):
    """The reply was cut by its token limit before the JSON document was complete."""

    code = "MODEL_OUTPUT_TRUNCATED"


class ModelBusy(ProviderFailure, LimitExceeded):
    """The operator's limits give the model no more calls for now. Nothing was sent."""

    code = "MODEL_BUSY"


class EmbeddedBusy(ProviderFailure, LimitExceeded):
    """More calls wait for the embedded model than may."""

    code = "EMBEDDED_BUSY"


class EmbeddedFailed(ProviderFailure, Unavailable):
    """The embedded model's process did not start, or died."""

    code = "EMBEDDED_MODEL_FAILED"
    passing = True
