"""Requests to the gateway and what may come back: an answer of the expected shape, a refusal, or nothing."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, TypeVar

import httpx
from pydantic import TypeAdapter, ValidationError

from cadre_client._errors import TLS_FILES, ApiError, GatewayUnreachable
from cadre_client._models import Problem
from cadre_client._tls import ClientTls

__all__ = ["Query", "Transport"]

Query = Mapping[str, str | int | list[str] | None]
T = TypeVar("T")

# Without a proxy's help: they cannot reach this machine's own addresses.
_OWN_HOSTS = ("127.0.0.1", "localhost", "::1")
_SECONDS_BETWEEN_HEARTBEATS = 45.0
_BEFORE_SENDING = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.UnsupportedProtocol,
)
_PROBLEMS = TypeAdapter(list[Problem])


class Transport:
    """A pool of connections to one gateway. Safe to share between threads."""

    def __init__(
        self, base_url: str, *, api_key: Callable[[], str], timeout_seconds: float, tls: ClientTls
    ) -> None:
        self._url = base_url.rstrip("/")
        # Whether the gateway ever answered: then it is known to be there, and to come back.
        self.reached = False
        try:
            parsed = httpx.URL(self._url)
        except httpx.InvalidURL as exc:
            raise GatewayUnreachable(self._url, str(exc)) from exc
        self._http = httpx.Client(
            auth=_KeyAuth(api_key),
            timeout=timeout_seconds,
            trust_env=parsed.host not in _OWN_HOSTS,
            # Reading all certificates takes longer than most requests, and serves https only.
            verify=self._verified(tls) if parsed.scheme == "https" else False,
        )

    def _verified(self, tls: ClientTls) -> ssl.SSLContext:
        try:
            return tls.context()
        except OSError as exc:
            files = ", ".join(str(f) for f in (tls.ca_file, tls.cert_file, tls.key_file) if f)
            raise GatewayUnreachable(self._url, f"{TLS_FILES} ({files}): {exc}") from exc

    def close(self) -> None:
        """Closes all connections."""
        self._http.close()

    def __enter__(self) -> Transport:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def ask(
        self,
        shape: TypeAdapter[T],
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float | None = None,
    ) -> T:
        """One answer of `shape`. Raises ApiError and GatewayUnreachable."""
        response = self.send(
            method, path, query=query, body=body, headers=headers, timeout_seconds=timeout_seconds
        )
        try:
            return shape.validate_json(response.content)
        except ValidationError as exc:
            raise _unexpected(response) from exc

    def send(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: Mapping[str, Any] | None = None,
        content: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float | None = None,
    ) -> httpx.Response:
        """One answer of any shape to a JSON `body`, or to `content` as it is. Raises ApiError, GatewayUnreachable."""
        with _unreachable(self._url, changes=method != "GET"):
            response = self._http.request(
                method,
                self._url + path,
                params=_given(query),
                json=body,
                content=content,
                headers=headers,
                timeout=timeout_seconds or httpx.USE_CLIENT_DEFAULT,
            )
        self.reached = True
        if not response.is_success:
            raise error_of(response)
        return response

    @contextmanager
    def streaming(self, path: str, *, headers: Mapping[str, str]) -> Iterator[Iterator[str]]:
        """The chunks of an event stream as they come. Raises ApiError and GatewayUnreachable, while reading too."""
        timeout = httpx.Timeout(self._http.timeout.connect, read=_SECONDS_BETWEEN_HEARTBEATS)
        headers = {"Accept": "text/event-stream", **headers}
        with (
            _unreachable(self._url),
            self._http.stream(
                "GET", self._url + path, headers=headers, timeout=timeout
            ) as response,
        ):
            if not response.is_success:
                response.read()
                raise error_of(response)
            yield response.iter_text()


class _KeyAuth(httpx.Auth):
    """Sends the key, and asks once more when it was refused and another one is there by now.

    The gateway makes the key at its first start, which may be later than ours.
    """

    def __init__(self, api_key: Callable[[], str]) -> None:
        self._api_key = api_key
        self._known = ""

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        tried = self._known = self._known or self._api_key()
        response = yield _with_key(request, tried)
        if response.status_code == httpx.codes.UNAUTHORIZED:
            self._known = self._api_key()
            if self._known not in ("", tried):
                yield _with_key(request, self._known)


def _with_key(request: httpx.Request, key: str) -> httpx.Request:
    if key:
        request.headers["Authorization"] = f"Bearer {key}"
    return request


def _given(query: Query | None) -> dict[str, str | int | list[str]]:
    return {name: value for name, value in (query or {}).items() if value not in (None, "")}


@contextmanager
def _unreachable(url: str, *, changes: bool = False) -> Iterator[None]:
    try:
        yield
    except (httpx.HTTPError, httpx.StreamError) as exc:
        was_sent = changes and not isinstance(exc, _BEFORE_SENDING)
        late = isinstance(exc, httpx.TimeoutException)
        reason = "no answer in time" if late else str(exc) or type(exc).__name__
        raise GatewayUnreachable(url, reason, was_sent=was_sent) from exc


def error_of(response: httpx.Response) -> ApiError:
    """The refusal that an answer says, in the gateway's own shape or in OpenAI's."""
    try:
        said = response.json()
        problem = said.get("error", said)
        return ApiError(
            status=response.status_code,
            code=str(problem["code"]),
            detail=str(problem.get("detail") or problem["message"]),
            resolution=str(problem.get("resolution") or ""),
            problems=_PROBLEMS.validate_python(problem.get("problems") or []),
            request_id=_request_id(response),
        )
    except (ValueError, KeyError, AttributeError, TypeError):
        return _unexpected(response)


def _unexpected(response: httpx.Response) -> ApiError:
    return ApiError(
        status=response.status_code,
        code="UNEXPECTED_ANSWER",
        detail=f"{response.url.copy_with(query=None)} answered {response.status_code} in an unknown form",
        resolution="Check that the address is that of a Cadre gateway of this release.",
        request_id=_request_id(response),
    )


def _request_id(response: httpx.Response) -> str:
    return str(response.headers.get("x-request-id", ""))
