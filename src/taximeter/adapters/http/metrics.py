"""
The node's measurements as Prometheus text.

They are kept as plain integers (`services.telemetry`) and become metric families only when scraped.
"""

from __future__ import annotations

import resource
from collections import Counter
from collections.abc import Iterator
from itertools import accumulate
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import generate_latest

from taximeter.reconciliation.gap import Cause
from taximeter.services.telemetry import LATENCY_BOUNDS, Histogram

if TYPE_CHECKING:
    from taximeter.adapters.http.routes.surroundings import Surroundings


def exposition(around: Surroundings) -> bytes:
    """Everything, in the text format 0.0.4."""
    registry = CollectorRegistry()
    registry.register(_NodeCollector(around))
    return generate_latest(registry)


class _NodeCollector:
    def __init__(self, around: Surroundings) -> None:
        self._around = around

    def collect(self) -> Iterator[Metric]:
        yield from self._events()
        yield from self._stages()
        yield from self._latencies()
        yield from self._notices()
        yield from self._rules()
        yield from self._reconciliation()
        yield from self._canary()
        yield from self._process()

    def _events(self) -> Iterator[Metric]:
        events = CounterMetricFamily(
            "taximeter_events", "Items received, by verdict.", labels=["namespace", "verdict"]
        )
        received = CounterMetricFamily(
            "taximeter_events_received", "Items received.", labels=["namespace"]
        )
        unmatched = GaugeMetricFamily(
            "taximeter_unmatched_events",
            "Accepted events of subjects no customer claims.",
            labels=["namespace"],
        )
        balanced = GaugeMetricFamily(
            "taximeter_events_balanced",
            "1 while received = accepted + duplicates + conflicts + rejected.",
            labels=["namespace"],
        )
        for name, tenant in sorted(self._around.core.tenants.items()):
            counts = tenant.counts
            for verdict in ("accepted", "duplicates", "conflicts", "rejected"):
                events.add_metric([name, verdict], getattr(counts, verdict))
            received.add_metric([name], counts.received)
            unmatched.add_metric([name], sum(tenant.live.unmatched.values()))
            balanced.add_metric([name], int(counts.balanced))
        breaches = CounterMetricFamily(
            "taximeter_identity_breaches",
            "Seconds in which some items were unaccounted for.",
            value=self._around.core.telemetry.identity_breaches,
        )
        yield from (events, received, unmatched, balanced, breaches)

    def _stages(self) -> Iterator[Metric]:
        core = self._around.core
        position = GaugeMetricFamily(
            "taximeter_position", "Log position each stage has reached.", labels=["stage"]
        )
        lag = GaugeMetricFamily(
            "taximeter_lag_events", "Events between a stage and the log's end.", labels=["stage"]
        )
        sequenced, progress = core.sequencer.position, core.store.progress
        stages = {
            "sequenced": sequenced,
            "durable": core.committer.position,
            "store": progress.position,
            "sealed": progress.sealed_position,
        }
        for stage, reached in stages.items():
            position.add_metric([stage], reached)
            lag.add_metric([stage], max(0, sequenced - reached))
        yield position
        yield lag
        failed = core.committer.failure is not None or core.committer.full is not None
        yield GaugeMetricFamily(
            "taximeter_ready", "1 while events can be acknowledged.", value=int(not failed)
        )
        yield GaugeMetricFamily(
            "taximeter_rebuilds", "Folds of history under way.", value=len(core.rebuilds)
        )
        index = self._around.keeper.index
        yield GaugeMetricFamily("taximeter_identities", "Identities known.", value=len(index))
        yield GaugeMetricFamily(
            "taximeter_identity_bytes", "Memory of the identity index.", value=index.memory_bytes
        )
        yield GaugeMetricFamily(
            "taximeter_log_bytes",
            "Size of the log.",
            value=sum(segment.bytes for segment in self._around.log.segments()),
        )
        yield GaugeMetricFamily(
            "taximeter_watchers", "Live streams being read.", value=core.feed.watchers
        )

    def _latencies(self) -> Iterator[Metric]:
        telemetry = self._around.core.telemetry
        yield _histogram(
            "taximeter_ingest_seconds", "Event requests, until acknowledged.", telemetry.ingest
        )
        yield _histogram(
            "taximeter_commit_seconds", "Writing and syncing one frame.", telemetry.commit
        )
        yield _histogram("taximeter_check_seconds", "Checks.", telemetry.check)
        yield _histogram("taximeter_consume_seconds", "Consumes.", telemetry.consume)
        yield CounterMetricFamily(
            "taximeter_commit_entries",
            "Requests made durable; divide by commits for the group size.",
            value=telemetry.commit_entries,
        )
        checks = CounterMetricFamily(
            "taximeter_checks", "Answers of check and consume.", labels=["allowed"]
        )
        checks.add_metric(["true"], telemetry.checks_allowed)
        checks.add_metric(["false"], telemetry.checks_refused)
        yield checks

    def _notices(self) -> Iterator[Metric]:
        service = self._around.core.notices
        if service is None:
            return
        stored = CounterMetricFamily(
            "taximeter_notices", "Notices stored, by type.", labels=["type"]
        )
        for type, count in sorted(service.published.items()):
            stored.add_metric([type], count)
        attempts = CounterMetricFamily(
            "taximeter_attempts",
            "Attempts to deliver a notice, by channel and outcome.",
            labels=["channel", "outcome"],
        )
        for (channel, outcome), count in sorted(service.delivery.attempts.items()):
            attempts.add_metric([channel, outcome], count)
        due = GaugeMetricFamily(
            "taximeter_deliveries_due",
            "Deliveries that are due and not made.",
            value=service.delivery.queued,
        )
        seconds = _histogram(
            "taximeter_notice_seconds",
            "From noticing something to the first attempt at telling.",
            service.delivery.first_seconds,
        )
        yield from (stored, attempts, due, seconds)

    def _rules(self) -> Iterator[Metric]:
        service = self._around.core.rules
        if service is None:
            return
        fires = CounterMetricFamily(
            "taximeter_rule_fires",
            "Rules that fired, by mode.",
            labels=["namespace", "rule", "mode"],
        )
        for labels, count in sorted(service.fires.items()):
            fires.add_metric(labels, count)
        reviews = GaugeMetricFamily(
            "taximeter_reviews_open",
            "Fires of rules that wait for a review.",
            labels=["namespace"],
        )
        for name, count in sorted(service.open_reviews.items()):
            reviews.add_metric([name], count)
        yield from (fires, reviews)

    def _reconciliation(self) -> Iterator[Metric]:
        service = self._around.core.reconciliation
        if service is None:
            return
        gaps = GaugeMetricFamily(
            "taximeter_reconciliation_gaps",
            "Open gaps between two stages, by cause.",
            labels=["namespace", "cause"],
        )
        position = GaugeMetricFamily(
            "taximeter_reconciliation_position",
            "Log position that what was compared last reflects.",
            labels=["namespace"],
        )
        passes = CounterMetricFamily(
            "taximeter_reconciliation_passes",
            "How often everything has been compared.",
            labels=["namespace"],
        )
        for name in sorted(self._around.core.tenants):
            by_cause = Counter(gap.cause for gap in service.gaps(name))
            for cause in Cause:
                gaps.add_metric([name, cause.value], by_cause[cause])
            mark = service.watermark(name)
            position.add_metric([name], mark.position)
            passes.add_metric([name], mark.passes)
        yield from (gaps, position, passes)

    def _canary(self) -> Iterator[Metric]:
        canary = self._around.core.canary
        if canary is None:
            return
        yield GaugeMetricFamily(
            "taximeter_canary_ok",
            "1 while known usage comes out of the whole chain to the cent.",
            value=int(canary.last is None or canary.last.ok),
        )
        yield CounterMetricFamily(
            "taximeter_canary_runs", "Times the canary went through the chain.", value=canary.runs
        )
        yield CounterMetricFamily(
            "taximeter_canary_failures", "Those it did not come out of.", value=canary.failures
        )

    def _process(self) -> Iterator[Metric]:
        used = resource.getrusage(resource.RUSAGE_SELF)
        yield CounterMetricFamily(
            "process_cpu_seconds", "CPU time of this process.", value=used.ru_utime + used.ru_stime
        )
        yield GaugeMetricFamily(
            "process_peak_resident_memory_bytes", "Largest so far.", value=used.ru_maxrss * 1024
        )


def _histogram(name: str, text: str, histogram: Histogram) -> Metric:
    bounds = [*(format(bound, "g") for bound in LATENCY_BOUNDS), "+Inf"]
    counts = list(accumulate(histogram.counts))
    return HistogramMetricFamily(
        name,
        text,
        buckets=list(zip(bounds, counts, strict=True)),
        sum_value=histogram.total_s,
    )
