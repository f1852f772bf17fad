"""What is counted on the hot path, told to Prometheus's client when it is scraped.

The client's own histograms take a microsecond a value, since threads may share them. All of
the gateway's values come from its event loop, and are scraped there.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector


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


class Distribution(Collector):
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
        self._name = name
        self._meaning = meaning
        self._labels = labels
        self._bounds = tuple(bounds)
        self._series: dict[tuple[str, ...], Series] = {}
        registry.register(self)
        if not labels:
            self.labels()

    def labels(self, *values: str) -> Series:
        """Return the series of these values of the labels, in their order."""
        series = self._series.get(values)
        if series is None:
            series = self._series[values] = Series(self._bounds)
        return series

    def describe(self) -> Iterable[Metric]:
        """Return what it is, for the registry."""
        return [HistogramMetricFamily(self._name, self._meaning, labels=self._labels)]

    def collect(self) -> Iterable[Metric]:
        """Return all of its series."""
        family = HistogramMetricFamily(self._name, self._meaning, labels=self._labels)
        for values, series in self._series.items():
            family.add_metric(values, self._buckets(series), series.sum)
        return [family]

    def _buckets(self, series: Series) -> list[tuple[str, float]]:
        buckets, total = [], 0
        for bound, count in zip((*self._bounds, float("inf")), series.counts, strict=True):
            total += count
            buckets.append((_told(bound), float(total)))
        return buckets


def _told(bound: float) -> str:
    return "+Inf" if bound == float("inf") else repr(float(bound))
