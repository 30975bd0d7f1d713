"""What Prometheus is told about the requests."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

__all__ = ["Metrics"]

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)


class Metrics:
    """Counts requests by route, method and status, and how long they took."""

    content_type = CONTENT_TYPE_PLAIN_0_0_4

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "cadre_http_requests_total",
            "Requests that were answered; status 0 stands for callers who left before.",
            ["route", "method", "status"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "cadre_http_request_seconds",
            "From a request to the end of its answer.",
            ["route", "method"],
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._streams = Gauge(
            "cadre_event_streams", "Event streams that are open.", registry=self._registry
        )

        self._deliveries = Counter(
            "cadre_deliveries_total",
            "Deliveries of triggers that were accepted, repeated, refused or parked.",
            ["kind", "outcome"],
            registry=self._registry,
        )
        self._posts = Counter(
            "cadre_posts_total",
            "Tries to send a reply, that were sent, failed or parked.",
            ["kind", "outcome"],
            registry=self._registry,
        )

    def count(self, *, route: str, method: str, status: int, seconds: float) -> None:
        """Counts one request. Methods that nobody defined are counted together."""
        known = method if method in _METHODS else "OTHER"
        self._requests.labels(route, known, str(status)).inc()
        self._seconds.labels(route, known).observe(seconds)

    def delivery(self, kind: str, outcome: str) -> None:
        """Counts a delivery."""
        self._deliveries.labels(kind, outcome).inc()

    def post(self, kind: str, outcome: str) -> None:
        """Counts a try to send something."""
        self._posts.labels(kind, outcome).inc()

    def stream_opened(self) -> None:
        """One more event stream is open."""
        self._streams.inc()

    def stream_closed(self) -> None:
        """One less event stream is open."""
        self._streams.dec()

    def text(self) -> bytes:
        """All of it in Prometheus's text format."""
        return generate_latest(self._registry)
