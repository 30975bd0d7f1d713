"""Models, and what calls of them used."""

from typing import Annotated

from fastapi import APIRouter, Query

from cadre.llm_proxy.v1 import llm_pb2, usage_pb2
from cadre_gateway.entrypoint import (
    conversions,
    documents,
    usage_conversions,
    usage_documents,
)
from cadre_gateway.entrypoint.access import READ
from cadre_gateway.entrypoint.dependencies import TheLlmProxy
from cadre_gateway.entrypoint.documents import Moment
from cadre_gateway.entrypoint.errors import InvalidRequest

__all__ = ["router"]

router = APIRouter(tags=["models"])

_DIMENSIONS = ", ".join(one.value for one in usage_documents.UsageDimension)


_Start = Annotated[Moment | None, Query(description="Only calls from this time on.")]
_End = Annotated[Moment | None, Query(description="Only calls before this time.")]
_Workflow = Annotated[str, Query(max_length=200, description="Only calls of this one.")]
_RunId = Annotated[
    str, Query(max_length=200, description="Only calls of this run and of runs that are its steps.")
]


@router.get("/api/v1/models", dependencies=[READ])
async def list_models(llm_proxy: TheLlmProxy) -> documents.Models:
    """Lists the models and groups of models that can be named, and whether each can be used now."""
    answer = await llm_proxy.call(llm_proxy.models.ListModels, llm_pb2.ListModelsRequest())
    return documents.Models(
        models=[conversions.model(one) for one in answer.models],
        groups=[conversions.model_group(one) for one in answer.groups],
    )


@router.get("/api/v1/usage", dependencies=[READ])
async def query_usage(
    llm_proxy: TheLlmProxy,
    group_by: Annotated[
        str, Query(max_length=100, description=f"Any of {_DIMENSIONS}, between commas.")
    ] = "",
    start: _Start = None,
    end: _End = None,
    workflow: _Workflow = "",
    run_id: _RunId = "",
) -> usage_documents.UsageReport:
    """Adds up model calls in groups. The groups' sums equal the total."""
    dimensions = [_dimension(word.strip()) for word in group_by.split(",") if word.strip()]
    request = usage_pb2.QueryUsageRequest(
        start_time=conversions.timestamp(start),
        end_time=conversions.timestamp(end),
        group_by=[usage_conversions.USAGE_DIMENSION_NUMBERS[one] for one in dimensions],
        workflow=workflow,
        run_id=run_id,
    )
    answer = await llm_proxy.call(llm_proxy.usage.QueryUsage, request)
    return usage_conversions.usage_report(answer, dimensions)


@router.get("/api/v1/calls", dependencies=[READ])
async def list_calls(
    llm_proxy: TheLlmProxy,
    start: _Start = None,
    end: _End = None,
    workflow: _Workflow = "",
    run_id: _RunId = "",
    status: Annotated[
        usage_documents.CallStatus | None, Query(description="Only entries of this status.")
    ] = None,
    page_size: Annotated[int, Query(ge=0, le=1000, description="0 means 100.")] = 0,
    page_token: Annotated[
        str, Query(max_length=200, description="Of the page before; empty for the first.")
    ] = "",
) -> usage_documents.CallPage:
    """Lists the ledger's entries, newest first."""
    request = usage_pb2.ListCallsRequest(
        start_time=conversions.timestamp(start),
        end_time=conversions.timestamp(end),
        workflow=workflow,
        run_id=run_id,
        status=usage_conversions.call_status_number(status),
        page_size=page_size,
        page_token=page_token,
    )
    answer = await llm_proxy.call(llm_proxy.usage.ListCalls, request)
    return usage_documents.CallPage(
        calls=[usage_conversions.call(one) for one in answer.calls],
        next_page_token=answer.next_page_token,
    )


def _dimension(word: str) -> usage_documents.UsageDimension:
    try:
        return usage_documents.UsageDimension(word)
    except ValueError as exc:
        raise InvalidRequest(
            f"group_by: {word!r} is none of {_DIMENSIONS}",
            resolution="Name one or more of them, between commas.",
        ) from exc
