"""How many requests one sender may make to one address."""

from collections import OrderedDict
from dataclasses import dataclass

__all__ = ["Rates"]

_REMEMBERED = 10_000


@dataclass(kw_only=True)
class _Bucket:
    tokens: float
    at: float


class Rates:
    """A token bucket for each name: `per_second` on the average, twice as many at once. Forgets who is not heard of."""

    def __init__(self, per_second: float) -> None:
        self._per_second = per_second
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def allows(self, name: str, *, now: float) -> bool:
        """Whether one more is within the rate; then it is counted."""
        most = 2 * self._per_second
        bucket = self._buckets.pop(name, None) or _Bucket(tokens=most, at=now)
        self._buckets[name] = bucket
        if len(self._buckets) > _REMEMBERED:
            self._buckets.popitem(last=False)
        bucket.tokens = min(most, bucket.tokens + max(0.0, now - bucket.at) * self._per_second)
        bucket.at = now
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True
