"""Work that a model does for conversations: stored before it is acknowledged, done in the background, bounded.

A piece of work is an item of the namespace WORK, so every store keeps it. It waits there until it is done; what failed
for good stays a month, and says why.
"""

import asyncio
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, Protocol

from cadre_kit.errors import (
    CadreError,
    Conflict,
    FailedPrecondition,
    Internal,
    InvalidInput,
    NotFound,
    PermissionDenied,
)
from cadre_kit.ids import new_id
from cadre_kit.logs import logger
from cadre_memory.domain.filters import Filter
from cadre_memory.domain.items import Item, VersionConflict
from cadre_memory.domain.memories import Memories, NewItem
from cadre_memory.domain.models import Asker, ReplyUnusable
from cadre_memory.domain.namespaces import Namespace
from cadre_memory.domain.stores import IdempotencyKeyReused

log = logger()

WORK = ("cadre", "work")
"""The namespace of all work that waits or failed."""

_LEASE = timedelta(seconds=10)
_RENEW_SECONDS = 3.0
_KEEP_FAILED_SECONDS = 30 * 24 * 3600.0
_FAILURES = 8
_UNUSABLE_REPLIES = 3
_LONGEST_PAUSE = timedelta(hours=1)
_LOOK_SECONDS = 5.0
_AT_ONCE = 4
_AT_ONCE_DUE = datetime.min.replace(tzinfo=UTC)
_HOPELESS = (InvalidInput, NotFound, FailedPrecondition, PermissionDenied)


class MemoryChanged(Conflict):
    """What the work is about changed while it was done; it is done anew."""

    code = "MEMORY_CHANGED"


class Kind(Enum):
    """What is done."""

    LEARN = "learn"
    SUMMARIZE = "summarize"


@dataclass(frozen=True, kw_only=True)
class Job:
    """One piece of work for a conversation. `first` and `last` are positions of the messages to learn from, `tokens`
    the limit of a summary. `made` is what a model's reply came to, as JSON, once there is one."""

    id: str
    kind: Kind
    namespace: Namespace
    asker: Asker
    first: int = 0
    last: int = 0
    tokens: int = 0
    failures: int = 0
    made: str = ""

    @property
    def key(self) -> str:
        """Under which it is kept."""
        return f"{self.kind.value}/{self.id}"

    @property
    def document(self) -> str:
        """The whole as JSON."""
        return json.dumps({**asdict(self), "kind": self.kind.value})

    @classmethod
    def of(cls, document: str) -> "Job":
        """The job of a document. Raises InvalidInput for anything else."""
        try:
            read = json.loads(document)
            known = {
                "kind": Kind(read["kind"]),
                "namespace": tuple(read["namespace"]),
                "asker": Asker(**read["asker"]),
            }
            return cls(**{**read, **known})
        except (ValueError, TypeError, KeyError) as exc:
            raise InvalidInput("this is no piece of work", code="WORK_INVALID") from exc


def job_id(*parts: str) -> str:
    """An id that is the same for the same parts; a new one for none."""
    named = json.dumps(parts) if any(parts) else new_id()
    return hashlib.sha256(named.encode()).hexdigest()[:32]


@dataclass(kw_only=True)
class Claim:
    """A piece of work that is ours until its lease ends. Each change of it is lost when another took it meanwhile."""

    job: Job
    version: int
    queue: "Queue"
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _over: bool = False

    async def keep(self, made: str) -> None:
        """Stores what came of a reply before anything depends on it. Raises VersionConflict when it is not ours."""
        self.job = replace(self.job, made=made)
        await self.renew()

    async def renew(self) -> None:
        """Renews the lease. Raises VersionConflict when it is not ours."""
        async with self._lock:
            if not self._over:
                self.version = await self.queue.lease(self.job, self.version)

    async def settle(self, failure: CadreError | None) -> None:
        """Ends the claim, unless it has ended: the work is done, or it failed. Raises VersionConflict when it is not
        ours."""
        async with self._lock:
            if self._over:
                return
            self._over = True
            if failure is None:
                await self.queue.finish(self)
            else:
                await self.queue.fail(self, failure)


@dataclass(frozen=True, kw_only=True)
class Queue:
    """The work that waits. `pause` is how long the first failure is waited after; the next ones four times as long."""

    memories: Memories
    pause: timedelta = timedelta(seconds=5)
    added: asyncio.Event = field(default_factory=asyncio.Event)

    async def add(self, job: Job) -> None:
        """Stores work unless the same was stored, and maybe done, within the last week."""
        once = f"work/{job.key}"
        try:
            await self._put(job, due=self.memories.clock(), if_version=None, once=once)
        except IdempotencyKeyReused:
            # It says when it is due, which is another time at the repeat.
            return
        self.added.set()

    async def add_one(self, job: Job) -> None:
        """Stores work unless the same waits already."""
        try:
            await self._put(job, due=self.memories.clock(), if_version=0)
        except VersionConflict:
            return
        self.added.set()

    async def waiting(self) -> Sequence[Item]:
        """Some of the work that waits, the oldest first, whether or not it is its time."""
        listing = await self.memories.list(
            namespace=WORK, key_prefix="", page_size=500, token="", matching=_WAITING
        )
        return sorted(listing.items, key=lambda item: item.created)

    async def claim(self, item: Item) -> Claim | None:
        """Takes waiting work; None when another was quicker, or it is none."""
        try:
            job = Job.of(item.value)
            if job.key != item.key:
                raise InvalidInput("this work has another's key", code="WORK_INVALID")
            version = await self.lease(job, item.version)
        except VersionConflict:
            return None
        except InvalidInput:
            await self.memories.delete(namespace=WORK, key=item.key, idempotency_key="")
            return None
        return Claim(job=job, version=version, queue=self)

    async def lease(self, job: Job, version: int) -> int:
        """Takes or renews a lease over a version, and answers the next. Raises VersionConflict."""
        due = self.memories.clock() + _LEASE
        return (await self._put(job, due=due, if_version=version)).version

    async def finish(self, claim: Claim) -> None:
        """Removes work that is done."""
        await self.memories.delete(namespace=WORK, key=claim.job.key, idempotency_key="")

    async def fail(self, claim: Claim, error: CadreError) -> None:
        """Has work wait for its next try, or leaves it as failed. Raises VersionConflict when it is not ours."""
        job = replace(claim.job, failures=claim.job.failures + 1)
        most = _UNUSABLE_REPLIES if isinstance(error, ReplyUnusable) else _FAILURES
        ends = isinstance(error, _HOPELESS) or job.failures >= most
        pause = min(self.pause * 4 ** (job.failures - 1), _LONGEST_PAUSE)
        log.warning(
            "work_failed" if ends else "work_postponed",
            work=job.key,
            run_id=job.asker.run_id,
            code=error.code,
            reason=error.message,
            failures=job.failures,
        )
        if ends:
            await self._bury(job, claim.version, error)
        else:
            due = self.memories.clock() + pause
            await self._put(job, due=due, if_version=claim.version, error=error)

    async def _bury(self, job: Job, version: int, error: CadreError) -> None:
        """Leaves work as failed, under a key of its own and without what was made of the words: whoever has them
        forgotten must not find them in an earlier version of this. Raises VersionConflict when it is not ours."""
        await self.lease(job, version)
        buried = replace(job, made="")
        await self._put(
            buried, due=self.memories.clock(), if_version=None, error=error, failed=True
        )
        await self.memories.delete(namespace=WORK, key=job.key, idempotency_key="")

    async def _put(
        self,
        job: Job,
        *,
        due: datetime,
        if_version: int | None,
        once: str = "",
        error: CadreError | None = None,
        failed: bool = False,
    ) -> Item:
        said: dict[str, Any] = {
            "state": "failed" if failed else "waiting",
            "due": due.isoformat(),
            "conversation": "/".join(job.namespace),
            "run_id": job.asker.run_id,
            "failures": job.failures,
        }
        if error is not None:
            said |= {"code": error.code, "reason": error.message[:1000]}
        new = NewItem(
            namespace=WORK,
            key=f"failed/{job.key}" if failed else job.key,
            value=job.document,
            metadata=json.dumps(said),
            ttl_seconds=_KEEP_FAILED_SECONDS if failed else 0.0,
            if_version=if_version,
            # Nobody searches work, and a provider would take money for knowing what it means.
            fields=(),
        )
        return await self.memories.put(new, idempotency_key=once)


_WAITING = Filter(metadata='{"state":"waiting"}')


class Doer(Protocol):
    """Does one kind of work."""

    async def do(self, claim: Claim) -> None:
        """Does it, or what is left of it. Raises what went wrong."""
        ...


class Worker:
    """Does the work that waits: several pieces at once, of each conversation one."""

    def __init__(self, queue: Queue, doers: Mapping[Kind, Doer]) -> None:
        self._queue = queue
        self._doers = doers
        self._under_way: dict[Namespace, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Works until it is cancelled; what is under way then is taken up by whoever looks next."""
        try:
            while True:
                self._queue.added.clear()
                try:
                    rest = await self._begin()
                except CadreError as error:
                    log.warning("work_not_found", code=error.code, reason=error.message)
                    rest = _LOOK_SECONDS
                await self._wait(rest)
        finally:
            for task in self._under_way.values():
                task.cancel()
            await asyncio.gather(*self._under_way.values(), return_exceptions=True)

    async def _begin(self) -> float:
        """Begins what is due, as far as there is room, and says in how many seconds to look again."""
        now, rest = self._queue.memories.clock(), _LOOK_SECONDS
        for item in await self._queue.waiting():
            wait = (_due(item) - now).total_seconds()
            if wait > 0:
                rest = min(rest, wait)
            elif len(self._under_way) < _AT_ONCE:
                await self._take(item)
        return rest

    async def _take(self, item: Item) -> None:
        namespace = _namespace(item)
        if namespace in self._under_way:
            return
        claim = await self._queue.claim(item)
        if claim is not None:
            self._under_way[namespace] = asyncio.create_task(self._do(claim))

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._queue.added.wait()
        except TimeoutError:
            pass

    async def _do(self, claim: Claim) -> None:
        renewing = asyncio.create_task(_renewed(claim, working=asyncio.current_task()))
        try:
            await claim.settle(await self._failure(claim))
        except CadreError as error:
            # Whoever looks when the lease has ended takes it up.
            log.warning("work_not_settled", work=claim.job.key, code=error.code)
        finally:
            renewing.cancel()
            self._under_way.pop(claim.job.namespace, None)
            self._queue.added.set()

    async def _failure(self, claim: Claim) -> CadreError | None:
        """What went wrong with the work; None when it is done."""
        try:
            await self._doers[claim.job.kind].do(claim)
        except CadreError as error:
            return error
        except Exception:
            log.exception("work_broken", work=claim.job.key)
            return Internal("the memory service made a mistake; its log has the details")
        return None


async def _renewed(claim: Claim, *, working: "asyncio.Task[None] | None") -> None:
    """Renews a lease until it is cancelled. Work that another took is given up."""
    while True:
        await asyncio.sleep(_RENEW_SECONDS)
        try:
            await claim.renew()
        except VersionConflict:
            log.info("work_taken_by_another", work=claim.job.key)
            if working is not None:
                working.cancel()
            return
        except CadreError as error:
            log.warning("lease_not_renewed", work=claim.job.key, code=error.code)


def _due(item: Item) -> datetime:
    """When it is its time; at once for what is no work, so that it is looked at."""
    try:
        due = datetime.fromisoformat(json.loads(item.metadata)["due"])
    except (ValueError, TypeError, KeyError):
        return _AT_ONCE_DUE
    return due if due.tzinfo else _AT_ONCE_DUE


def _namespace(item: Item) -> Namespace:
    try:
        return Job.of(item.value).namespace
    except InvalidInput:
        return item.namespace
