"""The files of runs, in their workspaces."""

import asyncio
from collections.abc import Mapping, Sequence

from cadre_executor.adapters.workspaces import Workspaces
from cadre_executor.domain.run_files import RunFile

__all__ = ["WorkspaceFiles"]

_MOST = 1000
_MAX_BYTES = 12 * 1024 * 1024


class WorkspaceFiles:
    """Keeps files where the file tools find them."""

    def __init__(self, workspaces: Workspaces) -> None:
        self._workspaces = workspaces

    async def keep(self, run_id: str, files: Mapping[str, bytes]) -> None:
        """Writes files by path. Raises ToolFailed."""
        await asyncio.to_thread(self._keep, run_id, files)

    def _keep(self, run_id: str, files: Mapping[str, bytes]) -> None:
        with self._workspaces.open(run_id) as workspace:
            for path, content in files.items():
                workspace.write(path, content)

    async def files_of(self, run_id: str) -> Sequence[RunFile]:
        """The first 1000, by path."""
        return await asyncio.to_thread(self._files_of, run_id)

    def _files_of(self, run_id: str) -> Sequence[RunFile]:
        if run_id not in self._workspaces.run_ids():
            # Opening would make a folder.
            return ()
        with self._workspaces.open(run_id) as workspace:
            found, _ = workspace.glob("**/*", most=_MOST)
        return [RunFile(path=entry.path, size=entry.size) for entry in found]

    async def read(self, run_id: str, path: str) -> bytes:
        """What is in a file. Raises ToolFailed."""
        return await asyncio.to_thread(self._read, run_id, path)

    def _read(self, run_id: str, path: str) -> bytes:
        with self._workspaces.open(run_id) as workspace:
            return workspace.read(path, max_bytes=_MAX_BYTES)
