"""The gateway's HTTP API over a real socket, with a small memory instead of services behind it.

What a run does depends on its workflow: `fails`, `costly` (stopped by a budget), `slow` (until it is cancelled), `asks`
(waits for an answer); every other one succeeds. A file that has no line `nodes:` is invalid, in two places; one that
begins with `flow:` is checked as the language does.
"""

import json
import mimetypes
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from tests.platform import eventually

from cadre_executor.language import parse_workflow

TIME = "2026-11-22T14:00:00Z"
USAGE: dict[str, Any] = {
    "input_tokens": 1200,
    "output_tokens": 80,
    "cost_usd": "0.00045",
    "calls": 2,
    "unpriced_calls": 0,
}
PROBLEMS = [
    {
        "code": "UNKNOWN_STATE_FIELD",
        "message": "there is no state field 'mesage'",
        "path": "nodes[0].prompt",
        "line": 2,
        "column": 7,
        "resolution": "did you mean `message`?",
        "severity": "error",
    },
    {
        "code": "NO_NODES",
        "message": "the workflow has no nodes",
        "path": "",
        "line": 0,
        "column": 0,
        "resolution": "add `nodes:`",
        "severity": "error",
    },
]
QUESTION: dict[str, Any] = {
    "node": "classify",
    "iteration": 1,
    "message": "Send it?",
    "choices": ["approve", "reject"],
    "deadline": None,
}
FAILURES = {
    "fails": {
        "code": "PROVIDER_ERROR",
        "message": "the provider refused",
        "resolution": "try again",
        "node": "classify",
    },
    "costly": {
        "code": "BUDGET_EXCEEDED",
        "message": "the budget of $0.01 is used up",
        "resolution": "raise it",
        "node": "classify",
    },
}


@dataclass
class Store:
    """What the API was told, and what it was asked last."""

    workflows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    budgets: dict[str, dict[str, Any]] = field(default_factory=dict)
    schedules: dict[str, dict[str, Any]] = field(default_factory=dict)
    agents: dict[str, dict[str, Any]] = field(default_factory=dict)
    batches: dict[str, dict[str, Any]] = field(default_factory=dict)
    memories: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    said: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    searched: dict[str, Any] = field(default_factory=dict)
    appended: dict[str, Any] = field(default_factory=dict)
    usage_query: dict[str, str] = field(default_factory=dict)
    usage_groups: tuple[int, ...] = (0, 1)
    cost_usd: str | None = "0.00045"
    broken: bool = False


class Refusal(Exception):
    """An answer other than what was asked for."""

    def __init__(self, status: int, code: str, detail: str, problems: Any = None) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.problems = problems


def http_api(store: Store) -> FastAPI:
    """The API over a store."""
    app = FastAPI()
    app.add_exception_handler(Refusal, _refuse)
    _add_workflows(app, store)
    _add_runs(app, store)
    _add_files(app, store)
    _add_schedules(app, store)
    _add_agents(app, store)
    _add_batches(app, store)
    _add_memories(app, store)
    _add_others(app, store)
    return app


@contextmanager
def serving(store: Store) -> Iterator[str]:
    """Serves it on a free port; yields its address."""
    config = uvicorn.Config(http_api(store), port=0, log_level="error", ws="none", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    eventually(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        server.force_exit = True
        thread.join(5)


async def _refuse(request: Request, refusal: Exception) -> Response:
    assert isinstance(refusal, Refusal)
    return JSONResponse(
        {
            "type": "about:blank",
            "title": refusal.code,
            "status": refusal.status,
            "code": refusal.code,
            "detail": refusal.detail,
            "resolution": "Look again.",
            "request_id": "req_1",
            "problems": refusal.problems,
        },
        status_code=refusal.status,
        media_type="application/problem+json",
    )


def _workflow(source: str, version: int) -> dict[str, Any]:
    name = next(line for line in source.splitlines() if line.startswith("name: "))[6:]
    return {
        "name": name,
        "version": version,
        "description": f"Does {name}",
        "source": source,
        "applied_time": TIME,
        "tags": [],
        "inputs": [
            {
                "name": "message",
                "type": "str",
                "required": True,
                "default": None,
                "description": "What to [bold]read[/]",
                "enum": None,
            }
        ],
        "graph": {"nodes": [], "edges": []},
    }


def _check(source: str) -> None:
    if "nodes:" not in source:
        raise Refusal(400, "WORKFLOW_INVALID", "the workflow has 2 problems", PROBLEMS)


def _validated(source: str) -> dict[str, Any]:
    """What the language itself says of a real file."""
    parsed = parse_workflow(source)
    problems = [{**asdict(each), "severity": each.severity.value} for each in parsed.problems]
    return {"valid": parsed.valid, "problems": problems, "workflow": None}


def _plan(source: str, usd: str | None) -> dict[str, Any]:
    """A plan of a loop that asks a model without a key."""
    edges = [
        {"source": "START", "target": "ask", "condition": "", "loop": False},
        {"source": "ask", "target": "ask", "condition": "default", "loop": True},
    ]
    node = {
        "id": "ask",
        "kind": "llm",
        "min_visits": 1,
        "max_visits": 3,
        "models": ["openai/gpt"],
        "max_calls": 9,
        "min_usd": "0",
        "max_usd": usd,
    }
    need = {
        "kind": "model",
        "name": "openai/gpt",
        "nodes": ["ask"],
        "missing": True,
        "reason": "no key",
    }
    return {
        "workflow": {**_workflow(source, 0), "graph": {"nodes": [], "edges": edges}},
        "nodes": [node],
        "needs": [need],
        "cost": {
            "basis": "history" if usd else "estimate",
            "min_usd": "0.0001",
            "max_usd": usd,
            "runs": 2 if usd else 0,
            "worst_usd": usd,
            "unknown_reason": "" if usd else "node ask: no price",
        },
        "duration": {"basis": "limit", "min_ms": 0, "max_ms": 3_600_000, "runs": 0},
    }


def _versions(store: Store, name: str) -> list[dict[str, Any]]:
    if name not in store.workflows:
        raise Refusal(404, "WORKFLOW_NOT_FOUND", f"there is no workflow {name!r}")
    return store.workflows[name]


def _add_workflows(app: FastAPI, store: Store) -> None:
    @app.post("/api/v1/workflows/validate")
    async def validate(body: dict[str, Any]) -> Any:
        if body["source"].startswith("flow:"):
            return _validated(body["source"])
        valid = "nodes:" in body["source"]
        return {"valid": valid, "problems": [] if valid else PROBLEMS, "workflow": None}

    @app.post("/api/v1/workflows/test")
    async def test(body: dict[str, Any]) -> Any:
        _check(body["source"])
        failure = {
            "code": "EXPECTATION_FAILED",
            "message": "`state.mood == 'angry'` does not hold: state.mood is 'happy'",
            "resolution": "",
            "node": "",
            "path": "tests[1].expect[0]",
            "line": 2,
            "column": 1,
        }
        tests = [
            {"name": name, "passed": not found, "duration_ms": 12, "failures": found, "outputs": {}}
            for name, found in (("calm", []), ("angry", [failure]))
            if body["name_contains"] in name
        ]
        return {"passed": all(each["passed"] for each in tests), "tests": tests}

    @app.post("/api/v1/workflows/plan")
    async def plan(body: dict[str, Any]) -> Any:
        _check(body["source"])
        return _plan(body["source"], store.cost_usd)

    @app.post("/api/v1/workflows")
    async def apply(body: dict[str, Any]) -> Any:
        _check(body["source"])
        workflow = _workflow(body["source"], 1)
        versions = store.workflows.setdefault(workflow["name"], [])
        if versions and versions[-1]["source"] == body["source"]:
            return {"workflow": versions[-1], "created": False, "notes": []}
        versions.append({**workflow, "version": len(versions) + 1})
        return {"workflow": versions[-1], "created": True, "notes": []}

    @app.get("/api/v1/workflows")
    async def workflows() -> Any:
        return {"workflows": [v[-1] for v in store.workflows.values()], "next_page_token": ""}

    @app.get("/api/v1/workflows/{name}")
    async def workflow(name: str, version: int = 0) -> Any:
        versions = _versions(store, name)
        if version > len(versions):
            raise Refusal(404, "WORKFLOW_NOT_FOUND", f"{name!r} has no version {version}")
        return versions[version - 1]

    @app.get("/api/v1/workflows/{name}/versions")
    async def versions(name: str) -> Any:
        return {"versions": _versions(store, name)[::-1]}

    @app.delete("/api/v1/workflows/{name}", status_code=204)
    async def delete(name: str) -> None:
        _versions(store, name)
        del store.workflows[name]

    @app.get("/api/v1/schema")
    async def schema() -> Any:
        return {"$schema": "https://json-schema.org/draft/2020-12/schema"}


def _end(run: dict[str, Any], status: str) -> None:
    run.update(status=status, ended_time="2026-11-22T14:00:02.500Z")


def _events(run: dict[str, Any]) -> list[dict[str, Any]]:
    def event(sequence: int, kind: str, **more: Any) -> dict[str, Any]:
        return {"sequence": sequence, "time": TIME, "type": kind, **more}

    node = {"node": "classify", "iteration": 1, "attempt": 1}
    begun = [event(1, "run_started"), event(2, "node_started", **node)]
    match run["status"]:
        case "succeeded":
            if run["workflow"] == "asks":
                begun = [
                    *begun,
                    event(3, "node_waiting", **node),
                    event(4, "node_answered", **node),
                ]
            number = len(begun) + 1
            done = event(number, "node_succeeded", **node, duration_ms=1234)
            return [*begun, done, event(number + 1, "run_succeeded")]
        case "failed":
            error = run["error"]
            failed = event(3, "node_failed", **node, error=error, duration_ms=5)
            return [*begun, failed, event(4, "run_failed", error=error)]
        case "cancelled":
            return [*begun, event(3, "run_cancelled")]
        case "waiting":
            return [*begun, event(3, "node_waiting", **node)]
        case _:
            return begun


def _add_runs(app: FastAPI, store: Store) -> None:
    def found(run_id: str) -> dict[str, Any]:
        if run_id not in store.runs:
            raise Refusal(404, "RUN_NOT_FOUND", f"there is no run {run_id!r}")
        return store.runs[run_id]

    @app.post("/api/v1/runs/{run_id}/record")
    async def record(run_id: str, body: dict[str, Any]) -> Any:
        test = {"name": body["name"] or f"run {run_id}", "inputs": found(run_id)["inputs"]}
        source = body["source"] or found(run_id)["source"]
        return {"test": test, "source": f"{source}tests: [{json.dumps(test)}]\n"}

    @app.post("/api/v1/runs", status_code=202)
    async def start(body: dict[str, Any]) -> Any:
        if store.broken:
            raise Refusal(503, "SERVICE_UNAVAILABLE", "the executor does not answer")
        if body.get("source"):
            _check(body["source"])
            name, version = _workflow(body["source"], 0)["name"], 0
        else:
            versions = _versions(store, body["workflow"])
            name, version = body["workflow"], body["version"] or len(versions)
        if "message" not in body["inputs"]:
            raise Refusal(400, "INPUT_INVALID", "the input 'message' is missing")
        run = {
            "id": f"01RUN{len(store.runs)}",
            "workflow": name,
            "version": version,
            "status": "running",
            "inputs": body["inputs"],
            "outputs": None,
            "usage": {**USAGE, "cost_usd": store.cost_usd},
            "error": FAILURES.get(name),
            "created_time": TIME,
            "started_time": TIME,
            "ended_time": None,
            "trigger": "schedule" if body.get("schedule") else "api",
            "schedule": body.get("schedule", ""),
            "trace_id": "0" * 32,
            "source": body.get("source") or "",
        }
        store.runs[run["id"]] = run
        if name == "asks":
            run.update(status="waiting", questions=[QUESTION])
        elif name != "slow":
            _end(run, "failed" if name in FAILURES else "succeeded")
            run["outputs"] = None if name in FAILURES else {"mood": "angry", "scores": [1, 2.5]}
        return run

    @app.get("/api/v1/runs")
    async def runs(workflow: str = "", status: str = "", schedule: str = "") -> Any:
        chosen = [
            run
            for run in reversed(store.runs.values())
            if workflow in ("", run["workflow"])
            and status in ("", run["status"])
            and schedule in ("", run["schedule"])
        ]
        return {"runs": chosen, "next_page_token": ""}

    @app.get("/api/v1/runs/{run_id}")
    async def run(run_id: str) -> Any:
        return {**found(run_id), "last_sequence": len(_events(found(run_id)))}

    @app.post("/api/v1/runs/{run_id}/cancel")
    async def cancel(run_id: str) -> Any:
        if found(run_id)["status"] == "running":
            _end(found(run_id), "cancelled")
        return found(run_id)

    @app.post("/api/v1/runs/{run_id}/answer")
    async def answer(run_id: str, body: dict[str, Any]) -> Any:
        run = found(run_id)
        if body["choice"] not in QUESTION["choices"]:
            raise Refusal(400, "UNKNOWN_CHOICE", f"{body['choice']!r} is none of the choices")
        run.update(questions=[], outputs={"verdict": body})
        _end(run, "succeeded")
        return run

    @app.post("/api/v1/runs/{run_id}/resume")
    async def resume(run_id: str) -> Any:
        run = found(run_id)
        if run["status"] != "failed":
            raise Refusal(400, "RUN_NOT_FAILED", f"run {run_id!r} did not fail")
        run.update(error=None, outputs={"mood": "calm"})
        _end(run, "succeeded")
        return run

    @app.post("/api/v1/runs/{run_id}/fork", status_code=202)
    async def fork(run_id: str, body: dict[str, Any]) -> Any:
        run = {**found(run_id), "id": f"01RUN{len(store.runs)}", "forked_from_run_id": run_id}
        run.update(error=None, outputs={"from": body["checkpoint_id"], **body["state"]})
        store.runs[run["id"]] = run
        _end(run, "succeeded")
        return run

    @app.get("/api/v1/runs/{run_id}/checkpoints")
    async def checkpoints(run_id: str) -> Any:
        found(run_id)
        kept = {"id": "1", "step": 1, "time": TIME, "nodes": ["classify"], "next_nodes": ["reply"]}
        return {"checkpoints": [{**kept, "state": {"mood": "angry"}}]}

    @app.get("/api/v1/runs/{run_id}/events")
    async def events(request: Request, run_id: str) -> StreamingResponse:
        after = int(request.headers.get("last-event-id", "0"))
        return StreamingResponse(_stream(found(run_id), after), media_type="text/event-stream")


def _add_files(app: FastAPI, store: Store) -> None:
    def found(run_id: str) -> dict[str, bytes]:
        if run_id not in store.runs:
            raise Refusal(404, "RUN_NOT_FOUND", f"no run {run_id}")
        return store.files.get(run_id, {})

    @app.get("/api/v1/runs/{run_id}/files")
    async def files(run_id: str) -> Any:
        listed = [
            {"path": path, "size_bytes": len(content), "media_type": _media_type(path)}
            for path, content in found(run_id).items()
        ]
        return {"files": listed}

    @app.get("/api/v1/runs/{run_id}/files/{path:path}")
    async def file(run_id: str, path: str) -> Response:
        if path not in found(run_id):
            raise Refusal(404, "FILE_NOT_FOUND", f"no file {path}")
        return Response(found(run_id)[path], media_type=_media_type(path))


def _media_type(path: str) -> str:
    return mimetypes.guess_type(path)[0] or "application/octet-stream"


async def _stream(run: dict[str, Any], after: int) -> AsyncIterator[str]:
    import asyncio

    sent = after
    give_up = time.monotonic() + 30
    while time.monotonic() < give_up:
        for event in _events(run)[sent:]:
            sent = event["sequence"]
            yield f"id: {sent}\nevent: {event['type']}\ndata: {json.dumps(event)}\n\n"
            if event["type"] in ("run_succeeded", "run_failed", "run_cancelled"):
                return
        await asyncio.sleep(0.02)


def _add_batches(app: FastAPI, store: Store) -> None:
    """Rows that say `fail` or `costly` fail so, and `asks` waits; of a batch of `slow` nothing is run. Each look at a
    batch runs one row more."""

    @app.post("/api/v1/batches", status_code=202)
    async def create(body: dict[str, Any]) -> Any:
        if store.broken:
            raise Refusal(503, "PREFECT_UNAVAILABLE", "Prefect does not answer")
        rows = body["rows"]
        wrong = [
            {**PROBLEMS[0], "message": "message is missing", "path": "message", "line": row["line"]}
            for row in rows
            if "message" not in row["inputs"]
        ]
        if wrong:
            raise Refusal(400, "BATCH_ROWS_REFUSED", "rows do not fit", problems=wrong)
        batch = {"id": f"01BATCH{len(store.batches)}", "workflow": body["workflow"] or "file"}
        batch |= {"version": 1, "max_concurrent": body["max_concurrent"], "asked": body, "runs": []}
        store.batches[batch["id"]] = batch
        return _batch(batch)

    @app.get("/api/v1/batches")
    async def batches() -> Any:
        found = [_batch(batch) for batch in reversed(store.batches.values())]
        return {"batches": found, "next_page_token": ""}

    @app.get("/api/v1/batches/{batch_id}")
    async def batch(batch_id: str) -> Any:
        found = store.batches[batch_id]
        found["was_seen"] = True
        runs, rows = found["runs"], found["asked"]["rows"]
        if len(runs) < len(rows) and found["workflow"] != "slow":
            runs.append(_row_run(rows[len(runs)]["inputs"]["message"], len(runs)))
        return _batch(found)

    @app.get("/api/v1/batches/{batch_id}/rows")
    async def rows(batch_id: str, after: int) -> Any:
        found = store.batches[batch_id]
        runs = [*found["runs"], *[None] * len(found["asked"]["rows"])]
        every = [
            {"row": number, "line": row["line"], "run": runs[number - 1]}
            for number, row in enumerate(found["asked"]["rows"], start=1)
        ]
        # In pages of two.
        return {"rows": every[after : after + 2], "more": after + 2 < len(every)}

    @app.post("/api/v1/batches/{batch_id}/cancel")
    async def cancel(batch_id: str) -> Any:
        store.batches[batch_id]["cancelled"] = True
        return _batch(store.batches[batch_id])


def _row_run(message: str, place: int) -> dict[str, Any]:
    failure = {"fail": FAILURES["fails"], "costly": FAILURES["costly"]}.get(message)
    status = "waiting" if message == "asks" else "failed" if failure else "succeeded"
    run = {"id": f"01ROW{place}", "workflow": "triage", "version": 1, "status": status}
    return {**run, "usage": USAGE, "error": failure, "outputs": {"mood": message, "scores": [1]}}


def _batch(batch: dict[str, Any]) -> dict[str, Any]:
    total, runs = len(batch["asked"]["rows"]), batch["runs"]
    counts = {
        s: sum(run["status"] == s for run in runs) for s in ("succeeded", "failed", "waiting")
    }
    rows = {"total": total, "pending": total - len(runs), **counts}
    left = "waiting" if counts["waiting"] else "failed" if counts["failed"] else "succeeded"
    status = "running" if rows["pending"] else left
    shown = {
        name: value for name, value in batch.items() if name not in ("asked", "runs", "was_seen")
    }
    used = {name: amount * len(runs) for name, amount in USAGE.items() if name != "cost_usd"}
    usage = {**used, "cost_usd": str(Decimal(USAGE["cost_usd"]) * len(runs))}
    now = "cancelled" if batch.get("cancelled") else status
    return {**shown, "status": now, "rows": rows, "usage": usage}


def _add_schedules(app: FastAPI, store: Store) -> None:
    def found(name: str) -> dict[str, Any]:
        if name not in store.schedules:
            raise Refusal(404, "SCHEDULE_NOT_FOUND", f"there is no schedule {name!r}")
        return store.schedules[name]

    @app.post("/api/v1/schedules")
    async def create(body: dict[str, Any]) -> Any:
        _versions(store, body["workflow"])
        name = body["name"] or body["workflow"]
        made = {"timezone": "UTC", **{k: v for k, v in body.items() if v}}
        store.schedules[name] = {**made, "name": name, "paused": False, "next_time": TIME}
        return store.schedules[name]

    @app.get("/api/v1/schedules")
    async def schedules() -> Any:
        return {"schedules": list(store.schedules.values())}

    @app.post("/api/v1/schedules/{name}/pause")
    async def pause(name: str) -> Any:
        found(name).update(paused=True, next_time=None)
        return found(name)

    @app.post("/api/v1/schedules/{name}/resume")
    async def resume(name: str) -> Any:
        found(name).update(paused=False, next_time=TIME)
        return found(name)

    @app.delete("/api/v1/schedules/{name}", status_code=204)
    async def delete(name: str) -> None:
        found(name)
        del store.schedules[name]


def _add_agents(app: FastAPI, store: Store) -> None:
    def found(name: str) -> dict[str, Any]:
        if name not in store.agents:
            raise Refusal(404, "AGENT_NOT_FOUND", f"no agent {name!r} is registered")
        return store.agents[name]

    @app.post("/api/v1/agents")
    async def register(body: dict[str, Any]) -> Any:
        name = body["name"] or "Echo-agent"
        store.agents[name] = {
            "name": name,
            "title": "Echo agent",
            "description": "Says it again.",
            "version": "2.1",
            "card_url": body["url"],
            "url": body["url"],
            "protocol_binding": "JSONRPC",
            "skills": [{"id": "echo", "name": "Echo", "description": "Repeats."}],
            "health": "healthy",
            "secret": body["secret"],
            "ttl_seconds": body["ttl_seconds"],
            "last_seen_time": TIME,
        }
        return store.agents[name]

    @app.get("/api/v1/agents")
    async def agents() -> Any:
        return {"agents": list(store.agents.values())}

    @app.get("/api/v1/agents/{name}")
    async def agent(name: str) -> Any:
        return found(name)

    @app.delete("/api/v1/agents/{name}", status_code=204)
    async def delete(name: str) -> None:
        found(name)
        del store.agents[name]


def _add_memories(app: FastAPI, store: Store) -> None:
    def place(request: Request) -> tuple[str, str]:
        return "/".join(request.query_params.getlist("namespace")), request.query_params["key"]

    @app.post("/api/v1/memories")
    async def put(body: dict[str, Any]) -> Any:
        key = ("/".join(body["namespace"]), body["key"])
        version = store.memories.get(key, {"version": 0})["version"] + 1
        store.memories[key] = {**body, "version": version, "updated_time": TIME}
        return store.memories[key]

    @app.get("/api/v1/memories/item")
    async def get(request: Request) -> Any:
        if place(request) not in store.memories:
            raise Refusal(404, "ITEM_NOT_FOUND", f"there is no item {place(request)[1]!r}")
        return store.memories[place(request)]

    @app.delete("/api/v1/memories/item")
    async def delete(request: Request) -> Any:
        return {"deleted": store.memories.pop(place(request), None) is not None}

    @app.get("/api/v1/memories")
    async def items(request: Request) -> Any:
        namespace = "/".join(request.query_params.getlist("namespace"))
        chosen = [item for (where, _), item in store.memories.items() if where == namespace]
        return {"items": chosen, "next_page_token": ""}

    @app.post("/api/v1/memories/search")
    async def search(body: dict[str, Any]) -> Any:
        store.searched = body
        hits = [item for item in store.memories.values() if body["query"] in str(item["value"])]
        near = [{"position": 3, "role": "user", "text": "Where?"}] if body["window"] else []
        return {
            "hits": [
                {"item": item, "score": 0.9, "matched_text": item["value"], "neighbours": near}
                for item in hits
            ]
        }

    @app.get("/api/v1/memories/namespaces")
    async def namespaces(request: Request) -> Any:
        above = "/".join(request.query_params.getlist("namespace"))
        places = sorted({where for where, _ in store.memories} | set(store.said))
        found = [p.split("/") for p in places if f"{p}/".startswith(f"{above}/")]
        return {"namespaces": found, "next_page_token": ""}

    @app.post("/api/v1/conversations/messages")
    async def append(body: dict[str, Any]) -> Any:
        said = store.said.setdefault("/".join(body["namespace"]), [])
        first = len(said)
        said += [{**m, "position": first + n} for n, m in enumerate(body["messages"])]
        store.appended = body
        return {"first_position": first}

    @app.get("/api/v1/conversations/messages")
    async def messages(request: Request) -> Any:
        said = store.said.get("/".join(request.query_params.getlist("namespace")), [])
        summary = {"text": "They met.", "last_position": 1}
        wanted = request.query_params["with_summary"] == "true"
        return {"messages": said, "more": False, "summary": summary if wanted else None}

    @app.get("/api/v1/conversations")
    async def conversations(request: Request) -> Any:
        found = [{"namespace": w.split("/"), "newest": s[-1]} for w, s in store.said.items()]
        return {"conversations": found, "next_page_token": ""}

    @app.post("/api/v1/memories/forget")
    async def forget(body: dict[str, Any]) -> Any:
        where = "/".join(body["namespace"])
        tagged = [
            key
            for key, item in store.memories.items()
            if f"{key[0]}/".startswith(f"{where}/")
            and set(body["tags"]) <= set(item["tags"])
            and body["metadata"].items() <= item["metadata"].items()
        ]
        for key in tagged:
            del store.memories[key]
        return {"forgotten": len(tagged)}


def _add_others(app: FastAPI, store: Store) -> None:
    @app.get("/api/v1/status")
    async def status() -> Any:
        names = ("gateway", "executor", "llm-proxy", "sandbox", "memory", "mlflow")
        services = [
            {
                "name": name,
                "address": f"{name}:1",
                "status": "unreachable" if name == "mlflow" or store.broken else "ready",
                "version": "0.1.0",
                "detail": None,
            }
            for name in names
        ]
        return {"services": services}

    @app.get("/api/v1/models")
    async def models() -> Any:
        usable = {
            "provider": "embedded",
            "name": "smollm2",
            "available": True,
            "default": True,
            "abilities": ["json_schema", "images"],
        }
        keyless = {
            "provider": "openai",
            "name": "gpt",
            "available": False,
            "unavailable_reason": "OPENAI_API_KEY is not set",
        }
        deployment = {
            "provider": "openai",
            "model": "gpt",
            "weight": 3,
            "concurrent": 8,
            "cooling_seconds": 12.4,
            "waiting": 2,
        }
        near = {"provider": "openai_compatible", "model": "qwen", "host": "10.0.0.5:8000"}
        fast = {
            "name": "fast",
            "deployments": [deployment, near],
            "fallbacks": ["embedded/smollm2"],
        }
        return {"models": [usable, keyless], "groups": [fast]}

    @app.get("/api/v1/usage")
    async def usage(request: Request) -> Any:
        store.usage_query = dict(request.query_params)
        dimensions = request.query_params["group_by"].split(",")
        unpriced = {**USAGE, "cost_usd": None, "unpriced_calls": 1}
        groups = [
            {
                "keys": {d: f"{d}-{n}" for d in dimensions},
                "usage": unpriced if n else USAGE,
                "failed_calls": n,
            }
            for n in store.usage_groups
        ]
        details = {
            "known_usd": "0.00045",
            "uncertain_calls": 1,
            "unbounded_calls": 3,
            "uncertain_usd": "0.25",
            "reused_replies": 2,
            "saved_usd": "0.5",
            "saved_tokens": 1234,
        }
        return {"groups": groups, "total": unpriced, "total_details": details}

    @app.get("/api/v1/calls")
    async def calls() -> Any:
        sent = {"provider": "openai", "model": "gpt", "reserved_usd": "0.25"}
        call = {"id": "c1", "time": TIME, "run_id": "r1", "node": "a", "status": "uncertain"}
        return {"calls": [{**call, **sent}], "next_page_token": ""}

    _add_budgets(app, store)


def _add_budgets(app: FastAPI, store: Store) -> None:
    def status(budget: dict[str, Any]) -> dict[str, Any]:
        use = {"period": "2026-11-24", "used_usd": "9", "left_usd": "1", "reset_time": TIME}
        return {"budget": budget, "uses": [{**use, "used_tokens": 5, "warned": True}]}

    @app.post("/api/v1/budgets")
    async def set_budget(request: Request) -> Any:
        budget = await request.json()
        store.budgets[budget["name"]] = budget
        return status(budget)

    @app.get("/api/v1/budgets")
    async def list_budgets() -> Any:
        return {"budgets": [status(budget) for budget in store.budgets.values()]}

    @app.delete("/api/v1/budgets/{name}", status_code=204)
    async def delete_budget(name: str) -> None:
        if store.budgets.pop(name, None) is None:
            raise Refusal(404, "BUDGET_NOT_FOUND", f"there is no budget {name!r}")
