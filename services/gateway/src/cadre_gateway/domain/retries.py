"""When what failed in passing is tried again."""

import random

__all__ = ["MOST_TRIES", "due_again", "start_again_seconds"]

# Standard Webhooks' schedule, in seconds.
_SCHEDULE = (5.0, 300.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0)
_LONGEST_SECONDS = 86_400.0
_LONGEST_START_PAUSE = 60.0

MOST_TRIES = 1 + len(_SCHEDULE)
"""How often something is sent before it is parked."""


def due_again(tries: int, *, after_seconds: float | None = None) -> float | None:
    """In how many seconds a reply is sent again after so many tries, up to a fifth later; None when it is not.

    What the receiver asked for goes before the schedule, a day at most.
    """
    if tries >= MOST_TRIES:
        return None
    pause = _SCHEDULE[max(tries, 1) - 1]
    if after_seconds is not None:
        pause = min(max(after_seconds, 1.0), _LONGEST_SECONDS)
    return pause * random.uniform(1.0, 1.2)


def start_again_seconds(age_seconds: float) -> float:
    """In how many seconds a run that could not be started is tried again: soon at first, then every minute or so."""
    return min(max(0.25, age_seconds * 0.3), _LONGEST_START_PAUSE) * random.uniform(0.8, 1.2)
