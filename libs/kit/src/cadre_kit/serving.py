"""How a gRPC service starts, serves, reports its health, and stops: the same for all of them."""

import asyncio
import gc
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from importlib import metadata
from typing import Any, NoReturn, TypeVar

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from cadre_kit.channels import MESSAGE_BYTES
from cadre_kit.credentials import Credentials, TokenInterceptor, load_credentials
from cadre_kit.errors import CadreError, FailedPrecondition, Unavailable
from cadre_kit.interceptor import CallInterceptor
from cadre_kit.logs import configure_logs, logger
from cadre_kit.settings import ServiceSettings
from cadre_kit.tls import Tls
from cadre_kit.tracing import configure_tracing

__all__ = [
    "VERSION_METADATA",
    "GrpcService",
    "keep_what_was_built",
    "make_home",
    "run_in_loop",
    "run_service",
    "serving",
    "switch_threads_often",
]

log = logger()

VERSION_METADATA = "cadre-version"
_VERSION = metadata.version("cadre-kit")

# Python's own 5 ms are for programs that compute. Here each thread that comes back from its database, and the loop when
# a call arrives, would wait as long for another thread that converts something, again and again.
_SWITCH_SECONDS = 0.0005
# At Python's own 700 a call's objects are gone through while it is under way, for nothing, and validating a large
# workflow spends a tenth of its time so.
_NEW_OBJECTS = 10_000
_PENDING_CALLS = 10_000

T = TypeVar("T")


class AddressInUse(Unavailable):
    """Something else listens on the service's address."""

    code = "ADDRESS_IN_USE"


class HomeNotWritable(FailedPrecondition):
    """The folder of all state cannot be made."""

    code = "HOME_NOT_WRITABLE"


@dataclass(frozen=True, kw_only=True)
class GrpcService:
    """One proto service: its full name, and what adds its servicer to a server."""

    name: str
    add: Callable[[grpc.aio.Server], None]


@asynccontextmanager
async def serving(
    services: Sequence[GrpcService],
    *,
    host: str,
    port: int,
    drain_seconds: float = 0.0,
    credentials: Credentials | None = None,
) -> AsyncIterator[str]:
    """Serves with health, reflection, errors, traces and logs; yields the address `host:port`, port 0 chosen.

    With `credentials`, for those only who carry the service token, and by TLS if they say so.
    On leaving, health turns NOT_SERVING, new calls are refused, and those under way get `drain_seconds`.
    """
    server = grpc.aio.server(
        interceptors=_interceptors(credentials),
        options=[
            ("grpc.max_receive_message_length", MESSAGE_BYTES),
            ("grpc.max_send_message_length", MESSAGE_BYTES),
            ("grpc.so_reuseport", 0),
            # Of more than 1,000 calls at once gRPC would cancel some by chance; how many may wait each service says.
            ("grpc.server.max_pending_requests", _PENDING_CALLS),
            ("grpc.server.max_pending_requests_hard_limit", _PENDING_CALLS),
            # Clients ping to notice a dead peer; the default would hang up on them after two.
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ],
    )
    for service in services:
        service.add(server)
    servicer = _Health()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    names = [service.name for service in services]
    reflection.enable_server_reflection(
        [*names, health.SERVICE_NAME, reflection.SERVICE_NAME], server
    )
    bound = _bind(server, host, port, credentials)
    await server.start()
    for name in ["", *names]:
        await servicer.set(name, health_pb2.HealthCheckResponse.SERVING)
    try:
        yield f"{host}:{bound}"
    finally:
        await servicer.enter_graceful_shutdown()
        await server.stop(drain_seconds)


class _Health(health.aio.HealthServicer):  # type: ignore[misc]  # ships no annotations
    """Says the version of the service too, for which the health protocol has no field."""

    async def Check(
        self,
        request: health_pb2.HealthCheckRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> health_pb2.HealthCheckResponse:
        await context.send_initial_metadata(((VERSION_METADATA, _VERSION),))
        return await super().Check(request, context)


def _interceptors(credentials: Credentials | None) -> list[grpc.aio.ServerInterceptor]:
    if credentials is None:
        return [CallInterceptor()]
    return [TokenInterceptor(credentials.token), CallInterceptor()]


def _bind(server: grpc.aio.Server, host: str, port: int, credentials: Credentials | None) -> int:
    secured = None if credentials is None else _server_credentials(credentials.tls)
    try:
        if secured is None:
            return server.add_insecure_port(f"{host}:{port}")
        return server.add_secure_port(f"{host}:{port}", secured)
    except RuntimeError as exc:
        raise AddressInUse(
            f"{host}:{port} is taken by another program",
            resolution="Stop that program, or move the service with its CADRE_..._PORT setting.",
            metadata={"address": f"{host}:{port}"},
        ) from exc


def _server_credentials(tls: Tls) -> grpc.ServerCredentials | None:
    if tls.certificate is None or tls.key is None:
        return None
    clients = tls.client_authorities
    return grpc.ssl_server_credentials(
        [(tls.key, tls.certificate)],
        root_certificates=clients,
        require_client_auth=clients is not None,
    )


def make_home(settings: ServiceSettings) -> None:
    """Creates the folder of all state where there is none, for its owner only. Raises HomeNotWritable."""
    try:
        settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        raise HomeNotWritable(
            f"the folder {settings.home} cannot be made: {exc.strerror}",
            resolution="Set CADRE_HOME to a folder that can be written.",
            metadata={"home": str(settings.home)},
        ) from exc


def switch_threads_often() -> None:
    """Sets how long a thread of this process may make the others wait to what suits a service."""
    sys.setswitchinterval(_SWITCH_SECONDS)


def run_in_loop(main: Coroutine[Any, Any, T]) -> T:
    """Runs `main` as services run: in uvloop's event loop, which takes a tenth off the CPU of a call. Windows has none,
    and gets Python's own."""
    new_loop: Callable[[], asyncio.AbstractEventLoop] | None = None
    with suppress(ImportError):
        from uvloop import new_event_loop as new_loop
    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(main)


def keep_what_was_built() -> None:
    """Takes all that is there now out of what is gone through again and again for what can be let go, and has Python
    look less often: it stays, and going through it stops the process for tenths of a second."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS)


Settings = TypeVar("Settings", bound=ServiceSettings)
Build = Callable[[Settings], AbstractAsyncContextManager[Sequence[GrpcService]]]


def run_service(name: str, settings: Settings, *, port: int, build: Build[Settings]) -> NoReturn:
    """Runs a service until SIGTERM or SIGINT, then ends the process: with 0, or 1 and the reason as last log line.

    `build` opens what the service needs and yields what it serves; it closes all of it on leaving.
    """
    switch_threads_often()
    configure_logs(service=name, level=settings.log_level, log_format=settings.log_format)
    stop_tracing = configure_tracing(service=name, endpoint=settings.traces_endpoint)
    try:
        run_in_loop(_run(name, settings, port=port, build=build))
    except CadreError as error:
        log.error(
            "service_failed", code=error.code, reason=error.message, resolution=error.resolution
        )
        sys.exit(1)
    finally:
        stop_tracing()
    sys.exit(0)


async def _run(name: str, settings: Settings, *, port: int, build: Build[Settings]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    make_home(settings)
    async with (
        build(settings) as services,
        serving(
            services,
            host=settings.host,
            port=port,
            drain_seconds=settings.drain_seconds,
            credentials=load_credentials(settings),
        ) as address,
    ):
        version = metadata.version(f"cadre-{name}")
        keep_what_was_built()
        log.info("service_ready", address=address, version=version)
        await stop.wait()
        log.info("service_stopping")
