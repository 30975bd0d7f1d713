"""API keys: made, listed, given another secret, revoked; and who asks."""

import time
from typing import Annotated

from fastapi import APIRouter, Path, status

from cadre.llm_proxy.v1 import usage_pb2
from cadre_gateway.domain import api_keys as domain
from cadre_gateway.entrypoint import key_documents as documents
from cadre_gateway.entrypoint import usage_conversions, usage_documents
from cadre_gateway.entrypoint.access import ADMIN, READ, TheCaller
from cadre_gateway.entrypoint.dependencies import TheLlmProxy, TheParts
from cadre_gateway.entrypoint.errors import InvalidRequest
from cadre_kit.errors import CadreError

__all__ = ["router"]

router = APIRouter(tags=["keys"])

_Name = Annotated[str, Path(max_length=63, description="The key's name.")]


@router.get("/api/v1/whoami", dependencies=[READ])
async def who_am_i(caller: TheCaller) -> documents.WhoAmI:
    """Says whose key the request carries, and what it may do."""
    return documents.who_am_i(caller)


@router.get("/api/v1/keys", dependencies=[ADMIN])
async def list_keys(parts: TheParts) -> documents.Keys:
    """Lists the keys that were made, by name, those too that are not valid any more."""
    return documents.Keys(keys=[documents.key(one) for one in await parts.keys.list()])


@router.post("/api/v1/keys", status_code=status.HTTP_201_CREATED, dependencies=[ADMIN])
async def create_key(
    asked: documents.NewKey, parts: TheParts, llm_proxy: TheLlmProxy
) -> documents.MadeKey:
    """Makes a key. Its secret is in this answer and nowhere else, so a repeated request does not get it again: 409."""
    now, secret = time.time(), domain.new_secret()
    key = domain.ApiKey(
        name=domain.checked_name(asked.name),
        prefix=secret.prefix,
        scope=asked.scope,
        created_time=now,
        expires_time=None if asked.expires_seconds is None else now + asked.expires_seconds,
        rate=_rate(asked),
    )
    budget = _budget(asked)
    await parts.keys.add(key, secret)
    if budget is not None:
        try:
            await llm_proxy.call(
                llm_proxy.usage.SetBudget, usage_pb2.SetBudgetRequest(budget=budget)
            )
        except CadreError:
            # Nobody was told its secret: there is no key without the bound that it was asked for with.
            await parts.keys.remove(key.name)
            raise
    return documents.MadeKey(secret=secret.secret, key=documents.key(key))


@router.post("/api/v1/keys/{name}/rotate", dependencies=[ADMIN])
async def rotate_key(
    name: _Name, asked: documents.KeyRotation, parts: TheParts
) -> documents.MadeKey:
    """Gives a key another secret, which is in this answer and nowhere else. Its name, costs and limits stay."""
    _check_not_admin(name)
    secret = domain.new_secret()
    key = await parts.keys.rotate(name, secret, grace_seconds=asked.grace_seconds)
    return documents.MadeKey(secret=secret.secret, key=documents.key(key))


@router.post("/api/v1/keys/{name}/revoke", dependencies=[ADMIN])
async def revoke_key(name: _Name, parts: TheParts) -> documents.Key:
    """Takes a key back, at once and for good. Runs that it started go on, within its budget."""
    _check_not_admin(name)
    return documents.key(await parts.keys.revoke(name))


def _check_not_admin(name: str) -> None:
    if name == domain.ADMIN_NAME:
        raise domain.KeyReserved


def _rate(asked: documents.NewKey) -> domain.Rate | None:
    if asked.rate is None:
        return None
    return domain.Rate(requests=asked.rate.requests, seconds=asked.rate.seconds)


def _budget(asked: documents.NewKey) -> usage_pb2.Budget | None:
    budget = asked.budget
    if budget is None:
        return None
    if budget.usd is None and budget.tokens is None:
        raise InvalidRequest("budget: one of usd and tokens is needed")
    return usage_conversions.budget_message(
        usage_documents.Budget(
            name=f"key.{asked.name}",
            scope=usage_documents.BudgetScope.KEY,
            subject=asked.name,
            period=budget.period,
            usd=budget.usd,
            tokens=budget.tokens,
        )
    )
