"""Builds the gateway from its settings; the only place that does."""

from collections import ChainMap
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from importlib import metadata

from fastapi import FastAPI

from cadre_gateway.accepting import Reception
from cadre_gateway.adapters.answers import Answers
from cadre_gateway.adapters.audit_log import AuditLog
from cadre_gateway.adapters.database import open_gateway_database
from cadre_gateway.adapters.inbox import Inbox
from cadre_gateway.adapters.keys import Keys
from cadre_gateway.adapters.outbox import Outbox
from cadre_gateway.adapters.probes import Probe, grpc_probe, http_probe
from cadre_gateway.adapters.services import Addresses, connected
from cadre_gateway.adapters.trigger_list import TriggerList
from cadre_gateway.adapters.turns import Turns
from cadre_gateway.connectors.mail import EmailConnector
from cadre_gateway.connectors.slack import SlackConnector
from cadre_gateway.connectors.telegram import TelegramConnector
from cadre_gateway.connectors.telegram_api import TelegramApi
from cadre_gateway.connectors.webhook import WebhookConnector
from cadre_gateway.connectors.whatsapp import LastHeard, WhatsAppConnector
from cadre_gateway.connectors.whatsapp_api import WhatsAppApi
from cadre_gateway.dispatching import Dispatcher
from cadre_gateway.domain.api_keys import AdminKey, Rate, Scope, new_admin_key
from cadre_gateway.domain.connectors import Connector
from cadre_gateway.domain.deliveries import BY_REQUEST
from cadre_gateway.domain.people import Admissions
from cadre_gateway.domain.rates import Rates, per_second
from cadre_gateway.domain.webhooks import WebhookSecret, new_webhook_secret
from cadre_gateway.entrypoint.access import Authentication, People
from cadre_gateway.entrypoint.api import application
from cadre_gateway.entrypoint.dependencies import Parts, Waits
from cadre_gateway.entrypoint.mcp_door import McpDoor
from cadre_gateway.entrypoint.metrics import Metrics
from cadre_gateway.entrypoint.middleware import Limits
from cadre_gateway.entrypoint.streams import Stopping
from cadre_gateway.listening import Listening
from cadre_gateway.settings import GatewaySettings, process_variables
from cadre_gateway.sweeping import Sweep, sweeping
from cadre_kit.addresses import AddressRules
from cadre_kit.credentials import Credentials, load_credentials
from cadre_kit.outgoing import outgoing_client
from cadre_kit.secret_files import read_or_make
from cadre_kit.transactions import Transactions

__all__ = ["build"]

_WEBHOOK_BODY_BYTES = 1024 * 1024
# Registering an agent takes longer than other calls: its card is read first.
_ANSWER_GRACE_SECONDS = 30.0


@asynccontextmanager
async def build(settings: GatewaySettings, *, stopping: Stopping) -> AsyncIterator[FastAPI]:
    """The application. Its streams end when `stopping` is set. Makes the secrets that are not there yet."""
    admin, secret = _admin_key(settings), _webhook_secret(settings)
    addresses = Addresses(
        executor=settings.executor_address,
        llm_proxy=settings.llm_proxy_address,
        memory=settings.memory_address,
        sandbox=settings.sandbox_address,
    )
    credentials = load_credentials(settings)
    async with AsyncExitStack() as stack:
        services = await stack.enter_async_context(
            connected(
                addresses, credentials=credentials, call_seconds=settings.gateway_call_seconds
            )
        )
        database = await _database(settings, stack)
        metrics = Metrics()
        inbox, outbox = Inbox(database), Outbox(database)
        telegram = await _telegram(settings, secret, stack)
        connectors = await _connectors(settings, secret, stack, telegram, inbox.last_heard)
        keys, audit = Keys(database), AuditLog(database)
        answers = Answers(
            database, hold_seconds=settings.gateway_call_seconds + _ANSWER_GRACE_SECONDS
        )
        dispatcher = Dispatcher(
            inbox=inbox,
            outbox=outbox,
            executor=services.executor,
            # A kind that has no /hooks of its own.
            connectors=ChainMap(connectors, {BY_REQUEST: connectors[WebhookConnector.kind]}),
            metrics=metrics,
        )
        await stack.enter_async_context(dispatcher.running())
        reception = Reception(
            connectors=connectors,
            triggers=TriggerList(services.executor),
            inbox=inbox,
            outbox=outbox,
            dispatcher=dispatcher,
            metrics=metrics,
        )
        listening = Listening(connectors=connectors, reception=reception, turns=Turns(database))
        await stack.enter_async_context(listening.running())
        await stack.enter_async_context(sweeping(_sweeps(settings, inbox, answers, audit)))
        parts = Parts(
            services=services,
            probes=_probes(settings, credentials),
            triggers=reception.triggers,
            connectors=connectors,
            telegram=telegram,
            inbox=inbox,
            reception=reception,
            hook_rates=Rates(per_second(settings.gateway_hook_rate)),
            keys=keys,
            answers=answers,
            audit=audit,
            metrics=metrics,
            stopping=stopping,
            waits=_waits(settings),
            version=metadata.version("cadre-gateway"),
        )
        authentication = Authentication(
            admin=admin, keys=keys, people=await _people(settings, stack)
        )
        mcp = McpDoor(parts, body_bytes=settings.gateway_body_bytes)
        await stack.enter_async_context(mcp.open())
        yield application(parts, authentication=authentication, limits=_limits(settings), mcp=mcp)


def _sweeps(
    settings: GatewaySettings, inbox: Inbox, answers: Answers, audit: AuditLog
) -> Mapping[str, Sweep]:
    days = settings.gateway_delivery_days
    return {
        "deliveries": partial(inbox.sweep, keep_days=days),
        "answers": partial(answers.sweep, keep_days=days),
        "audit": partial(
            audit.sweep,
            keep_days=settings.gateway_audit_days,
            most=settings.gateway_audit_entries,
        ),
    }


def _waits(settings: GatewaySettings) -> Waits:
    return Waits(
        completion_seconds=settings.gateway_completion_seconds,
        heartbeat_seconds=settings.gateway_heartbeat_seconds,
        reconnect_seconds=settings.gateway_reconnect_seconds,
        answer_seconds=settings.gateway_call_seconds,
    )


def _limits(settings: GatewaySettings) -> Limits:
    return Limits(
        body_bytes=settings.gateway_body_bytes,
        body_folder=settings.home,
        webhook_body_bytes=min(_WEBHOOK_BODY_BYTES, settings.gateway_body_bytes),
        concurrent_requests=settings.gateway_concurrent_requests,
        read_seconds=settings.gateway_read_seconds,
    )


async def _database(settings: GatewaySettings, stack: AsyncExitStack) -> Transactions:
    url = settings.database_url(settings.gateway_database_url, "gateway")
    database = await open_gateway_database(url, strict=settings.durability == "strict")
    stack.push_async_callback(database.close)
    return database


async def _telegram(
    settings: GatewaySettings, secret: str, stack: AsyncExitStack
) -> TelegramConnector:
    rules = AddressRules.parse(settings.allowed_addresses).allowing_url(settings.telegram_api_url)
    client = await stack.enter_async_context(outgoing_client(rules))
    url = settings.telegram_api_url
    api = TelegramApi(variables=process_variables(), url=url, client=client)
    return TelegramConnector(api=api, secret=secret, polls=settings.telegram_polling)


async def _connectors(
    settings: GatewaySettings,
    secret: str,
    stack: AsyncExitStack,
    telegram: TelegramConnector,
    last_heard: LastHeard,
) -> dict[str, Connector]:
    """Every way in, by its kind."""
    variables, platform_secret = process_variables(), WebhookSecret(secret)
    # What workflows name reaches public addresses only; where the operator says that an API is, is allowed to it.
    rules = AddressRules.parse(settings.allowed_addresses)
    anywhere = await stack.enter_async_context(outgoing_client(rules))
    slack_rules = rules.allowing_url(settings.slack_api_url)
    to_slack = await stack.enter_async_context(outgoing_client(slack_rules))
    graph_rules = rules.allowing_url(settings.whatsapp_api_url)
    to_graph = await stack.enter_async_context(outgoing_client(graph_rules))
    whatsapp = WhatsAppApi(variables=variables, url=settings.whatsapp_api_url, client=to_graph)
    connectors: list[Connector] = [
        WebhookConnector(
            variables=variables,
            platform=platform_secret,
            notices=_notify_secret(settings),
            client=anywhere,
        ),
        telegram,
        WhatsAppConnector(api=whatsapp, variables=variables, secret=secret, last_heard=last_heard),
        EmailConnector(
            variables=variables, secret=secret, poll_seconds=settings.email_poll_seconds
        ),
        SlackConnector(variables=variables, api_url=settings.slack_api_url, client=to_slack),
    ]
    return {connector.kind: connector for connector in connectors}


async def _people(settings: GatewaySettings, stack: AsyncExitStack) -> People | None:
    if not settings.oidc_issuer:
        return None
    # Imported here: what checks signatures takes long to load, and most installations have keys only.
    from cadre_gateway.adapters.openid import OpenIdProvider

    rules = AddressRules.parse(settings.allowed_addresses).allowing_url(settings.oidc_issuer)
    provider = OpenIdProvider(
        issuer=settings.oidc_issuer,
        client_id=settings.oidc_client_id,
        client=await stack.enter_async_context(outgoing_client(rules)),
    )
    lists = {
        Scope.READ: settings.oidc_read,
        Scope.RUN: settings.oidc_run,
        Scope.WRITE: settings.oidc_write,
        Scope.ADMIN: settings.oidc_admin,
    }
    return People(
        provider=provider,
        admissions=Admissions.parse(lists),
        groups_claim=settings.oidc_groups_claim,
        rates=Rates(Rate(requests=settings.oidc_rate, seconds=60.0)),
    )


def _admin_key(settings: GatewaySettings) -> AdminKey:
    if settings.api_key is not None:
        return AdminKey(settings.api_key.get_secret_value())
    return AdminKey(read_or_make(settings.key_file, new_admin_key))


def _webhook_secret(settings: GatewaySettings) -> str:
    if settings.webhook_secret is not None:
        return settings.webhook_secret.get_secret_value()
    return read_or_make(settings.webhook_secret_file, new_webhook_secret)


def _notify_secret(settings: GatewaySettings) -> WebhookSecret:
    given = settings.notify_secret
    if given is not None:
        return WebhookSecret(given.get_secret_value(), name="CADRE_NOTIFY_SECRET")
    return WebhookSecret(read_or_make(settings.notify_secret_file, new_webhook_secret))


def _probes(settings: GatewaySettings, credentials: Credentials) -> list[Probe]:
    return [
        grpc_probe("executor", settings.executor_address, credentials),
        grpc_probe("llm-proxy", settings.llm_proxy_address, credentials),
        grpc_probe("sandbox", settings.sandbox_address, credentials),
        grpc_probe("memory", settings.memory_address, credentials),
        http_probe("mlflow", settings.mlflow_url, health_path="/health", version_path="/version"),
        http_probe(
            "prefect",
            settings.prefect_url,
            health_path="/api/health",
            version_path="/api/admin/version",
        ),
    ]
