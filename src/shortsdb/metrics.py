"""The health of a database as metrics in Prometheus' text format (extra: metrics)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shortsdb.extras import extra

with extra("metrics", "prometheus_client"):
    from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest

if TYPE_CHECKING:
    from shortsdb.health import Health

CONTENT_TYPE = CONTENT_TYPE_LATEST
"""What a page of metrics is."""


def prometheus(health: Health) -> bytes:
    """Return a report as metrics; what is not known is left out."""
    registry = CollectorRegistry()
    info = {"revision": health.revision or "", "head": health.head}
    Gauge("shortsdb_revision_info", "The revision.", info, registry=registry).labels(**info).set(1)
    for name, what, value in (
        ("reachable", "Whether it could be read.", health.reachable),
        ("problems", "How many things are wrong.", len(health.problems)),
        ("pending_revisions", "How many revisions are pending.", len(health.pending)),
        ("writable", "Whether it could be written.", health.writable),
        ("size_bytes", "The size of the database.", health.size_bytes),
        ("free_bytes", "What is free on the file system of the file.", health.free_bytes),
        (
            "last_backup_age_seconds",
            "How long ago the last backup was made.",
            health.last_backup_age_seconds,
        ),
        ("latency_seconds", "What connecting and reading took.", health.latency_seconds),
    ):
        if value is not None:
            Gauge(f"shortsdb_{name}", what, registry=registry).set(value)
    return generate_latest(registry)
