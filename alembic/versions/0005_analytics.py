"""The analytics table: what YouTube said of a video at one moment.

The one table that grows without end. The latest snapshot of a video and its growth over a period
are both ranges of (youtube_video_id, measured_at), hence the index.

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

INTEGER = sa.Integer().with_variant(sa.BigInteger(), "postgresql")


def upgrade() -> None:
    """Create analytics."""
    op.create_table(
        "analytics",
        sa.Column("id", INTEGER, nullable=False),
        sa.Column("youtube_video_id", sa.String(), nullable=False),
        sa.Column(
            "measured_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("CURRENT_TIMESTAMP"),
            nullable=False,
        ),
        sa.Column("view_count", INTEGER, nullable=True),
        sa.Column("like_count", INTEGER, nullable=True),
        sa.Column("comment_count", INTEGER, nullable=True),
        sa.Column("average_view_duration_seconds", sa.Float(), nullable=True),
        sa.Column("click_through_rate", sa.Float(), nullable=True),
        sa.Column("subscriber_gain", INTEGER, nullable=True),
        sa.Column("estimated_revenue_usd", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_analytics")),
    )
    op.create_index("idx_analytics_video", "analytics", ["youtube_video_id", "measured_at"])


def downgrade() -> None:
    """Drop analytics, with the rows in it."""
    op.drop_table("analytics")
