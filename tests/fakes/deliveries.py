"""A provider of webhooks as they are: signs each delivery, sends it until it is taken, and sometimes once more."""

import base64
import hashlib
import hmac
import json
import random
import sqlite3
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial

import httpx
from tests.platform import Platform, eventually

_PAUSE_SECONDS = 0.1
_LOOK_SECONDS = 0.02
_GIVE_UP_SECONDS = 120.0


@dataclass
class Provider:
    """`taken` counts deliveries that were answered with 2xx, `runs` the runs that each was told of. No more than `most`
    deliveries are sent until that is raised."""

    url: str
    secret: str
    most: int = sys.maxsize
    taken: int = 0
    runs: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    _counting: threading.Lock = field(default_factory=threading.Lock)

    def send_all(self, bodies: Sequence[bytes], *, twice: float = 0.0, senders: int = 8) -> None:
        """Sends all bodies, a share of them a second time though they were taken."""
        chance = random.Random(1)
        again = [chance.random() < twice for _ in bodies]
        with (
            httpx.Client(timeout=5, verify=False, trust_env=False) as http,
            ThreadPoolExecutor(senders) as pool,
        ):
            given = [
                (number, body, more)
                for number, (body, more) in enumerate(zip(bodies, again, strict=True))
            ]
            list(pool.map(lambda each: self._deliver(http, *each), given))

    def has_taken(self, number: int) -> bool:
        """Whether more than so many were taken."""
        return self.taken > number

    def _deliver(self, http: httpx.Client, number: int, body: bytes, again: bool) -> None:
        while number >= self.most:
            time.sleep(_LOOK_SECONDS)
        give_up = time.monotonic() + _GIVE_UP_SECONDS
        for _ in range(1 + again):
            while not self._taken(http, f"msg_{number}", body):
                if time.monotonic() > give_up:
                    return
                time.sleep(_PAUSE_SECONDS)
        with self._counting:
            self.taken += 1

    def _taken(self, http: httpx.Client, key: str, body: bytes) -> bool:
        try:
            answer = http.post(self.url, content=body, headers=self.headers(key, body))
        except httpx.HTTPError:
            return False
        if answer.is_success:
            self.runs[key].add(json.loads(answer.content)["run_id"])
        return answer.is_success

    def headers(self, key: str, body: bytes) -> dict[str, str]:
        """The signature of a delivery, made now."""
        timestamp = str(int(time.time()))
        signed = f"{key}.{timestamp}.".encode() + body
        digest = hmac.digest(self.secret.encode(), signed, hashlib.sha256)
        return {
            "webhook-id": key,
            "webhook-timestamp": timestamp,
            "webhook-signature": "v1," + base64.b64encode(digest).decode(),
        }


def send_while_killing(
    running: Platform, provider: Provider, *, deliveries: int, kills: int, seed: int = 7
) -> None:
    """Has `{"number": n}` sent for each n, a fifth of them twice; gateway or executor is killed while deliveries of
    each share are under way. Returns when all were taken, or given up."""
    bodies = [json.dumps({"number": number}).encode() for number in range(deliveries)]
    chance, share = random.Random(seed), deliveries // kills
    provider.most = 0
    sending = threading.Thread(target=provider.send_all, args=(bodies,), kwargs={"twice": 0.2})
    sending.start()
    for begun in range(0, kills * share, share):
        provider.most = begun + share
        enough = begun + chance.randrange(share)
        eventually(partial(provider.has_taken, enough), seconds=120)
        victim = chance.choice(["gateway", "executor"])
        running.kill(victim)
        running.start(victim)
    provider.most = deliveries
    sending.join(2 * _GIVE_UP_SECONDS)


def numbers_of_runs(running: Platform) -> Counter[int]:
    """How many runs each number has."""
    with closing(sqlite3.connect(running.home / "executor.db")) as database:
        rows = database.execute("SELECT inputs FROM runs WHERE trigger = 'webhook'")
        return Counter(json.loads(inputs)["number"] for (inputs,) in rows)
