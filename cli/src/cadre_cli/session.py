"""How commands reach the gateway, and what its errors mean to them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cadre_cli.errors import CliError, ExitStatus
from cadre_cli.problems import documents

if TYPE_CHECKING:
    from cadre_client import ApiError, Client, Problem

__all__ = ["Refused", "gateway", "unreachable"]

_EXIT_BY_STATUS = {
    429: ExitStatus.LIMITED,
    499: ExitStatus.CANCELLED,
    500: ExitStatus.FAILED,
    502: ExitStatus.UNREACHABLE,
    503: ExitStatus.UNREACHABLE,
    504: ExitStatus.FAILED,
}


class Refused(CliError):
    """The gateway answered with an error. `problems` holds what is wrong with a workflow file."""

    def __init__(self, error: "ApiError") -> None:
        super().__init__(
            error.detail,
            code=error.code,
            resolution=error.resolution,
            exit_status=_EXIT_BY_STATUS.get(error.status, ExitStatus.REFUSED),
            details=[f"request id: {error.request_id}"] if error.status >= 500 else [],
        )
        self.problems: tuple[Problem, ...] = error.problems

    def document(self) -> dict[str, object]:
        """The error as JSON, with the problems of a refused workflow file."""
        if not self.problems:
            return super().document()
        return {**super().document(), "problems": documents(self.problems)}


@contextmanager
def gateway() -> Iterator["Client"]:
    """The local platform's gateway. Raises Refused for its errors, and CliError when it is not there."""
    from cadre_client import ApiError, Client, GatewayUnreachable

    try:
        with Client.local() as client:
            yield client
    except ApiError as error:
        raise Refused(error) from error
    except GatewayUnreachable as error:
        if error.by_tls or error.was_sent:
            raise CliError(
                str(error),
                code=error.code,
                resolution=error.resolution,
                exit_status=ExitStatus.UNREACHABLE,
            ) from error
        raise unreachable(error.url) from error


def unreachable(url: str) -> CliError:
    """The platform does not answer at a gateway's address."""
    return CliError(
        f"the platform is not running: nothing answers at {url}",
        code="GATEWAY_UNREACHABLE",
        resolution="Start it with `cadre up`, or set CADRE_GATEWAY_URL to where it runs.",
        exit_status=ExitStatus.UNREACHABLE,
    )
