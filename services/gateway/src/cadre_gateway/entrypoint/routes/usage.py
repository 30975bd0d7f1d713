"""Models, and what calls of them used."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import AfterValidator, AwareDatetime
from pydantic_core import PydanticCustomError

from cadre.llm_proxy.v1 import llm_pb2, usage_pb2
from cadre_gateway.entrypoint import conversions, documents
from cadre_gateway.entrypoint.dependencies import TheLlmProxy
from cadre_gateway.entrypoint.errors import InvalidRequest

__all__ = ["router"]

router = APIRouter(tags=["models"])

_YEARS = range(1970, 9999)
_DIMENSIONS = ", ".join(one.value for one in documents.UsageDimension)


def _in_our_age(moment: datetime) -> datetime:
    # The ends of the calendar overflow when a time zone is taken off them.
    if moment.year not in _YEARS:
        raise PydanticCustomError("time_out_of_range", "the year must be between 1970 and 9998")
    return moment


_Moment = Annotated[AwareDatetime, AfterValidator(_in_our_age)]


@router.get("/api/v1/models")
async def list_models(llm_proxy: TheLlmProxy) -> documents.Models:
    """Lists the models that can be named, and whether each can be used now."""
    answer = await llm_proxy.call(llm_proxy.models.ListModels, llm_pb2.ListModelsRequest())
    return documents.Models(models=[conversions.model(one) for one in answer.models])


@router.get("/api/v1/usage")
async def query_usage(
    llm_proxy: TheLlmProxy,
    group_by: Annotated[
        str, Query(max_length=100, description=f"Any of {_DIMENSIONS}, between commas.")
    ] = "",
    start: Annotated[_Moment | None, Query(description="Only calls from this time on.")] = None,
    end: Annotated[_Moment | None, Query(description="Only calls before this time.")] = None,
    workflow: Annotated[str, Query(max_length=200, description="Only calls of this one.")] = "",
    run_id: Annotated[str, Query(max_length=200, description="Only calls of this run.")] = "",
) -> documents.UsageReport:
    """Adds up model calls in groups. The groups' sums equal the total."""
    dimensions = [_dimension(word.strip()) for word in group_by.split(",") if word.strip()]
    request = usage_pb2.QueryUsageRequest(
        start_time=conversions.timestamp(start),
        end_time=conversions.timestamp(end),
        group_by=[conversions.USAGE_DIMENSION_NUMBERS[one] for one in dimensions],
        workflow=workflow,
        run_id=run_id,
    )
    answer = await llm_proxy.call(llm_proxy.usage.QueryUsage, request)
    return documents.UsageReport(
        groups=[conversions.usage_group(group, dimensions) for group in answer.groups],
        total=conversions.usage(answer.total),
    )


def _dimension(word: str) -> documents.UsageDimension:
    try:
        return documents.UsageDimension(word)
    except ValueError as exc:
        raise InvalidRequest(
            f"group_by: {word!r} is none of {_DIMENSIONS}",
            resolution="Name one or more of them, between commas.",
        ) from exc
