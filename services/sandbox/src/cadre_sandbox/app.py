"""Builds the service out of its parts."""

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from cadre.sandbox.v1 import sandbox_pb2_grpc
from cadre_kit.addresses import AddressRules
from cadre_kit.logs import logger
from cadre_kit.serving import GrpcService
from cadre_sandbox.adapters.containers import container_runner
from cadre_sandbox.adapters.engines import Engine, EngineSettings
from cadre_sandbox.adapters.zygotes import zygote_runner
from cadre_sandbox.domain.answers import Answers
from cadre_sandbox.domain.capacity import Capacity
from cadre_sandbox.domain.executions import Limits
from cadre_sandbox.domain.sandbox import Sandbox
from cadre_sandbox.domain.sessions import Lifetime, Sessions
from cadre_sandbox.entrypoint.servicer import SandboxServicer
from cadre_sandbox.settings import SandboxSettings
from cadre_sandbox.worker.language.module_names import MODULE_NAMES

__all__ = ["build", "engine_settings"]

log = logger()

_ANSWER_SECONDS = 600.0
_ANSWERS = 1_000
_ANSWER_CHARACTERS = 32 * 1024 * 1024


@asynccontextmanager
async def build(settings: SandboxSettings) -> AsyncIterator[Sequence[GrpcService]]:
    """What the service serves; its zygote ends on leaving."""
    async with (
        zygote_runner(first_uid=settings.sandbox_first_uid) as runner,
        container_runner(
            engine=Engine(engine_settings(settings)),
            wanted=settings.sandbox_docker,
            pool=settings.sandbox_docker_pool,
            packages=settings.listed(settings.sandbox_packages),
            prepared=settings.listed(settings.sandbox_prepared_packages),
            hosts=settings.listed(settings.sandbox_hosts),
            rules=AddressRules.parse(settings.allowed_addresses),
        ) as containers,
        _sessions(settings.sandbox_sessions) as sessions,
    ):
        for wall in runner.walls():
            if not wall.holds:
                log.warning("sandbox_wall_missing", wall=wall.name, reason=wall.detail)
        sandbox = Sandbox(
            runner=runner,
            containers=containers,
            capacity=Capacity(running=settings.sandbox_concurrency, waiting=settings.sandbox_queue),
            answers=Answers(seconds=_ANSWER_SECONDS, count=_ANSWERS, characters=_ANSWER_CHARACTERS),
            ceiling=_ceiling(settings),
            modules=MODULE_NAMES,
            allow_weaker=settings.sandbox_allow_weaker,
            sessions=sessions,
            longest=Lifetime(
                idle_seconds=settings.sandbox_max_session_idle_seconds,
                total_seconds=settings.sandbox_max_session_seconds,
            ),
        )
        servicer = SandboxServicer(sandbox)
        yield [
            GrpcService(
                name="cadre.sandbox.v1.SandboxService",
                add=lambda server: sandbox_pb2_grpc.add_SandboxServiceServicer_to_server(
                    servicer, server
                ),
            )
        ]


@asynccontextmanager
async def _sessions(most: int) -> AsyncIterator[Sessions]:
    sessions = Sessions(most=most)
    try:
        yield sessions
    finally:
        await sessions.close_all()


def _ceiling(settings: SandboxSettings) -> Limits:
    return Limits(
        timeout_seconds=settings.sandbox_max_timeout_seconds,
        cpu_seconds=settings.sandbox_max_cpu_seconds,
        memory_mb=settings.sandbox_max_memory_mb,
        output_bytes=settings.sandbox_max_output_bytes,
        cpus=settings.sandbox_max_cpus,
    )


def engine_settings(settings: SandboxSettings) -> EngineSettings:
    """How containers are made; the settings' place is the owner of theirs."""
    # One service of one home: the containers of another on this machine are not ours to end.
    place = f"{settings.home.resolve()}:{settings.sandbox_port}"
    return EngineSettings(
        address=settings.sandbox_docker_host,
        image=settings.sandbox_docker_image,
        runtime=settings.sandbox_docker_runtime,
        owner=hashlib.sha256(place.encode()).hexdigest()[:16],
        wheels=settings.sandbox_wheels,
        packages=frozenset(settings.listed(settings.sandbox_packages)),
    )
