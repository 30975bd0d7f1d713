"""Builds the llm-proxy's parts; the only place that does."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from cadre.llm_proxy.v1 import llm_pb2_grpc, usage_pb2_grpc
from cadre_kit.databases import migrate, open_blocking_database
from cadre_kit.serving import GrpcService
from cadre_llm_proxy.adapters.embedded import EmbeddedModel
from cadre_llm_proxy.adapters.litellm_library import LitellmLibrary
from cadre_llm_proxy.adapters.litellm_models import LitellmModels
from cadre_llm_proxy.adapters.prices_file import PricedModels, read_prices
from cadre_llm_proxy.adapters.sql_ledger import MIGRATIONS, NAME, SqlLedger
from cadre_llm_proxy.adapters.tiktoken_tokenizer import TiktokenTokenizer
from cadre_llm_proxy.adapters.traced_models import TracedModels
from cadre_llm_proxy.domain.accounts import Accounts
from cadre_llm_proxy.domain.calls import Options, Target
from cadre_llm_proxy.domain.completions import Completions
from cadre_llm_proxy.domain.metering import Metering
from cadre_llm_proxy.domain.patience import PatientLedger
from cadre_llm_proxy.domain.providers import Environment, Providers
from cadre_llm_proxy.domain.replies import Replies
from cadre_llm_proxy.entrypoint.llm import LlmServicer
from cadre_llm_proxy.entrypoint.usage import UsageServicer
from cadre_llm_proxy.settings import ProcessEnvironment, Settings

__all__ = ["build", "build_with"]

_IMPORT_DELAY_SECONDS = 1.0


@asynccontextmanager
async def build(settings: Settings) -> AsyncIterator[Sequence[GrpcService]]:
    """The services, with the process's own environment for keys and addresses."""
    async with build_with(settings, ProcessEnvironment.of_process()) as services:
        yield services


@asynccontextmanager
async def build_with(
    settings: Settings, environment: Environment
) -> AsyncIterator[Sequence[GrpcService]]:
    """The services. Opens the ledger, and begins to import litellm; closes what it opened."""
    prices = read_prices(settings.prices_file)
    url = settings.database_url(settings.llm_proxy_database_url, NAME)
    await asyncio.to_thread(migrate, url, migrations=MIGRATIONS, name=NAME)
    ledger = SqlLedger(open_blocking_database(url))
    await ledger.join()
    await ledger.forget_replies(before=datetime.now(UTC) - timedelta(days=settings.llm_reply_days))
    library = LitellmLibrary()
    # Not at once: it would halve the speed at which the service gets ready. A call that comes earlier starts it.
    asyncio.get_running_loop().call_later(_IMPORT_DELAY_SECONDS, library.begin)
    embedded = EmbeddedModel(
        threads=settings.embedded_threads,
        slots=settings.embedded_slots,
        queue=settings.embedded_queue,
        context_tokens=settings.embedded_context_tokens,
    )

    async def providers() -> Providers:
        return Providers(
            environment=environment,
            published=PricedModels(await library.published(), own=prices),
            default_model=settings.default_model,
        )

    async def target_of(options: Options) -> Target:
        return (await providers()).target(options)

    patient = PatientLedger(ledger)
    tokenizer = TiktokenTokenizer()
    completions = Completions(
        providers=providers,
        models=TracedModels(
            LitellmModels(library=library, embedded=embedded), with_content=settings.trace_content
        ),
        metering=Metering(entries=patient, tokenizer=tokenizer, target_of=target_of),
        replies=Replies(patient),
        retries=settings.llm_retries,
    )
    try:
        accounts = Accounts(
            ledger=ledger, settled=patient.settled, tokenizer=tokenizer, target_of=target_of
        )
        yield _services(completions, accounts)
    finally:
        await embedded.close()
        await library.close()
        await patient.settled()
        await ledger.close()


def _services(completions: Completions, accounts: Accounts) -> list[GrpcService]:
    llm, usage = LlmServicer(completions), UsageServicer(accounts)
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
