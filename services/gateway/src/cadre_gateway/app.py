"""Builds the gateway from its settings; the only place that does."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from importlib import metadata

from fastapi import FastAPI

from cadre_gateway.adapters.answers import Answers
from cadre_gateway.adapters.audit_log import AuditLog
from cadre_gateway.adapters.database import open_gateway_database
from cadre_gateway.adapters.inbox import Inbox
from cadre_gateway.adapters.keys import Keys
from cadre_gateway.adapters.outbox import Outbox
from cadre_gateway.adapters.probes import Probe, grpc_probe, http_probe
from cadre_gateway.adapters.secret_files import read_or_make
from cadre_gateway.adapters.services import Addresses, connected
from cadre_gateway.adapters.trigger_list import TriggerList
from cadre_gateway.connectors.slack import SlackConnector
from cadre_gateway.connectors.webhook import WebhookConnector
from cadre_gateway.dispatching import Dispatcher
from cadre_gateway.domain.api_keys import AdminKey, new_admin_key
from cadre_gateway.domain.connectors import Connector
from cadre_gateway.domain.rates import Rates
from cadre_gateway.domain.webhooks import WebhookSecret, new_webhook_secret
from cadre_gateway.entrypoint.access import Authentication
from cadre_gateway.entrypoint.api import application
from cadre_gateway.entrypoint.dependencies import Parts, Waits
from cadre_gateway.entrypoint.mcp_door import McpDoor
from cadre_gateway.entrypoint.metrics import Metrics
from cadre_gateway.entrypoint.middleware import Limits
from cadre_gateway.entrypoint.streams import Stopping
from cadre_gateway.settings import GatewaySettings, process_variables
from cadre_gateway.sweeping import Sweep, sweeping
from cadre_kit.addresses import AddressRules
from cadre_kit.outgoing import outgoing_client
from cadre_kit.transactions import Transactions

__all__ = ["build"]

_WEBHOOK_BODY_BYTES = 1024 * 1024
# Registering an agent takes longer than other calls: its card is read first.
_ANSWER_GRACE_SECONDS = 30.0


@asynccontextmanager
async def build(settings: GatewaySettings, *, stopping: Stopping) -> AsyncIterator[FastAPI]:
    """The application. Its streams end when `stopping` is set. Makes the secrets that are not there yet."""
    admin, platform_secret = _admin_key(settings), _webhook_secret(settings)
    addresses = Addresses(
        executor=settings.executor_address,
        llm_proxy=settings.llm_proxy_address,
        memory=settings.memory_address,
        sandbox=settings.sandbox_address,
    )
    async with AsyncExitStack() as stack:
        services = await stack.enter_async_context(
            connected(addresses, call_seconds=settings.gateway_call_seconds)
        )
        database = await _database(settings, stack)
        metrics = Metrics()
        connectors = await _connectors(settings, platform_secret, stack)
        inbox, keys, audit = Inbox(database), Keys(database), AuditLog(database)
        answers = Answers(
            database, hold_seconds=settings.gateway_call_seconds + _ANSWER_GRACE_SECONDS
        )
        dispatcher = Dispatcher(
            inbox=inbox,
            outbox=Outbox(database),
            executor=services.executor,
            connectors=connectors,
            metrics=metrics,
        )
        await stack.enter_async_context(dispatcher.running())
        await stack.enter_async_context(sweeping(_sweeps(settings, inbox, answers, audit)))
        parts = Parts(
            services=services,
            probes=_probes(settings),
            triggers=TriggerList(services.executor),
            connectors=connectors,
            inbox=inbox,
            dispatcher=dispatcher,
            hook_rates=Rates(settings.gateway_hook_rate),
            keys=keys,
            answers=answers,
            audit=audit,
            metrics=metrics,
            stopping=stopping,
            waits=_waits(settings),
            version=metadata.version("cadre-gateway"),
        )
        authentication = Authentication(admin=admin, keys=keys)
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
        webhook_body_bytes=min(_WEBHOOK_BODY_BYTES, settings.gateway_body_bytes),
        concurrent_requests=settings.gateway_concurrent_requests,
        read_seconds=settings.gateway_read_seconds,
    )


async def _database(settings: GatewaySettings, stack: AsyncExitStack) -> Transactions:
    url = settings.database_url(settings.gateway_database_url, "gateway")
    database = await open_gateway_database(url, strict=settings.durability == "strict")
    stack.push_async_callback(database.close)
    return database


async def _connectors(
    settings: GatewaySettings, platform_secret: WebhookSecret, stack: AsyncExitStack
) -> Mapping[str, Connector]:
    """Every way in, by its kind."""
    variables = process_variables()
    # What workflows name reaches public addresses only; where the operator says that an API is, is allowed to it.
    rules = AddressRules.parse(settings.allowed_addresses)
    anywhere = await stack.enter_async_context(outgoing_client(rules))
    slack_rules = rules.allowing_url(settings.slack_api_url)
    to_slack = await stack.enter_async_context(outgoing_client(slack_rules))
    connectors: list[Connector] = [
        WebhookConnector(variables=variables, platform=platform_secret, client=anywhere),
        SlackConnector(variables=variables, api_url=settings.slack_api_url, client=to_slack),
    ]
    return {connector.kind: connector for connector in connectors}


def _admin_key(settings: GatewaySettings) -> AdminKey:
    if settings.api_key is not None:
        return AdminKey(settings.api_key.get_secret_value())
    return AdminKey(read_or_make(settings.key_file, new_admin_key))


def _webhook_secret(settings: GatewaySettings) -> WebhookSecret:
    if settings.webhook_secret is not None:
        return WebhookSecret(settings.webhook_secret.get_secret_value())
    return WebhookSecret(read_or_make(settings.webhook_secret_file, new_webhook_secret))


def _probes(settings: GatewaySettings) -> list[Probe]:
    return [
        grpc_probe("executor", settings.executor_address),
        grpc_probe("llm-proxy", settings.llm_proxy_address),
        grpc_probe("sandbox", settings.sandbox_address),
        grpc_probe("memory", settings.memory_address),
        http_probe("mlflow", settings.mlflow_url, health_path="/health", version_path="/version"),
        http_probe(
            "prefect",
            settings.prefect_url,
            health_path="/api/health",
            version_path="/api/admin/version",
        ),
    ]
