"""Builds the llm-proxy's parts; the only place that does."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

from cadre.llm_proxy.v1 import llm_pb2_grpc, usage_pb2_grpc
from cadre_kit.addresses import AddressRules
from cadre_kit.serving import GrpcService
from cadre_llm_proxy.adapters.any_models import AnyModels
from cadre_llm_proxy.adapters.embedded import EmbeddedModel
from cadre_llm_proxy.adapters.litellm_library import LitellmLibrary, PublishedByLitellm
from cadre_llm_proxy.adapters.litellm_models import LitellmModels
from cadre_llm_proxy.adapters.models_file import AbleModels, read_models
from cadre_llm_proxy.adapters.openai_http import OpenAiHttp, Patience
from cadre_llm_proxy.adapters.picture_fetching import PictureFetching
from cadre_llm_proxy.adapters.prices_file import PricedModels, read_prices
from cadre_llm_proxy.adapters.sql_ledger import NAME, SqlLedger, open_ledger, utc_now
from cadre_llm_proxy.adapters.tiktoken_tokenizer import TiktokenTokenizer
from cadre_llm_proxy.adapters.traced_models import TracedModels
from cadre_llm_proxy.adapters.word_vectors import WordVectors
from cadre_llm_proxy.domain.accounts import Accounts
from cadre_llm_proxy.domain.calls import Options, Target
from cadre_llm_proxy.domain.completions import Completions
from cadre_llm_proxy.domain.embedding import Embedding
from cadre_llm_proxy.domain.metering import Metering
from cadre_llm_proxy.domain.patience import PatientLedger
from cadre_llm_proxy.domain.providers import Environment, Providers
from cadre_llm_proxy.domain.replies import Replies
from cadre_llm_proxy.domain.routes import Group, Routes
from cadre_llm_proxy.domain.usage import CallQuery, Selection
from cadre_llm_proxy.entrypoint.llm import LlmServicer
from cadre_llm_proxy.entrypoint.usage import UsageServicer
from cadre_llm_proxy.settings import ProcessEnvironment, Settings

__all__ = ["build", "build_with"]

_MOST_REMEMBERED = 100_000


@asynccontextmanager
async def build(settings: Settings) -> AsyncIterator[Sequence[GrpcService]]:
    """The services, with the process's own environment for keys and addresses."""
    async with build_with(settings, ProcessEnvironment.of_process()) as services:
        yield services


@asynccontextmanager
async def build_with(
    settings: Settings, environment: Environment, clock: Callable[[], datetime] = utc_now
) -> AsyncIterator[Sequence[GrpcService]]:
    """The services. Opens the ledger; closes what it opened."""
    own_prices = read_prices(settings.prices_file)
    own_models = read_models(settings.llm_models_file)
    ledger = await _opened_ledger(settings, clock)
    library = LitellmLibrary()
    patience = Patience(
        connect_seconds=settings.llm_connect_seconds,
        first_token_seconds=settings.llm_first_token_seconds,
    )
    direct = OpenAiHttp(patience, _rules(own_models.groups.values()))
    embedded = _embedded_model(settings)
    published = await asyncio.to_thread(PublishedByLitellm)
    providers = Providers(
        environment=environment,
        published=AbleModels(PricedModels(published, own=own_prices), own=own_models.abilities),
        default_model=settings.default_model,
        embedded_context_tokens=settings.embedded_context_tokens,
    )

    async def target_of(options: Options) -> Target:
        return providers.target(options)

    pictures = PictureFetching(AddressRules())
    models = AnyModels(
        direct=direct,
        litellm=LitellmModels(library, patience),
        embedded=embedded,
        vectors=WordVectors(),
        pictures=pictures,
    )
    patient = PatientLedger(ledger)
    tokenizer = TiktokenTokenizer()
    # No call shall wait for it.
    tokenizer.begin()
    metering = Metering(entries=patient, tokenizer=tokenizer, target_of=target_of, clock=clock)
    traced = TracedModels(models, with_content=settings.trace_content)
    completions = Completions(
        providers=providers,
        models=traced,
        metering=metering,
        replies=Replies(patient),
        routes=await _routes(own_models.groups, ledger, settings, clock()),
        retries=settings.llm_retries,
        drops=settings.llm_drop_unsupported,
    )
    try:
        accounts = Accounts(
            ledger=ledger,
            settled=patient.settled,
            tokenizer=tokenizer,
            target_of=target_of,
            estimated=providers.estimated,
        )
        embedding = Embedding(providers=providers, models=traced, metering=metering)
        yield _services(LlmServicer(completions, embedding), UsageServicer(accounts))
    finally:
        await direct.close()
        await pictures.close()
        await embedded.close()
        await library.close()
        await patient.settled()
        await ledger.close()


async def _opened_ledger(settings: Settings, clock: Callable[[], datetime]) -> SqlLedger:
    """The ledger at its newest schema, without the replies whose time is over."""
    url = settings.database_url(settings.llm_proxy_database_url, NAME)
    ledger = await open_ledger(url, clock=clock)
    await ledger.join()
    await ledger.forget_replies(before=clock() - timedelta(days=settings.llm_reply_days))
    return ledger


async def _routes(
    groups: Mapping[str, Group], ledger: SqlLedger, settings: Settings, now: datetime
) -> Routes:
    """The routes, which know what was sent in the minute before this start."""
    routes = Routes(groups, cooldown_seconds=settings.llm_cooldown_seconds)
    if routes.forgets:
        last_minute = Selection(start=now - timedelta(minutes=1))
        entries = await ledger.entries(CallQuery(selection=last_minute, limit=_MOST_REMEMBERED))
        routes.remember(entries, now)
    return routes


def _rules(groups: Iterable[Group]) -> AddressRules:
    """What a workflow's api_base may reach: models on this machine and near it too, and what the operator names."""
    rules = AddressRules(near=True)
    for group in groups:
        for deployment in group.deployments:
            if deployment.api_base:
                rules = rules.allowing_url(deployment.api_base)
    return rules


def _embedded_model(settings: Settings) -> EmbeddedModel:
    return EmbeddedModel(
        threads=settings.embedded_threads,
        slots=settings.embedded_slots,
        queue=settings.embedded_queue,
        context_tokens=settings.embedded_context_tokens,
    )


def _services(llm: LlmServicer, usage: UsageServicer) -> list[GrpcService]:
    return [
        GrpcService(
            name="cadre.llm_proxy.v1.LlmService",
            add=lambda server: llm_pb2_grpc.add_LlmServiceServicer_to_server(llm, server),
        ),
        GrpcService(
            name="cadre.llm_proxy.v1.UsageService",
            add=lambda server: usage_pb2_grpc.add_UsageServiceServicer_to_server(usage, server),
        ),
    ]
