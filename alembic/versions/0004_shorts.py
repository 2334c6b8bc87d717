"""The shorts table: what a run renders beside its compilation.

A run lists its Shorts and a clip the Shorts made of it, so both foreign keys have an index. The
uploader asks for the Shorts of one status, few among all there ever were: hence the index on it.

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

INTEGER = sa.Integer().with_variant(sa.BigInteger(), "postgresql")


def upgrade() -> None:
    """Create shorts."""
    op.create_table(
        "shorts",
        sa.Column("id", INTEGER, nullable=False),
        sa.Column("pipeline_run_id", INTEGER, nullable=False),
        sa.Column("clip_id", INTEGER, nullable=True),
        sa.Column("file_path", sa.String(), nullable=True),
        sa.Column("duration_seconds", sa.Float(), nullable=True),
        sa.Column("title", sa.String(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("youtube_video_id", sa.String(), nullable=True),
        sa.Column("youtube_url", sa.String(), nullable=True),
        sa.Column("status", sa.String(), server_default="pending", nullable=False),
        sa.Column("uploaded_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["pipeline_run_id"],
            ["pipeline_runs.id"],
            name=op.f("fk_shorts_pipeline_run_id_pipeline_runs"),
        ),
        sa.ForeignKeyConstraint(["clip_id"], ["clips.id"], name=op.f("fk_shorts_clip_id_clips")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_shorts")),
    )
    op.create_index(op.f("ix_shorts_pipeline_run_id"), "shorts", ["pipeline_run_id"])
    op.create_index(op.f("ix_shorts_clip_id"), "shorts", ["clip_id"])
    op.create_index(op.f("ix_shorts_status"), "shorts", ["status"])


def downgrade() -> None:
    """Drop shorts, with the rows in it."""
    op.drop_table("shorts")
