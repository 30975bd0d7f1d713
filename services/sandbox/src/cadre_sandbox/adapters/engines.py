"""The Docker engine: makes, starts, adjusts and removes the containers of programs, and builds their images."""

import asyncio
import contextlib
import hashlib
import io
import math
import socket
import tarfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import docker
import docker.errors
import requests

from cadre_kit.logs import logger
from cadre_sandbox.adapters.proxies import Proxy
from cadre_sandbox.adapters.system_calls import seccomp_profile
from cadre_sandbox.domain.executions import Limits, RunnerLost

__all__ = ["Engine", "EngineSettings", "Started"]

log = logger()

_GUEST = resources.files("cadre_sandbox.guest").joinpath("run_one.py")
_OWNER = "io.cadre.sandbox"
_PACKAGES = "io.cadre.sandbox.packages"
_SETS = "cadre-sandbox-set"
_USER = "65534:65534"
_CALL_SECONDS = 60
_REMOVED_SECONDS = 10
# How long an installation may say nothing.
_BUILD_SECONDS = 900
_BUILD_LINES = 8
# As the kernel says it, and so the engine and pip.
_NO_SPACE = "no space left on device"
_DISK_FULL = "the disk of the Docker engine is full"
_MAKE_ROOM = "Make room where the engine keeps its images; `docker system df` says what takes it."
_PIDS = 64
# gVisor's own threads count too, some sixty and six more for each process of the program; it dies when it gets no more.
_GVISOR_PIDS = 512
_NOTED_SECONDS = 1.0
_PERIOD_US = 100_000
_WORK = "rw,nosuid,nodev,size=64m,nr_inodes=2048,mode=0700,uid=65534,gid=65534"
_TEMPORARY = "rw,nosuid,nodev,size=16m,nr_inodes=512,mode=1777"
_ENVIRONMENT = {
    "HOME": "/tmp",
    "MPLBACKEND": "Agg",
    "MPLCONFIGDIR": "/tmp",
    "OPENBLAS_NUM_THREADS": "1",
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "PYTHONHASHSEED": "random",
}
# Where the guest listens, and passes on to the socket file.
_PROXY_URL = "http://127.0.0.1:3128"
_PROXY_SOCKET = "/run/proxy"
_PROXY_ENVIRONMENT = dict.fromkeys(
    ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), _PROXY_URL
)

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class EngineSettings:
    """How containers are made. `owner` marks those of one service, and the images that it built; `runtime` "" takes
    runsc when it is installed; `packages` are those that programs may ask for."""

    address: str
    image: str
    runtime: str
    owner: str
    wheels: Path | None
    packages: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Started:
    """A started container, the two-way stream to the program that waits in it, its proxy where it has one, and when it
    was started, by the system's clock."""

    id: str
    stream: socket.socket
    at: float
    proxy: Proxy | None = None


class Engine:
    """Talks with the engine from threads, as its client blocks."""

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        self._client: docker.DockerClient | None = None
        self._runtime = settings.runtime

    async def connect(self) -> None:
        """Raises RunnerLost when no engine answers, or the image is not there and cannot be pulled."""
        await _in_thread(self._connect)

    def _connect(self) -> None:
        _check_address(self._settings.address)
        client = None
        try:
            client = docker.DockerClient(base_url=self._settings.address, timeout=_CALL_SECONDS)
            runtimes = client.info().get("Runtimes", {})
        except (docker.errors.DockerException, requests.RequestException) as exc:
            if client is not None:
                client.close()
            raise _no_engine("answers", self._settings.address) from exc
        self.close()
        self._client = client
        if not self._runtime and "runsc" in runtimes:
            self._runtime = "runsc"

    @property
    def is_gvisor(self) -> bool:
        """Whether containers run in gVisor."""
        return self._runtime.startswith("runsc")

    @property
    def _api(self) -> Any:
        assert self._client is not None
        return self._client.api

    async def remove_orphans(self) -> int:
        """Ends the containers that an earlier process of this service left."""
        return await _in_thread(self._remove_orphans)

    def _remove_orphans(self) -> int:
        label = f"{_OWNER}={self._settings.owner}"
        found = self._api.containers(all=True, quiet=True, filters={"label": label})
        for container in found:
            self._remove(container["Id"])
        return len(found)

    async def image(self, packages: Sequence[str]) -> str:
        """The image that holds the packages, built when it is not there yet. Raises RunnerLost."""
        return await _in_thread(lambda: self._image(packages))

    def _image(self, packages: Sequence[str]) -> str:
        if not packages:
            with contextlib.suppress(docker.errors.ImageNotFound):
                self._api.inspect_image(self._settings.image)
                return self._settings.image
            self._api.pull(*self._settings.image.rsplit(":", 1))
            return self._settings.image
        tag = self._tag(packages)
        try:
            self._api.inspect_image(tag)
        except docker.errors.ImageNotFound:
            self._build(tag, packages)
            self._remove_stale_images()
        return tag

    def _tag(self, packages: Sequence[str]) -> str:
        """Another base is another image, and so are other wheels."""
        wheels = self._settings.wheels
        parts = (self._settings.image, str(wheels), *_wheels_in(wheels), *packages)
        return f"{_SETS}:{hashlib.sha256(chr(10).join(parts).encode()).hexdigest()[:16]}"

    async def remove_stale_images(self) -> int:
        """Removes the images of ours that no program can ask for any more: of another base, of other wheels, or with a
        package that is not allowed. One that a container is made of stays."""
        return await _in_thread(self._remove_stale_images)

    def _remove_stale_images(self) -> int:
        removed = 0
        for image in self._api.images(filters={"label": f"{_OWNER}={self._settings.owner}"}):
            packages = image["Labels"].get(_PACKAGES, "").split()
            wanted = {self._tag(packages)} if self._settings.packages.issuperset(packages) else ()
            for tag in image["RepoTags"] or ():
                if tag.startswith(f"{_SETS}:") and tag not in wanted:
                    removed += self._remove_image(tag)
        return removed

    def _remove_image(self, tag: str) -> bool:
        try:
            self._api.remove_image(tag)
        except docker.errors.APIError as exc:
            # In use, or gone; whatever else it is, programs run without it.
            log.info("sandbox_image_kept", image=tag, reason=str(exc.explanation))
            return False
        log.info("sandbox_image_removed", image=tag)
        return True

    def _build(self, tag: str, packages: Sequence[str]) -> None:
        context = _build_context(self._settings.image, packages, self._settings.wheels)
        lines = self._api.build(
            fileobj=context,
            custom_context=True,
            tag=tag,
            labels={_OWNER: self._settings.owner, _PACKAGES: " ".join(packages)},
            rm=True,
            forcerm=True,
            decode=True,
            timeout=_BUILD_SECONDS,
        )
        said: deque[str] = deque(maxlen=_BUILD_LINES)
        for line in lines:
            if text := line.get("stream", "").strip():
                said.append(text)
            if "error" in line:
                log.warning("sandbox_image_not_built", packages=list(packages), said=list(said))
                raise _not_built(packages, "\n".join([*said, str(line["error"])]))

    async def start(
        self, image: str, modules: Sequence[str], limits: Limits, proxy: Proxy | None = None
    ) -> Started:
        """A container whose interpreter imports the modules and waits. Raises RunnerLost."""
        return await _in_thread(lambda: self._start(image, modules, limits, proxy))

    def _start(
        self, image: str, modules: Sequence[str], limits: Limits, proxy: Proxy | None
    ) -> Started:
        container = self._api.create_container(
            image,
            command=["python3", "-I", "-c", _GUEST.read_text(encoding="utf-8"), *modules],
            entrypoint=[],
            user=_USER,
            working_dir="/work",
            environment=_ENVIRONMENT | (_PROXY_ENVIRONMENT if proxy else {}),
            stdin_open=True,
            network_disabled=True,
            labels={_OWNER: self._settings.owner},
            host_config=self._host_config(limits, proxy),
        )["Id"]
        try:
            attached = self._api.attach_socket(
                container, params={"stdin": 1, "stdout": 1, "stream": 1}
            )
            stream: socket.socket = attached._sock
            # Kept open by us alone: the client's own wrapper would close it when it is collected.
            stream = socket.socket(fileno=stream.detach())
            stream.setblocking(False)
            at = time.time()
            self._api.start(container)
        except BaseException:
            self._remove(container)
            raise
        return Started(id=container, stream=stream, proxy=proxy, at=at)

    def _host_config(self, limits: Limits, proxy: Proxy | None) -> Any:
        memory = limits.memory_mb * 1024 * 1024
        return self._api.create_host_config(
            network_mode="none",
            read_only=True,
            cap_drop=["ALL"],
            security_opt=["no-new-privileges", f"seccomp={seccomp_profile()}"],
            binds={str(proxy.path): {"bind": _PROXY_SOCKET, "mode": "ro"}} if proxy else {},
            ipc_mode="none",
            init=True,
            auto_remove=True,
            pids_limit=_GVISOR_PIDS if self.is_gvisor else _PIDS,
            mem_limit=memory,
            memswap_limit=memory,
            cpu_period=_PERIOD_US,
            cpu_quota=round(limits.cpus * _PERIOD_US),
            tmpfs={"/work": _WORK, "/tmp": _TEMPORARY},
            ulimits=[
                docker.types.Ulimit(name=name, soft=value, hard=value)
                for name, value in (("nofile", 256), ("fsize", 64 * 1024 * 1024), ("core", 0))
            ],
            log_config=docker.types.LogConfig(type="none"),
            runtime=self._runtime or None,
        )

    async def ran_out_of_memory(self, container: str, since: float) -> bool:
        """Whether a container that ended was ended for its memory, since then by the system's clock."""
        return await _in_thread(lambda: self._ran_out_of_memory(container, since))

    def _ran_out_of_memory(self, container: str, since: float) -> bool:
        # The container is gone by now; what happened to it is told once more, also what is noted a moment late.
        until = time.time() + _NOTED_SECONDS
        what = {"container": container, "event": "oom"}
        events = self._api.events(since=int(since), until=math.ceil(until), filters=what)
        with contextlib.closing(events):
            return any(True for _ in events)

    async def adjust(self, container: str, limits: Limits) -> bool:
        """Gives a waiting container other limits than it was started with; False when it holds more memory already."""
        return await _in_thread(lambda: self._adjust(container, limits))

    def _adjust(self, container: str, limits: Limits) -> bool:
        memory = limits.memory_mb * 1024 * 1024
        try:
            self._api.update_container(
                container,
                mem_limit=memory,
                memswap_limit=memory,
                cpu_period=_PERIOD_US,
                cpu_quota=round(limits.cpus * _PERIOD_US),
            )
        except docker.errors.APIError as exc:
            if "unable to set memory limit" not in str(exc.explanation):
                raise
            return False
        return True

    async def remove(self, container: str) -> None:
        """Ends a container and everything in it."""
        await _in_thread(lambda: self._remove(container))

    def _remove(self, container: str) -> None:
        try:
            self._api.remove_container(container, force=True, v=True)
        except docker.errors.NotFound:
            return
        except docker.errors.APIError as exc:
            if exc.status_code != 409:
                raise
            # The engine removes it already, as it ended by itself.
            with contextlib.suppress(docker.errors.NotFound):
                self._api.wait(container, timeout=_REMOVED_SECONDS, condition="removed")

    def close(self) -> None:
        """Ends the connection."""
        if self._client is not None:
            self._client.close()


async def _in_thread(call: Callable[[], T]) -> T:
    with _translated():
        return await asyncio.to_thread(call)


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (docker.errors.DockerException, requests.RequestException, OSError) as exc:
        if _NO_SPACE in str(exc).lower():
            raise RunnerLost(_DISK_FULL, resolution=_MAKE_ROOM) from exc
        raise RunnerLost(
            f"the Docker engine did not do it ({type(exc).__name__})",
            resolution="Check that the engine runs and that the sandbox may use it.",
        ) from exc


def _check_address(address: str) -> None:
    kind, _, path = address.partition("://")
    if kind == "unix" and not Path(path).is_socket():
        raise _no_engine("listens", address)


def _no_engine(what: str, address: str) -> RunnerLost:
    return RunnerLost(
        f"no Docker engine {what} at {address}",
        resolution="Start one that the sandbox may use, or set CADRE_SANDBOX_DOCKER_HOST to where it listens.",
    )


def _not_built(packages: Sequence[str], said: str) -> RunnerLost:
    image = f"the image with {', '.join(packages)} cannot be built"
    if _NO_SPACE in said.lower():
        return RunnerLost(f"{image}: {_DISK_FULL}", resolution=_MAKE_ROOM)
    return RunnerLost(
        image,
        resolution="See in the log why not; the packages must be there for CADRE_SANDBOX_DOCKER_IMAGE.",
    )


def _wheels_in(folder: Path | None) -> list[str]:
    """The files of the folder, each with its size and time: other ones make another image."""
    found = sorted(folder.iterdir()) if folder else []
    return [f"{file.name} {(of := file.stat()).st_size} {of.st_mtime_ns}" for file in found]


def _build_context(image: str, packages: Sequence[str], wheels: Path | None) -> io.BytesIO:
    """A build context: the recipe, and the wheels where they come from a folder."""
    source = "--no-index --find-links /wheels" if wheels else ""
    copy = "COPY wheels /wheels\n" if wheels else ""
    recipe = (
        f"FROM {image}\n{copy}"
        f"RUN python3 -m venv --system-site-packages /tmp/pip && /tmp/pip/bin/pip install --quiet --no-cache-dir"
        f" --disable-pip-version-check --only-binary :all: {source}"
        f" --target /opt/packages {' '.join(packages)} && rm -rf /tmp/pip\n"
        'RUN python3 -c "import pathlib, sysconfig;'
        " pathlib.Path(sysconfig.get_path('purelib')).mkdir(parents=True, exist_ok=True);"
        " pathlib.Path(sysconfig.get_path('purelib'), 'cadre.pth').write_text('/opt/packages\\n')\"\n"
    )
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as tar:
        info = tarfile.TarInfo("Dockerfile")
        info.size = len(recipe.encode())
        tar.addfile(info, io.BytesIO(recipe.encode()))
        if wheels:
            tar.add(wheels, arcname="wheels")
    context.seek(0)
    return context
