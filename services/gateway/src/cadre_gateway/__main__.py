"""`python -m cadre_gateway`: serves until SIGTERM or SIGINT; ends with 1, its reason logged last, otherwise."""

import ssl
import sys
from importlib import metadata

from cadre_gateway.app import build
from cadre_gateway.entrypoint.streams import Stopping
from cadre_gateway.serving import serving, until_told_to_stop
from cadre_gateway.settings import GatewaySettings
from cadre_kit.errors import CadreError
from cadre_kit.logs import configure_logs, logger
from cadre_kit.serving import (
    keep_what_was_built,
    make_home,
    run_in_loop,
    switch_threads_often,
)
from cadre_kit.settings import load_settings
from cadre_kit.tls import server_context
from cadre_kit.tracing import configure_tracing

log = logger()


def main() -> None:
    """Runs the gateway as its settings say."""
    switch_threads_often()
    settings = load_settings(GatewaySettings)
    configure_logs(service="gateway", level=settings.log_level, log_format=settings.log_format)
    stop_tracing = configure_tracing(service="gateway", endpoint=settings.traces_endpoint)
    try:
        run_in_loop(_serve(settings))
    except CadreError as error:
        log.error(
            "service_failed", code=error.code, reason=error.message, resolution=error.resolution
        )
        sys.exit(1)
    finally:
        stop_tracing()


async def _serve(settings: GatewaySettings) -> None:
    stopping = Stopping()
    make_home(settings)
    async with (
        build(settings, stopping=stopping) as app,
        serving(
            app,
            host=settings.host,
            port=settings.gateway_port,
            drain_seconds=settings.drain_seconds,
            stopping=stopping,
            read_seconds=settings.gateway_read_seconds,
            tls=_tls(settings),
        ) as address,
    ):
        keep_what_was_built()
        log.info("service_ready", address=address, version=metadata.version("cadre-gateway"))
        await until_told_to_stop()
        log.info("service_stopping")


def _tls(settings: GatewaySettings) -> ssl.SSLContext | None:
    cert, key = settings.gateway_tls_cert_file, settings.gateway_tls_key_file
    if cert is None or key is None:
        return None
    return server_context(cert=cert, key=key, client_ca=settings.gateway_tls_client_ca_file)


if __name__ == "__main__":
    main()
