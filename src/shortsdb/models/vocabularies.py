"""The values that columns of states hold, as enums: for those who want to write names.

A column stays a plain string or integer. A member may be assigned and compared, and the database
gives back the plain value, which is equal to it. Nothing checks what is assigned: other values are
stored as they are.
"""

from enum import IntEnum, StrEnum


class Processed(IntEnum):
    """What became of a discovered video, in `DiscoveredVideo.processed`."""

    PENDING = 0
    """Nothing was decided yet."""
    USED = 1
    """A run used it."""
    SKIPPED = 2
    """It was passed over."""
    REJECTED = 3
    """It was refused."""


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
    """What the human answered, in `ReviewLog.action`."""

    APPROVE = "approve"
    REJECT = "reject"
    HOLD = "hold"
    SKIP = "skip"
    REDO_SCRIPT = "redo_script"
