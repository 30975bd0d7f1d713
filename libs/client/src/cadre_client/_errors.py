"""What can go wrong between a program and the gateway, as two facts: it refused, or it is not there."""

from collections.abc import Sequence

from cadre_client._models import Problem

__all__ = ["ApiError", "ClientError", "GatewayUnreachable"]


class ClientError(Exception):
    """Anything that this client raises. `code` is UPPER_SNAKE; `resolution` says what to do, or is empty."""

    def __init__(self, message: str, *, code: str, resolution: str) -> None:
        super().__init__(message)
        self.code = code
        self.resolution = resolution


class ApiError(ClientError):
    """The gateway's answer to a request that it could not, or would not, fulfil."""

    def __init__(
        self,
        *,
        status: int,
        code: str,
        detail: str,
        resolution: str = "",
        problems: Sequence[Problem] = (),
        request_id: str = "",
    ) -> None:
        super().__init__(detail, code=code, resolution=resolution)
        self.status = status
        self.detail = detail
        self.problems = tuple(problems)
        self.request_id = request_id


class GatewayUnreachable(ClientError):
    """No answer came from the gateway's address, or not in time."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(
            f"the gateway at {url} cannot be reached: {reason}",
            code="GATEWAY_UNREACHABLE",
            resolution="Start the platform with `cadre up`, or set CADRE_GATEWAY_URL to where it runs.",
        )
        self.url = url
        self.reason = reason
