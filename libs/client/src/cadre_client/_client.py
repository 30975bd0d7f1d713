"""The gateway's HTTP API as Python calls."""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, JsonValue, TypeAdapter, ValidationError

from cadre_client._errors import ApiError, GatewayUnreachable
from cadre_client._keys import ApiKey, AuditEntry, MadeKey, WhoAmI
from cadre_client._local import local_platform
from cadre_client._models import (
    Agent,
    Applied,
    Batch,
    BatchRow,
    Budget,
    BudgetStatus,
    Checkpoint,
    Completion,
    Conversation,
    Delivery,
    Event,
    Execution,
    FileEntry,
    FileList,
    JsonObject,
    MemoryBatchResult,
    MemoryHits,
    MemoryItem,
    Messages,
    ModelCall,
    Models,
    Problem,
    ProgramFile,
    Run,
    RunFile,
    RunFileList,
    Sample,
    Schedule,
    ServiceStatus,
    Session,
    TelegramConnection,
    Trigger,
    Usage,
    UsageReport,
    Validation,
    Workflow,
)
from cadre_client._plans import Plan, RecordedTest, TestReport
from cadre_client._sse import ServerSentEvent, read_events, read_lines
from cadre_client._tls import ClientTls
from cadre_client._transport import Query, Transport

__all__ = ["Client"]

T = TypeVar("T")
_COMPLETION_SECONDS = 180.0
# The longest that a program may run, its place in the queue, and the making of a package set's image.
_EXECUTION_SECONDS = 900.0
_SESSIONS = "/api/v1/sandbox-sessions"
_TEST_SECONDS = 630.0
# Ten thousand rows are checked, and Prefect may be slow when it has just started.
_BATCH_SECONDS = 60.0
_PATIENCE_SECONDS = 60.0
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 3.0
_PAGE = 200
# What a gateway answers while the service behind it restarts.
_PASSING = (429, 502, 503, 504)


class Client:
    """Calls a gateway. Safe to share between threads; close it, or use it in a `with`.

    Every method raises ApiError when the gateway refuses, and GatewayUnreachable when no answer comes. `api_key` may be
    a function: it is called at the first request, and again when the gateway refuses the key. `tls` is for a gateway
    whose certificate is not by an authority of the web, or that wants one shown.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str | Callable[[], str] = "",
        timeout_seconds: float = 30.0,
        *,
        tls: ClientTls | None = None,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self._transport = Transport(
            base_url,
            api_key=(lambda: api_key) if isinstance(api_key, str) else api_key,
            timeout_seconds=timeout_seconds,
            tls=tls or ClientTls(),
        )

    @classmethod
    def local(cls, folder: Path | None = None, timeout_seconds: float = 30.0) -> Client:
        """The client of the platform that the environment and the `.env` of `folder` (default: here) name."""
        platform = local_platform(folder)
        return cls(platform.url, platform.api_key, timeout_seconds, tls=platform.tls)

    def close(self) -> None:
        """Closes all connections."""
        self._transport.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client({self.base_url!r})"

    # Workflows

    def validate(self, source: str) -> Validation:
        """Every problem of a workflow file. Stores and runs nothing."""
        return self._post(Validation, "/api/v1/workflows/validate", {"source": source})

    def test(self, source: str, *, name_contains: str = "") -> TestReport:
        """Runs the tests that a workflow file carries, with their written replies. Stores nothing, asks no model."""
        body = {"source": source, "name_contains": name_contains}
        return self._post(TestReport, "/api/v1/workflows/test", body, timeout_seconds=_TEST_SECONDS)

    def plan(self, source: str, inputs: Mapping[str, JsonValue] | None = None) -> Plan:
        """What a run of a workflow file would need, cost and take. Runs nothing, asks no model."""
        body = {"source": source, "inputs": dict(inputs or {})}
        return self._post(Plan, "/api/v1/workflows/plan", body)

    def schema(self) -> JsonObject:
        """The JSON Schema of workflow files."""
        return self._get(dict[str, JsonValue], "/api/v1/schema")

    def apply(self, source: str) -> Applied:
        """Stores a workflow file as the next version. Raises ApiError with `problems` when it is not valid."""
        return self._post(Applied, "/api/v1/workflows", {"source": source})

    def workflows(self) -> list[Workflow]:
        """All workflows by name, each at its newest version."""
        return list(self._pages(Workflow, "/api/v1/workflows", "workflows", {}))

    def workflow(self, name: str, version: int = 0) -> Workflow:
        """One version of a workflow; 0 means the newest."""
        return self._get(Workflow, _path("/api/v1/workflows", name), {"version": version or None})

    def versions(self, name: str) -> list[Workflow]:
        """All versions of a workflow, newest first."""
        answer = self._get(dict[str, list[Workflow]], _path("/api/v1/workflows", name, "versions"))
        return answer["versions"]

    def delete_workflow(self, name: str) -> None:
        """Hides a workflow; its runs stay."""
        self._transport.send("DELETE", _path("/api/v1/workflows", name))

    # Runs

    def start_run(
        self,
        *,
        workflow: str | None = None,
        version: int = 0,
        source: str | None = None,
        inputs: Mapping[str, JsonValue] | None = None,
        schedule: str = "",
        notify: str = "",
        idempotency_key: str | None = None,
    ) -> Run:
        """Starts an applied `workflow`, or a file's `source`, and returns at once with the stored run. `schedule` names
        the schedule that starts it, if one does; the address `notify` is told when it has ended.

        What is sent and not answered is asked again, for up to a minute, under the same idempotency key: so there is
        one run, also when the gateway ended after it had started it.
        """
        target: dict[str, Any] = (
            {"source": source} if source is not None else {"workflow": workflow, "version": version}
        )
        body = {**target, "inputs": dict(inputs or {})}
        if schedule:
            body["schedule"] = schedule
        if notify:
            body["notify"] = notify
        return self._start("/api/v1/runs", body, idempotency_key)

    def run(self, run_id: str) -> Run:
        """A run as it stands."""
        return self._get(Run, _path("/api/v1/runs", run_id))

    def runs(
        self,
        workflow: str | None = None,
        status: str | None = None,
        limit: int = 50,
        *,
        schedule: str | None = None,
        batch_id: str | None = None,
    ) -> list[Run]:
        """The newest runs, at most `limit`, without inputs, outputs and source."""
        query = {"workflow": workflow, "status": status, "schedule": schedule}
        query["batch_id"] = batch_id
        return list(self._pages(Run, "/api/v1/runs", "runs", query, limit=limit))

    def watch(self, run_id: str, after: int = 0) -> Iterator[Event]:
        """The run's events after a sequence number as they happen, to the last one, without gap or repetition.

        A connection that breaks is made again, for up to a minute; then GatewayUnreachable, or the gateway's last
        refusal, is raised. One that cannot be made at first raises at once, unless this client had answers before.
        """
        connected, ended = self._transport.reached, False
        give_up, pause = 0.0, _FIRST_PAUSE_SECONDS
        while True:
            news = last = False
            try:
                for event in self._events(run_id, after):
                    connected, give_up = True, 0.0
                    if event is None or event.sequence <= after:
                        continue
                    news, after, pause = True, event.sequence, _FIRST_PAUSE_SECONDS
                    last = event.is_last
                    yield event
                # The gateway ends a stream in good order once the run has ended; not so one that a person resumed.
                if last or (ended and not news):
                    return
                ended = self.run(run_id).status.is_final
            except (GatewayUnreachable, ApiError) as error:
                give_up = give_up or time.monotonic() + _PATIENCE_SECONDS
                if not connected or _lasting(error) or time.monotonic() > give_up:
                    raise
            if not ended:
                time.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    def events_so_far(self, run: Run) -> Iterator[Event]:
        """The run's events up to the last that it had when it was read; those to come are not waited for."""
        for event in self.watch(run.id):
            yield event
            if 0 < run.last_sequence <= event.sequence:
                return

    def cancel(self, run_id: str) -> Run:
        """Asks a run to stop; when the answer comes, no further step of it can start."""
        return self._post(Run, _path("/api/v1/runs", run_id, "cancel"), {})

    def resume(self, run_id: str, *, usd: Decimal | None = None, tokens: int = 0) -> Run:
        """Goes on with a failed run from the step that failed. With `usd` or `tokens`, what it may spend in all, also
        with one that waits for more of its budget."""
        body = {"usd": "" if usd is None else f"{usd:f}", "tokens": tokens}
        return self._post(Run, _path("/api/v1/runs", run_id, "resume"), body)

    def answer(
        self,
        run_id: str,
        choice: str,
        *,
        node: str | None = None,
        iteration: int | None = None,
        comment: str = "",
        answered_by: str = "",
    ) -> Run:
        """Answers what a run waits for; the node has to be named when several ask. The first answer counts."""
        body = {
            "choice": choice,
            "node": node or "",
            "iteration": iteration or 0,
            "comment": comment,
            "answered_by": answered_by,
        }
        return self._post(Run, _path("/api/v1/runs", run_id, "answer"), body)

    def fork(
        self,
        run_id: str,
        *,
        checkpoint: str | None = None,
        state: Mapping[str, JsonValue] | None = None,
        notify: str = "",
        idempotency_key: str | None = None,
    ) -> Run:
        """Starts a new run from a checkpoint of another, by default its last, with chosen fields changed. The address
        `notify` is told when it has ended. Asked again like `start_run`."""
        body: dict[str, Any] = {"checkpoint_id": checkpoint or "", "state": dict(state or {})}
        if notify:
            body["notify"] = notify
        return self._start(_path("/api/v1/runs", run_id, "fork"), body, idempotency_key)

    def record(self, run_id: str, *, name: str = "", source: str = "") -> RecordedTest:
        """A run that ended as a test of a file with the text `source`, or else of its own."""
        path = _path("/api/v1/runs", run_id, "record")
        body = {"name": name, "source": source}
        return self._post(RecordedTest, path, body, timeout_seconds=_TEST_SECONDS)

    def checkpoints(self, run_id: str) -> list[Checkpoint]:
        """The checkpoints of a run that are kept, oldest first."""
        path = _path("/api/v1/runs", run_id, "checkpoints")
        return self._get(dict[str, list[Checkpoint]], path)["checkpoints"]

    def _events(self, run_id: str, after: int) -> Iterator[Event | None]:
        """None once the stream is there, then its events."""
        path = _path("/api/v1/runs", run_id, "events")
        with self._transport.streaming(path, headers={"Last-Event-ID": str(after)}) as chunks:
            yield None
            for sent in read_events(read_lines(chunks)):
                yield _event_of(sent)

    # Batches

    def create_batch(
        self,
        rows: Sequence[tuple[Mapping[str, JsonValue], int]],
        *,
        workflow: str | None = None,
        version: int = 0,
        source: str | None = None,
        max_concurrent: int = 0,
        resume: bool = False,
        notify: str = "",
    ) -> Batch:
        """Runs an applied `workflow`, or a file's `source`, over `rows`: inputs, and their line in a file (0: unknown).

        The same rows again are the same batch as long as that goes on, with `resume` also when it has ended. Raises
        ApiError with `problems` when rows are wrong. `max_concurrent` 0 means 8. The address `notify` is told once when
        the batch has ended.
        """
        target: dict[str, Any] = (
            {"source": source} if source is not None else {"workflow": workflow, "version": version}
        )
        body: dict[str, Any] = {
            **target,
            "rows": [{"inputs": dict(inputs), "line": line} for inputs, line in rows],
            "max_concurrent": max_concurrent,
            "resume": resume,
        }
        if notify:
            body["notify"] = notify
        return self._post(Batch, "/api/v1/batches", body, timeout_seconds=_BATCH_SECONDS)

    def batch(self, batch_id: str) -> Batch:
        """A batch as it stands."""
        return self._get(Batch, _path("/api/v1/batches", batch_id))

    def batches(self, limit: int = 50) -> list[Batch]:
        """The newest batches, at most `limit`."""
        return list(self._pages(Batch, "/api/v1/batches", "batches", {}, limit=limit))

    def batch_rows(self, batch_id: str) -> Iterator[BatchRow]:
        """The rows of a batch in their order, each with its run and that run's outputs."""
        path, after = _path("/api/v1/batches", batch_id, "rows"), 0
        while True:
            page = self._get(_BatchRowPage, path, {"after": after, "page_size": _PAGE})
            yield from page.rows
            if not page.more or not page.rows:
                return
            after = page.rows[-1].row

    def advance_batch(self, batch_id: str, launch: int) -> Batch:
        """Starts rows as far as they may go on, for some seconds. For the flow run of that `launch`, and no other."""
        return self._post(Batch, _path("/api/v1/batches", batch_id, "advance"), {"launch": launch})

    def cancel_batch(self, batch_id: str) -> Batch:
        """Stops a batch: no further row starts, and the runs under way are cancelled."""
        return self._post(Batch, _path("/api/v1/batches", batch_id, "cancel"), {})

    # Models and usage

    def models(self) -> Models:
        """All models, and groups of models, that can be named."""
        return self._get(Models, "/api/v1/models")

    def usage(
        self,
        group_by: Sequence[str] = (),
        start: datetime | None = None,
        end: datetime | None = None,
        workflow: str | None = None,
        run_id: str | None = None,
    ) -> UsageReport:
        """Sums of model calls from `start` until before `end`.

        Groups are workflow, run, node, model, provider, key, schedule, day, hour or combinations of them.
        """
        query = {"group_by": ",".join(group_by), **_selection(start, end, workflow, run_id)}
        return self._get(UsageReport, "/api/v1/usage", query)

    def calls(
        self,
        start: datetime | None = None,
        end: datetime | None = None,
        workflow: str | None = None,
        run_id: str | None = None,
        status: str | None = None,
        limit: int = 100,
    ) -> list[ModelCall]:
        """The ledger's newest entries, at most `limit`."""
        query = {**_selection(start, end, workflow, run_id), "status": status}
        return list(self._pages(ModelCall, "/api/v1/calls", "calls", query, limit=limit))

    def budgets(self) -> list[BudgetStatus]:
        """All budgets by name, each with what its present periods used."""
        return self._get(dict[str, list[BudgetStatus]], "/api/v1/budgets")["budgets"]

    def set_budget(self, budget: Budget) -> BudgetStatus:
        """Creates a budget, or replaces the one of its name. What was spent in its present period counts at once."""
        return self._post(BudgetStatus, "/api/v1/budgets", budget.model_dump(mode="json"))

    def delete_budget(self, name: str) -> None:
        """Removes a budget."""
        self._transport.send("DELETE", _path("/api/v1/budgets", name))

    def complete(
        self,
        messages: Sequence[Mapping[str, str]],
        *,
        model: str = "default",
        schema: Mapping[str, Any] | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        timeout_seconds: float = _COMPLETION_SECONDS,
    ) -> Completion:
        """Asks a model; `messages` are {"role": system, user or assistant, "content": text}.

        With a JSON Schema the reply is a document of it, in `parsed`; one that was cut off is left unparsed.
        """
        body: dict[str, Any] = {"model": model, "messages": [dict(m) for m in messages]}
        if schema is not None:
            json_schema = {"name": "reply", "schema": dict(schema), "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": json_schema}
        if max_tokens is not None:
            body["max_completion_tokens"] = max_tokens
        if temperature is not None:
            body["temperature"] = temperature
        answer = self._post(
            _ChatCompletion, "/v1/chat/completions", body, timeout_seconds=timeout_seconds
        )
        return answer.completion(parse=schema is not None)

    def status(self) -> list[ServiceStatus]:
        """How every service of the platform is."""
        return self._get(dict[str, list[ServiceStatus]], "/api/v1/status")["services"]

    # Schedules

    def schedules(self) -> list[Schedule]:
        """All schedules by name."""
        return self._get(dict[str, list[Schedule]], "/api/v1/schedules")["schedules"]

    def create_schedule(
        self,
        workflow: str,
        cron: str = "",
        *,
        interval_seconds: float = 0,
        rrule: str = "",
        name: str | None = None,
        timezone: str | None = None,
        inputs: Mapping[str, JsonValue] | None = None,
        max_concurrent: int = 0,
        catch_up: Literal["skip", "latest", "all"] = "skip",
        notify: str = "",
    ) -> Schedule:
        """Creates the schedule of that name (default: the workflow's), or changes it. One of `cron`, `interval_seconds`
        and `rrule` is given. The time zone is UTC if not given; `max_concurrent` 0 means any number. The address
        `notify` is told when a run of it has ended."""
        body: dict[str, Any] = {
            "name": name or "",
            "workflow": workflow,
            "cron": cron,
            "interval_seconds": interval_seconds,
            "rrule": rrule,
            "timezone": timezone or "",
            "inputs": dict(inputs or {}),
            "max_concurrent": max_concurrent,
            "catch_up": catch_up,
        }
        if notify:
            body["notify"] = notify
        return self._post(Schedule, "/api/v1/schedules", body)

    def pause_schedule(self, name: str) -> Schedule:
        """Stops a schedule from starting runs."""
        return self._post(Schedule, _path("/api/v1/schedules", name, "pause"), {})

    def resume_schedule(self, name: str) -> Schedule:
        """Lets a paused schedule go on; times that passed are not made up for."""
        return self._post(Schedule, _path("/api/v1/schedules", name, "resume"), {})

    def delete_schedule(self, name: str) -> None:
        """Removes a schedule; runs that it started stay."""
        self._transport.send("DELETE", _path("/api/v1/schedules", name))

    # Files of runs

    def run_files(self, run_id: str) -> list[RunFile]:
        """What tools and programs of a run left, the first thousand."""
        return self._get(RunFileList, _path("/api/v1/runs", run_id) + "/files").files

    def read_run_file(self, run_id: str, path: str) -> bytes:
        """What is in a file of a run."""
        where = f"{_path('/api/v1/runs', run_id)}/files/{quote(path)}"
        return self._transport.send("GET", where).content

    # Triggers

    def triggers(self) -> list[Trigger]:
        """What starts runs from outside, by address."""
        return self._get(dict[str, list[Trigger]], "/api/v1/triggers")["triggers"]

    def sample(self, kind: str, name: str, text: str) -> Sample:
        """A delivery as the provider of a trigger would sign and send it."""
        path = _path("/api/v1/triggers", kind, name, "sample")
        return self._post(Sample, path, {"text": text})

    def connect_telegram(self, bot: str, url: str) -> TelegramConnection:
        """Has Telegram send a bot's messages to the gateway, which is at `url` for the world outside."""
        path = _path("/api/v1/triggers/telegram", bot, "connect")
        return self._post(TelegramConnection, path, {"url": url})

    def disconnect_telegram(self, bot: str) -> TelegramConnection:
        """Has Telegram send a bot's messages nowhere."""
        path = _path("/api/v1/triggers/telegram", bot, "disconnect")
        return self._post(TelegramConnection, path, {})

    def send_sample(self, sample: Sample) -> Delivery | None:
        """Sends a sample as the provider would; what the gateway keeps of it, None for what asks for nothing."""
        self._transport.send("POST", sample.path, content=sample.body, headers=sample.headers)
        kept = self.deliveries(source=sample.source, key=sample.key, limit=1)
        return kept[0] if kept else None

    def deliveries(
        self,
        status: str | None = None,
        source: str | None = None,
        key: str | None = None,
        limit: int = 50,
    ) -> list[Delivery]:
        """The newest deliveries, at most `limit`, without their contents and replies."""
        query = {"status": status, "source": source, "key": key}
        return list(self._pages(Delivery, "/api/v1/deliveries", "deliveries", query, limit=limit))

    def delivery(self, delivery_id: str) -> Delivery:
        """A delivery, with what came and what is sent for it."""
        return self._get(Delivery, _path("/api/v1/deliveries", delivery_id))

    def replay_delivery(self, delivery_id: str) -> Delivery:
        """Lets a parked delivery go on from where it failed."""
        return self._post(Delivery, _path("/api/v1/deliveries", delivery_id, "replay"), {})

    def discard_delivery(self, delivery_id: str) -> Delivery:
        """Gives a parked delivery up."""
        return self._post(Delivery, _path("/api/v1/deliveries", delivery_id, "discard"), {})

    # Remote agents

    def agents(self) -> list[Agent]:
        """All remote agents by name, those too whose time was over within the last day."""
        return self._get(dict[str, list[Agent]], "/api/v1/agents")["agents"]

    def agent(self, name: str) -> Agent:
        """One remote agent."""
        return self._get(Agent, _path("/api/v1/agents", name))

    def register_agent(
        self,
        url: str = "",
        *,
        name: str = "",
        card: Mapping[str, JsonValue] | None = None,
        ttl_seconds: float = 0,
        secret: str = "",
    ) -> Agent:
        """Registers a remote agent by the address of its card, or by its card and how long it stays without a sign of
        life, or changes it. `secret` names the executor's environment variable with its token or key."""
        body: dict[str, JsonValue] = {
            "url": url,
            "name": name,
            "card": None if card is None else dict(card),
            "ttl_seconds": ttl_seconds,
            "secret": secret,
        }
        return self._post(Agent, "/api/v1/agents", body)

    def renew_agent(self, name: str) -> Agent:
        """A sign of life of an agent that registered for a time."""
        return self._post(Agent, _path("/api/v1/agents", name, "heartbeat"), {})

    def delete_agent(self, name: str) -> None:
        """Removes a remote agent; tasks that it works on go on."""
        self._transport.send("DELETE", _path("/api/v1/agents", name))

    # Programs

    def execute(
        self,
        code: str,
        *,
        mode: str = "python",
        inputs: JsonObject | None = None,
        preset: str | None = None,
        timeout_seconds: float = 0.0,
        memory_mb: int = 0,
        packages: Sequence[str] = (),
        hosts: Sequence[str] = (),
        files: Mapping[str, bytes] | None = None,
        session_id: str = "",
    ) -> Execution:
        """Runs a program in the sandbox to its end; one that fails is an answer. 0 means the sandbox's default.

        In a session, which has settled them, mode, preset, memory_mb, packages and hosts are left out.
        """
        body: dict[str, Any] = {
            "code": code,
            "mode": mode,
            "inputs": inputs or {},
            "preset": preset,
            "timeout_seconds": timeout_seconds,
            "memory_mb": memory_mb,
            "packages": list(packages),
            "hosts": list(hosts),
            "session_id": session_id,
            "files": [
                {"name": name, "content": base64.b64encode(content).decode()}
                for name, content in (files or {}).items()
            ],
        }
        return self._post(Execution, "/api/v1/executions", body, timeout_seconds=_EXECUTION_SECONDS)

    def open_session(
        self,
        *,
        mode: str = "python",
        preset: str | None = None,
        timeout_seconds: float = 0.0,
        memory_mb: int = 0,
        packages: Sequence[str] = (),
        hosts: Sequence[str] = (),
        idle_seconds: float = 0.0,
        total_seconds: float = 0.0,
    ) -> Session:
        """Opens a session, in which each program finds what earlier ones left. 0 means the sandbox's default."""
        body: dict[str, Any] = {
            "mode": mode,
            "preset": preset,
            "timeout_seconds": timeout_seconds,
            "memory_mb": memory_mb,
            "packages": list(packages),
            "hosts": list(hosts),
            "idle_seconds": idle_seconds,
            "total_seconds": total_seconds,
        }
        return self._post(Session, _SESSIONS, body, timeout_seconds=_EXECUTION_SECONDS)

    def close_session(self, session_id: str) -> None:
        """Ends a session with everything in it; nothing when it has ended."""
        self._transport.send("DELETE", _path(_SESSIONS, session_id))

    def session_files(self, session_id: str) -> list[FileEntry]:
        """The files of a session's folder."""
        return self._get(FileList, _path(_SESSIONS, session_id) + "/files").files

    def read_session_file(self, session_id: str, name: str) -> bytes:
        """What is in a file of a session's folder."""
        path = f"{_path(_SESSIONS, session_id)}/files/{quote(name)}"
        return base64.b64decode(self._get(ProgramFile, path).content)

    def write_session_file(self, session_id: str, name: str, content: bytes) -> None:
        """Writes a file into a session's folder."""
        path = f"{_path(_SESSIONS, session_id)}/files/{quote(name)}"
        body = {"content": base64.b64encode(content).decode()}
        self._transport.send("PUT", path, body=body)

    # Memories

    def put_memory(
        self,
        namespace: Sequence[str],
        key: str,
        value: JsonValue,
        ttl_seconds: float | None = None,
        *,
        tags: Sequence[str] = (),
        metadata: Mapping[str, JsonValue] | None = None,
        if_version: int | None = None,
        searched_fields: Sequence[str] | None = None,
    ) -> MemoryItem:
        """Stores a value in place of the one before; it is gone after `ttl_seconds`, if given.

        `searched_fields` are the parts of it that are searched, such as `parts[*].text`; without it all of it is.
        With `if_version` only over that version, 0 being nothing; else VERSION_CONFLICT is refused.
        """
        body: dict[str, Any] = {"namespace": list(namespace), "key": key, "value": value}
        body |= {"tags": list(tags), "metadata": dict(metadata or {}), "if_version": if_version}
        if ttl_seconds is not None:
            body["ttl_seconds"] = ttl_seconds
        if searched_fields is not None:
            body["searched_fields"] = list(searched_fields)
        return self._post(MemoryItem, "/api/v1/memories", body)

    def batch_memories(
        self, operations: Sequence[Mapping[str, JsonObject]]
    ) -> list[MemoryBatchResult]:
        """Does many reads and writes in one request: first the reads, then all or none of the writes.

        Each operation is an object of one of `put`, `delete`, `get`, `find` and `namespaces`, as the API's description
        has them.
        """
        body = {"operations": [dict(each) for each in operations]}
        answer = self._post(dict[str, list[MemoryBatchResult]], "/api/v1/memories/batch", body)
        return answer["results"]

    def get_memory(self, namespace: Sequence[str], key: str, version: int = 0) -> MemoryItem:
        """A stored value, as of a version; 0 is the newest."""
        query: Query = {"namespace": list(namespace), "key": key, "version": version}
        return self._get(MemoryItem, "/api/v1/memories/item", query)

    def list_memories(
        self,
        namespace: Sequence[str],
        key_prefix: str = "",
        limit: int = 100,
        *,
        tags: Sequence[str] = (),
        metadata: Mapping[str, JsonValue] | None = None,
        since: datetime | None = None,
        before: datetime | None = None,
    ) -> list[MemoryItem]:
        """A namespace's values by key that pass all of these, at most `limit`."""
        query: Query = {
            "namespace": list(namespace),
            "key_prefix": key_prefix,
            "tag": list(tags),
            "metadata": json.dumps(metadata) if metadata else None,
            **_times(since, before),
        }
        return list(self._pages(MemoryItem, "/api/v1/memories", "items", query, limit=limit))

    def delete_memory(self, namespace: Sequence[str], key: str) -> bool:
        """Removes a value; says whether there was one."""
        query: Query = {"namespace": list(namespace), "key": key}
        answer = self._transport.ask(
            TypeAdapter(dict[str, bool]), "DELETE", "/api/v1/memories/item", query=query
        )
        return answer["deleted"]

    def search_memories(
        self,
        namespace: Sequence[str],
        query: str,
        top_k: int = 10,
        mode: str = "hybrid",
        *,
        tags: Sequence[str] = (),
        metadata: Mapping[str, JsonValue] | None = None,
        since: datetime | None = None,
        before: datetime | None = None,
        window: int = 0,
        asked: datetime | None = None,
    ) -> MemoryHits:
        """What matches best in a namespace and below it; `mode` is hybrid, text or vector.

        Each message comes with `window` before and after it. What did not hold when the question is `asked`, now by
        default, is left out.
        """
        body: dict[str, Any] = {"namespace": list(namespace), "query": query, "top_k": top_k}
        body |= {"mode": mode, "window": window, **_conditions(tags, metadata)}
        body |= {**_times(since, before), "asked_time": asked.isoformat() if asked else None}
        return self._post(MemoryHits, "/api/v1/memories/search", body)

    def forget_memories(
        self,
        namespace: Sequence[str],
        *,
        tags: Sequence[str] = (),
        metadata: Mapping[str, JsonValue] | None = None,
        since: datetime | None = None,
        before: datetime | None = None,
        everything: bool = False,
    ) -> int:
        """Really removes what passes all of these, in a namespace and below it; says how many values."""
        body: dict[str, Any] = {"namespace": list(namespace), **_conditions(tags, metadata)}
        body |= {**_times(since, before), "everything": everything}
        return self._post(dict[str, int], "/api/v1/memories/forget", body)["forgotten"]

    def memory_namespaces(self, namespace: Sequence[str], limit: int = 500) -> list[list[str]]:
        """The namespaces that hold something, at and below one."""
        query: Query = {"namespace": list(namespace)}
        path = "/api/v1/memories/namespaces"
        return list(self._pages(list[str], path, "namespaces", query, limit=limit))

    # Keys

    def who_am_i(self) -> WhoAmI:
        """Whose key this client sends, and what it may do."""
        return self._get(WhoAmI, "/api/v1/whoami")

    def create_key(
        self,
        name: str,
        scope: str,
        *,
        expires_seconds: float | None = None,
        rate: tuple[int, float] | None = None,
        budget_usd: Decimal | None = None,
        budget_tokens: int | None = None,
        budget_period: str = "day",
    ) -> MadeKey:
        """Makes a key; its secret is in the answer and nowhere else. `rate` is so many requests in so many seconds; a
        budget bounds what its model calls may use in each run, day, week or month."""
        body: dict[str, Any] = {"name": name, "scope": scope, "expires_seconds": expires_seconds}
        if rate is not None:
            body["rate"] = {"requests": rate[0], "seconds": rate[1]}
        if budget_usd is not None or budget_tokens is not None:
            usd = None if budget_usd is None else format(budget_usd, "f")
            body["budget"] = {"usd": usd, "tokens": budget_tokens, "period": budget_period}
        return self._post(MadeKey, "/api/v1/keys", body)

    def api_keys(self) -> list[ApiKey]:
        """The keys that were made, by name, those too that are not valid any more."""
        return self._get(dict[str, list[ApiKey]], "/api/v1/keys")["keys"]

    def rotate_key(self, name: str, *, grace_seconds: float = 0.0) -> MadeKey:
        """Gives a key another secret; the one before stays valid for `grace_seconds`."""
        path = _path("/api/v1/keys", name, "rotate")
        return self._post(MadeKey, path, {"grace_seconds": grace_seconds})

    def revoke_key(self, name: str) -> ApiKey:
        """Takes a key back, at once and for good."""
        return self._post(ApiKey, _path("/api/v1/keys", name, "revoke"), {})

    def audit(
        self,
        *,
        key: str = "",
        method: str = "",
        route: str = "",
        refused: bool | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        limit: int = 50,
    ) -> list[AuditEntry]:
        """Requests that changed something or were refused, newest first."""
        query: Query = {
            "key": key,
            "method": method,
            "route": route,
            "refused": None if refused is None else str(refused).lower(),
            "start": start.isoformat() if start else None,
            "end": end.isoformat() if end else None,
        }
        return list(self._pages(AuditEntry, "/api/v1/audit", "entries", query, limit=limit))

    # Conversations

    def append_messages(
        self,
        namespace: Sequence[str],
        messages: Sequence[Mapping[str, JsonValue]],
        *,
        learn: bool = False,
        summary_tokens: int = 0,
        model: str = "default",
    ) -> int:
        """Adds messages (`text`, and maybe `role`, `name`, `time`) to a conversation; the position of the first.

        With `learn` a model learns facts from them, above `summary_tokens` it sums up what is older: afterwards.
        """
        body: dict[str, Any] = {"namespace": list(namespace), "messages": list(map(dict, messages))}
        body |= {"learn": learn, "summary_tokens": summary_tokens, "model": model}
        return self._post(dict[str, int], "/api/v1/conversations/messages", body)["first_position"]

    def messages(
        self,
        namespace: Sequence[str],
        *,
        limit: int = 100,
        max_tokens: int = 0,
        before: int = 0,
        with_summary: bool = False,
    ) -> Messages:
        """The newest messages of a conversation, or those before a position, within a number and some tokens."""
        query: Query = {
            "namespace": list(namespace),
            "limit": limit,
            "max_tokens": max_tokens,
            "before_position": before,
            "with_summary": with_summary,
        }
        return self._get(Messages, "/api/v1/conversations/messages", query)

    def conversations(self, namespace: Sequence[str], limit: int = 100) -> list[Conversation]:
        """The conversations at and below a namespace."""
        query: Query = {"namespace": list(namespace)}
        path = "/api/v1/conversations"
        return list(self._pages(Conversation, path, "conversations", query, limit=limit))

    def delete_conversation(self, namespace: Sequence[str]) -> int:
        """Really removes a conversation with what was made of it; says how many values."""
        query: Query = {"namespace": list(namespace)}
        answer = self._transport.ask(
            TypeAdapter(dict[str, int]), "DELETE", "/api/v1/conversations", query=query
        )
        return answer["forgotten"]

    # How they are sent

    def _get(self, shape: type[T], path: str, query: Query | None = None) -> T:
        return self._transport.ask(TypeAdapter(shape), "GET", path, query=query)

    def _start(self, path: str, body: Mapping[str, Any], idempotency_key: str | None) -> Run:
        """The run that a request starts, asked again while it may have been started and nobody says so."""
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        sent: GatewayUnreachable | None = None
        give_up, pause = 0.0, _FIRST_PAUSE_SECONDS
        while True:
            try:
                return self._post(Run, path, body, headers=headers)
            except (GatewayUnreachable, ApiError) as error:
                hung_up = isinstance(error, GatewayUnreachable) and error.by_tls
                # A gateway that ended hangs up once; one that wants another certificate does again.
                if _lasting(error) or (hung_up and sent is not None):
                    raise
                if sent is None and isinstance(error, GatewayUnreachable) and error.was_sent:
                    sent, give_up = error, time.monotonic() + _PATIENCE_SECONDS
                if sent is None:
                    raise
                if time.monotonic() > give_up:
                    raise sent from error
            time.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    def _post(
        self,
        shape: type[T],
        path: str,
        body: Mapping[str, Any],
        *,
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float | None = None,
    ) -> T:
        return self._transport.ask(
            TypeAdapter(shape),
            "POST",
            path,
            body=body,
            headers=headers,
            timeout_seconds=timeout_seconds,
        )

    def _pages(
        self, item: type[T], path: str, field: str, query: Query, limit: int | None = None
    ) -> Iterator[T]:
        left, token = limit, ""
        while left is None or left > 0:
            size = _PAGE if left is None else min(left, _PAGE)
            asked: Query = {**query, "page_size": size, "page_token": token}
            page = self._get(dict[str, JsonValue], path, asked)
            items = _items(item, page.get(field), path)
            yield from items
            token = str(page.get("next_page_token") or "")
            left = None if left is None else left - len(items)
            if not token:
                return


def _conditions(tags: Sequence[str], metadata: Mapping[str, JsonValue] | None) -> dict[str, Any]:
    return {"tags": list(tags), "metadata": dict(metadata or {})}


def _times(since: datetime | None, before: datetime | None) -> dict[str, str | None]:
    return {
        "since_time": since.isoformat() if since else None,
        "before_time": before.isoformat() if before else None,
    }


def _selection(
    start: datetime | None, end: datetime | None, workflow: str | None, run_id: str | None
) -> Query:
    return {
        "start": start.isoformat() if start else None,
        "end": end.isoformat() if end else None,
        "workflow": workflow,
        "run_id": run_id,
    }


class _ChatMessage(BaseModel):
    content: str | None = None


class _Choice(BaseModel):
    message: _ChatMessage
    finish_reason: str


class _ChatUsage(BaseModel):
    prompt_tokens: int
    completion_tokens: int
    cost_usd: str | None = None


class _BatchRowPage(BaseModel):
    """Some rows of a batch."""

    rows: list[BatchRow]
    more: bool


class _ChatCompletion(BaseModel):
    """OpenAI's shape of a reply, as far as it is read here."""

    model: str
    choices: list[_Choice]
    usage: _ChatUsage

    def completion(self, *, parse: bool) -> Completion:
        choice = self.choices[0]
        content = choice.message.content or ""
        usage = {
            "input_tokens": self.usage.prompt_tokens,
            "output_tokens": self.usage.completion_tokens,
            "cost_usd": self.usage.cost_usd,
            "calls": 1,
            "unpriced_calls": int(self.usage.cost_usd is None),
        }
        return Completion(
            content=content,
            finish_reason=choice.finish_reason,
            model=self.model,
            usage=Usage.model_validate(usage),
            parsed=_parsed(content) if parse else None,
        )


def _parsed(content: str) -> JsonValue:
    try:
        return TypeAdapter[JsonValue](JsonValue).validate_json(content)
    except ValidationError:
        return None


def _items(item: type[T], value: JsonValue, path: str) -> list[T]:
    try:
        return TypeAdapter(list[item]).validate_python(value)  # type: ignore[valid-type]  # a type known at run time
    except ValidationError as exc:
        raise _unexpected(path) from exc


def _event_of(sent: ServerSentEvent) -> Event:
    if sent.name == "problem":
        raise _Refusal.model_validate_json(sent.data).error()
    try:
        return Event.model_validate_json(sent.data)
    except ValidationError as exc:
        raise _unexpected("the event stream") from exc


class _Refusal(BaseModel):
    """A problem+json document in the middle of an event stream."""

    status: int
    code: str
    detail: str
    resolution: str = ""
    problems: list[Problem] | None = None
    request_id: str = ""

    def error(self) -> ApiError:
        return ApiError(
            status=self.status,
            code=self.code,
            detail=self.detail,
            resolution=self.resolution,
            problems=self.problems or [],
            request_id=self.request_id,
        )


def _unexpected(what: str) -> ApiError:
    return ApiError(
        status=200,
        code="UNEXPECTED_ANSWER",
        detail=f"the gateway's answer to {what} has an unknown form",
        resolution="Use a client and a gateway of the same release.",
    )


def _lasting(error: GatewayUnreachable | ApiError) -> bool:
    return isinstance(error, ApiError) and error.status not in _PASSING


def _path(*parts: str) -> str:
    first, *rest = parts
    return "/".join([first, *(quote(part, safe="") for part in rest)])
