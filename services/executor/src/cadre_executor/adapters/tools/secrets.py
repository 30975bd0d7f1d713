"""What workflows may see of the executor's environment: the names that they list under config.secrets, and no other."""

from collections.abc import Mapping, Sequence

from cadre_executor.adapters.tools.invocations import Invocation
from cadre_executor.domain.tools import ToolFailed, ToolResult
from cadre_executor.domain.workflows import Workflow

__all__ = ["Secrets"]

# The platform's own settings hold its databases' passwords.
_OWN = "CADRE_"


class Secrets:
    """The variables of the executor's environment, shown by name to the workflows that list them."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables

    def __repr__(self) -> str:
        return f"Secrets({len(self._variables)} variables)"

    def of(self, workflow: Workflow, name: str) -> str:
        """A variable's value. Raises ToolFailed when the workflow does not list it, or it is not set."""
        if name not in workflow.secrets:
            raise ToolFailed(
                f"the workflow does not list {name!r} under config.secrets",
                code="SECRET_NOT_LISTED",
                resolution=f"Add {name} to config.secrets.",
                metadata={"name": name},
            )
        self._check(name)
        return self._variables[name]

    def lacks(self, name: str) -> str:
        """Why a workflow that lists a variable could not see it, and what to do; empty when it could."""
        try:
            self._check(name)
        except ToolFailed as failed:
            return f"{failed.message}. {failed.resolution}".strip()
        return ""

    def _check(self, name: str) -> None:
        if name.upper().startswith(_OWN):
            raise ToolFailed(
                f"{name!r} is a setting of the platform, which no workflow may see",
                code="SECRET_REFUSED",
                metadata={"name": name},
            )
        if not self._variables.get(name, ""):
            raise ToolFailed(
                f"{name!r} is not set in the executor's environment",
                code="SECRET_MISSING",
                resolution=f"Set {name} in the environment or in .env, and start the executor again.",
                metadata={"name": name},
            )

    async def show(self, asked: Invocation) -> ToolResult:
        """env_vars: the values by name."""
        workflow = asked.context.workflow
        names: Sequence[str] = asked.arguments.get("names", workflow.secrets)
        return ToolResult(value={name: self.of(workflow, name) for name in names})
