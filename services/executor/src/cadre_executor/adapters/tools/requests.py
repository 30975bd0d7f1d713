"""Requests to the outside, their failures told as a tool's.

The engine waits for a service of ours that cannot be reached, and asks again. A host outside is none of ours, and a
request that may have reached it is not made twice.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx2

from cadre_executor.domain.tools import ToolFailed
from cadre_kit.errors import CadreError
from cadre_kit.outgoing import Ask, Fetched, fetch

__all__ = ["as_tool_failure", "requested"]


async def requested(client: httpx2.AsyncClient, ask: Ask) -> Fetched:
    """The answer, of any status. Raises ToolFailed with the code of what went wrong."""
    with as_tool_failure():
        return await fetch(client, ask)


@contextmanager
def as_tool_failure() -> Iterator[None]:
    """Turns what is wrong with a host outside into ToolFailed, with the same code and words."""
    try:
        yield
    except CadreError as error:
        raise ToolFailed(
            error.message,
            code=error.code,
            resolution=error.resolution,
            metadata=error.metadata,
        ) from error
