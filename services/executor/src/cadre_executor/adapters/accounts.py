"""What the llm-proxy knows of calls, over gRPC: the replies that it keeps, and what calls would cost."""

from collections.abc import Mapping
from decimal import Decimal

import grpc

from cadre.llm_proxy.v1 import usage_pb2, usage_pb2_grpc
from cadre_executor.adapters.peers import completion_of, reply_of
from cadre_executor.domain.forecasts import Estimate
from cadre_executor.domain.peers import Question, Reply
from cadre_kit.channels import call as call_service

__all__ = ["GrpcAccounts"]

_LLM_PROXY = "llm-proxy"
_SECONDS = 30.0
# A reply may have 64 Ki tokens, and a message 4 MiB.
_REPLIES_AT_ONCE = 10


class GrpcAccounts:
    """Asks the llm-proxy's ledger."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = usage_pb2_grpc.UsageServiceStub(channel)

    async def of_run(self, run_id: str) -> Mapping[str, Reply]:
        """A run's replies that are kept, by idempotency key."""
        found: dict[str, Reply] = {}
        request = usage_pb2.ListRepliesRequest(run_id=run_id, page_size=_REPLIES_AT_ONCE)
        while True:
            page = await call_service(
                self._stub.ListReplies, request, service=_LLM_PROXY, timeout_seconds=_SECONDS
            )
            found |= {kept.idempotency_key: reply_of(kept.reply) for kept in page.replies}
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token

    async def estimate(self, question: Question, *, more_tokens: int = 0) -> Estimate:
        """What a question would cost. Raises what is wrong with its model."""
        request = usage_pb2.EstimateRequest(
            request=completion_of(question), more_input_tokens=more_tokens
        )
        answer = await call_service(
            self._stub.Estimate, request, service=_LLM_PROXY, timeout_seconds=_SECONDS
        )
        has_limit = answer.HasField("max_output_tokens")
        return Estimate(
            provider=answer.provider,
            model=answer.model,
            input_tokens=answer.input_tokens,
            max_output_tokens=answer.max_output_tokens if has_limit else None,
            min_usd=Decimal(answer.min_usd) if answer.HasField("min_usd") else None,
            max_usd=Decimal(answer.max_usd) if answer.HasField("max_usd") else None,
            context_tokens=answer.context_tokens,
            max_requests=answer.max_requests,
            unavailable=answer.unavailable_reason,
            host=answer.host,
            tokens_per_second=answer.output_tokens_per_second
            if answer.HasField("output_tokens_per_second")
            else None,
        )
