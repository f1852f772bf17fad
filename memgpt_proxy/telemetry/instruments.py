"""What is counted on the hot path, told to Prometheus's client when it is scraped.

The client's own take up to a microsecond a value, since threads may share them. All of the
gateway's values come from its event loop, and are scraped there.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector


class Tally:
    """The count of one combination of labels."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0

    def add(self, more: int = 1) -> None:
        """Count so many more."""
        self.count += more


class Series:
    """The values of one combination of labels."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Take one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


Kept = TypeVar("Kept")


class _Labelled(Collector, Generic[Kept]):
    """A metric that keeps something for each combination of its labels.

    Args:
        name: As Prometheus has it; of a counter without ``_total``.
        labels: Their names; without any it is told from the beginning.
    """

    def __init__(
        self, name: str, meaning: str, labels: Sequence[str], registry: CollectorRegistry
    ) -> None:
        self._name = name
        self._meaning = meaning
        self._labels = labels
        self._kept: dict[tuple[str, ...], Kept] = {}
        registry.register(self)
        if not labels:
            self.labels()

    def labels(self, *values: str) -> Kept:
        """Return what is kept for these values of the labels, in their order."""
        kept = self._kept.get(values)
        if kept is None:
            kept = self._kept[values] = self._new()
        return kept

    def describe(self) -> Iterable[Metric]:
        """Return what it is, for the registry."""
        return [self._family()]

    def _new(self) -> Kept:
        raise NotImplementedError

    def _family(self) -> Metric:
        raise NotImplementedError


class Count(_Labelled[Tally]):
    """A counter in Prometheus's sense."""

    def collect(self) -> Iterable[Metric]:
        """Return all of its tallies."""
        family = self._family()
        for values, tally in self._kept.items():
            family.add_metric(values, tally.count)
        return [family]

    def _new(self) -> Tally:
        return Tally()

    def _family(self) -> CounterMetricFamily:
        return CounterMetricFamily(self._name, self._meaning, labels=self._labels)


class Distribution(_Labelled[Series]):
    """A histogram in Prometheus's sense.

    Args:
        bounds: Upper bounds of its buckets, in order, without infinity.
    """

    def __init__(
        self,
        name: str,
        meaning: str,
        labels: Sequence[str],
        bounds: Sequence[float],
        registry: CollectorRegistry,
    ) -> None:
        self._bounds = tuple(bounds)
        super().__init__(name, meaning, labels, registry)

    def collect(self) -> Iterable[Metric]:
        """Return all of its series."""
        family = self._family()
        for values, series in self._kept.items():
            family.add_metric(values, self._buckets(series), series.sum)
        return [family]

    def _new(self) -> Series:
        return Series(self._bounds)

    def _family(self) -> HistogramMetricFamily:
        return HistogramMetricFamily(self._name, self._meaning, labels=self._labels)

    def _buckets(self, series: Series) -> list[tuple[str, float]]:
        buckets, total = [], 0
        for bound, count in zip((*self._bounds, float("inf")), series.counts, strict=True):
            total += count
            buckets.append((_told(bound), float(total)))
        return buckets


def _told(bound: float) -> str:
    return "+Inf" if bound == float("inf") else repr(float(bound))
