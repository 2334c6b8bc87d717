"""The values of state columns as enums, which applications may use instead of literals.

The columns are plain strings or integers. A member can be assigned and compared; the database
returns the plain value, which is equal to it. Assigned values are not validated.
"""

from enum import IntEnum, StrEnum


class Processed(IntEnum):
    """The processing status of a discovered video, in `DiscoveredVideo.processed`."""

    PENDING = 0
    """Not decided yet."""
    USED = 1
    """Used in a run."""
    SKIPPED = 2
    """Skipped."""
    REJECTED = 3
    """Rejected."""


class ContentIdRisk(StrEnum):
    """How likely a copyright claim is, in `content_id_risk` of videos and clips."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    UNKNOWN = "unknown"


class RunStatus(StrEnum):
    """The stage that a run has reached, in `PipelineRun.status`."""

    PENDING = "pending"
    RUNNING = "running"
    REVIEW = "review"
    APPROVED = "approved"
    UPLOADED = "uploaded"
    FAILED = "failed"


class ShortStatus(StrEnum):
    """The stage that a Short has reached, in `Short.status`."""

    PENDING = "pending"
    REVIEW = "review"
    UPLOADED = "uploaded"
    FAILED = "failed"


class ReviewAction(StrEnum):
    """The answer of the reviewer, in `ReviewLog.action`."""

    APPROVE = "approve"
    REJECT = "reject"
    HOLD = "hold"
    SKIP = "skip"
    REDO_SCRIPT = "redo_script"
