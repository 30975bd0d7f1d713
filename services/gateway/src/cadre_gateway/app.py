"""Builds the gateway from its settings; the only place that does."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import metadata

from fastapi import FastAPI

from cadre_gateway.adapters.probes import Probe, grpc_probe, http_probe
from cadre_gateway.adapters.secret_files import read_or_make
from cadre_gateway.adapters.services import Addresses, connected
from cadre_gateway.domain.api_keys import ApiKey, new_api_key
from cadre_gateway.domain.webhooks import WebhookSecret, new_webhook_secret
from cadre_gateway.entrypoint.api import application
from cadre_gateway.entrypoint.dependencies import Parts, Waits
from cadre_gateway.entrypoint.metrics import Metrics
from cadre_gateway.entrypoint.middleware import Limits
from cadre_gateway.entrypoint.streams import Stopping
from cadre_gateway.settings import GatewaySettings

__all__ = ["build"]

_WEBHOOK_BODY_BYTES = 1024 * 1024


@asynccontextmanager
async def build(settings: GatewaySettings, *, stopping: Stopping) -> AsyncIterator[FastAPI]:
    """The application. Its streams end when `stopping` is set. Makes the secrets that are not there yet."""
    key, secret = _api_key(settings), _webhook_secret(settings)
    addresses = Addresses(
        executor=settings.executor_address,
        llm_proxy=settings.llm_proxy_address,
        memory=settings.memory_address,
        sandbox=settings.sandbox_address,
    )
    async with connected(addresses, call_seconds=settings.gateway_call_seconds) as services:
        parts = Parts(
            services=services,
            probes=_probes(settings),
            webhook_secret=secret,
            metrics=Metrics(),
            stopping=stopping,
            waits=Waits(
                completion_seconds=settings.gateway_completion_seconds,
                heartbeat_seconds=settings.gateway_heartbeat_seconds,
                reconnect_seconds=settings.gateway_reconnect_seconds,
            ),
            version=metadata.version("cadre-gateway"),
        )
        limits = Limits(
            body_bytes=settings.gateway_body_bytes,
            webhook_body_bytes=min(_WEBHOOK_BODY_BYTES, settings.gateway_body_bytes),
            concurrent_requests=settings.gateway_concurrent_requests,
        )
        yield application(parts, key=key, limits=limits)


def _api_key(settings: GatewaySettings) -> ApiKey:
    if settings.api_key is not None:
        return ApiKey(settings.api_key.get_secret_value())
    return ApiKey(read_or_make(settings.key_file, new_api_key))


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
