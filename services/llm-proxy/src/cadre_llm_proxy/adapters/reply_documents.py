"""Replies as JSON documents, in which they are kept for their idempotency keys."""

from dataclasses import asdict
from decimal import Decimal
from typing import Any

from cadre_llm_proxy.domain.calls import (
    BudgetWarning,
    FinishReason,
    Likelihood,
    Reply,
    ToolCall,
    Usage,
)

__all__ = ["reply_document", "reply_from"]


def reply_document(reply: Reply) -> dict[str, Any]:
    """What JSON can say of a reply; money is exact text."""
    usage = reply.usage
    return {
        "content": reply.content,
        "finish_reason": reply.finish_reason.value,
        "provider": reply.provider,
        "model": reply.model,
        "latency_ms": reply.latency_ms,
        "call_id": reply.call_id,
        "tool_calls": [
            {"id": call.id, "name": call.name, "arguments": call.arguments}
            for call in reply.tool_calls
        ],
        "reasoning": reply.reasoning,
        "likelihoods": [asdict(each) for each in reply.likelihoods],
        "dropped_options": reply.dropped_options,
        "usage": {
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "cost_usd": None if usage.cost_usd is None else f"{usage.cost_usd:f}",
            "calls": usage.calls,
            "unpriced_calls": usage.unpriced_calls,
        },
        "warnings": [_warning_document(each) for each in reply.warnings],
    }


def reply_from(document: dict[str, Any]) -> Reply:
    """The reply that a document says."""
    usage = document["usage"]
    cost = usage["cost_usd"]
    return Reply(
        content=document["content"],
        finish_reason=FinishReason(document["finish_reason"]),
        provider=document["provider"],
        model=document["model"],
        latency_ms=document["latency_ms"],
        call_id=document["call_id"],
        tool_calls=tuple(ToolCall(**call) for call in document["tool_calls"]),
        reasoning=document["reasoning"],
        likelihoods=tuple(_likelihood(each) for each in document["likelihoods"]),
        dropped_options=tuple(document["dropped_options"]),
        usage=Usage(**{**usage, "cost_usd": None if cost is None else Decimal(cost)}),
        # Replies that an earlier release kept have none.
        warnings=tuple(map(_warning, document.get("warnings", ()))),
    )


def _warning_document(warning: BudgetWarning) -> dict[str, Any]:
    limit = warning.limit_usd
    money = {
        "used_usd": f"{warning.used_usd:f}",
        "limit_usd": None if limit is None else f"{limit:f}",
    }
    return {**asdict(warning), **money}


def _warning(document: dict[str, Any]) -> BudgetWarning:
    limit = document["limit_usd"]
    money = {
        "used_usd": Decimal(document["used_usd"]),
        "limit_usd": None if limit is None else Decimal(limit),
    }
    return BudgetWarning(**{**document, **money})


def _likelihood(document: dict[str, Any]) -> Likelihood:
    return Likelihood(
        token=document["token"],
        logprob=document["logprob"],
        others=tuple(_likelihood(each) for each in document["others"]),
    )
