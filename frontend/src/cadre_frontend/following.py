"""Follows a run in the background, so that a page can draw what has happened so far at any moment."""

import threading
from collections.abc import Sequence

from cadre_client import Client, ClientError, Event

__all__ = ["RunFollower"]


class RunFollower:
    """Collects a run's events as they come. Ends by itself with the run."""

    def __init__(self, client: Client, run_id: str) -> None:
        self.run_id = run_id
        self.error: ClientError | None = None
        self._client = client
        self._events: list[Event] = []
        self._thread = threading.Thread(target=self._follow, name=f"follow-{run_id}", daemon=True)
        self._thread.start()

    @property
    def events(self) -> Sequence[Event]:
        """What has happened so far, in order."""
        return tuple(self._events)

    @property
    def ended(self) -> bool:
        """Whether nothing more will come: the run ended, or it can no longer be followed (`error` says why)."""
        return not self._thread.is_alive()

    def join(self, seconds: float) -> None:
        """Waits until nothing more comes, at most so long."""
        self._thread.join(seconds)

    def _follow(self) -> None:
        try:
            for event in self._client.watch(self.run_id):
                self._events.append(event)
        except ClientError as error:
            self.error = error
