"""Builds a workflow in the background, so that a page that is left or loaded again meanwhile loses nothing."""

import threading
import time

import streamlit as st

from cadre_client import Client, ClientError
from cadre_client.builder import build_workflow
from cadre_frontend import conversations
from cadre_frontend.conversations import Conversation, Kept, Turn

__all__ = ["Building", "Buildings", "buildings"]

_MOST_BUILDINGS = 64


class Building:
    """One wish of a conversation, being built. Ends by itself; what came of it is stored before it ends."""

    def __init__(self, client: Client, conversation: Conversation, wish: str) -> None:
        self.wish = wish
        self.began = time.monotonic()
        self.error: ClientError | None = None
        self._kept = Kept(conversation=conversation)
        self._client = client
        self._progress: list[str] = []
        self._cancelled = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name=f"build-{conversation.id}", daemon=True
        )
        self._thread.start()

    @property
    def kept(self) -> Kept:
        """The conversation: with the new turn once it was built, as it was before that."""
        return self._kept

    @property
    def progress(self) -> tuple[str, ...]:
        """What was done so far, in order."""
        return tuple(self._progress)

    @property
    def ended(self) -> bool:
        """Whether nothing more will come: it was built, or `error` says why not."""
        return not self._thread.is_alive()

    def cancel(self) -> None:
        """Gives the wish up: no further model call is made, and nothing is stored. The call under way is not cut."""
        self._cancelled.set()

    def join(self, seconds: float) -> None:
        """Waits for the end, at most so long."""
        self._thread.join(seconds)

    def _run(self) -> None:
        conversation = self._kept.conversation
        last = conversation.turns[-1] if conversation.turns else None
        try:
            built = build_workflow(
                self._client,
                [*(turn.wish for turn in conversation.turns), self.wish],
                current=last.plan if last else None,
                edited=last.source if last and last.edited else "",
                on_progress=self._progressed,
            )
        except ClientError as error:
            self.error = error
        except _Cancelled:
            return
        else:
            if not self._cancelled.is_set():
                turn = Turn.of(self.wish, built)
                self._kept = conversations.kept(self._client, conversation.followed_by(turn))

    def _progressed(self, text: str) -> None:
        if self._cancelled.is_set():
            raise _Cancelled
        self._progress.append(text)


class _Cancelled(Exception):
    """Leaves the building."""


class Buildings:
    """What is being built, by conversation, for all sessions of this process."""

    def __init__(self) -> None:
        self._by_conversation: dict[str, Building] = {}

    def start(self, client: Client, conversation: Conversation, wish: str) -> Building:
        """Begins a building in place of the conversation's last one."""
        ended = [key for key, each in self._by_conversation.items() if each.ended]
        for key in ended[: max(len(self._by_conversation) - _MOST_BUILDINGS, 0)]:
            self._by_conversation.pop(key, None)
        building = Building(client, conversation, wish)
        self._by_conversation[conversation.id] = building
        return building

    def of(self, conversation_id: str) -> Building | None:
        """The conversation's building, under way or just ended."""
        return self._by_conversation.get(conversation_id)

    def forget(self, conversation_id: str) -> None:
        """Lets go of a building that was taken over or given up."""
        self._by_conversation.pop(conversation_id, None)


@st.cache_resource(show_spinner=False)
def buildings() -> Buildings:
    """The one list that all sessions share."""
    return Buildings()
