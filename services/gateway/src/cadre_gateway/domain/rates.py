"""How many requests each of many senders may make, counted in this process."""

from collections import OrderedDict

from cadre_gateway.domain.api_keys import Allowance, Rate

__all__ = ["Rates", "per_second"]

_REMEMBERED = 10_000


def per_second(number: float) -> Rate:
    """So many a second on the average, twice as many at once, but one at least."""
    requests = max(1, round(2 * number))
    return Rate(requests=requests, seconds=requests / number)


class Rates:
    """A token bucket for each name. Forgets who is not heard of."""

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._full: OrderedDict[str, float] = OrderedDict()

    def take(self, name: str, *, now: float) -> Allowance:
        """Counts one more, if it is within the rate."""
        allowance, self._full[name] = self._rate.take(self._full.pop(name, 0.0), now)
        if len(self._full) > _REMEMBERED:
            self._full.popitem(last=False)
        return allowance

    def allows(self, name: str, *, now: float) -> bool:
        """Whether one more is within the rate; then it is counted."""
        return self.take(name, now=now).retry_seconds == 0
