"""The review_logs table: what the human was asked over Telegram, and answered.

A run lists its reviews, so the foreign key has an index. The bot asks every minute for the open
reviews (auto_held 0, responded_at NULL), oldest first, and for those of them that ran out of time:
both are one range of the second index, whatever number of answered and held reviews there is.

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

INTEGER = sa.Integer().with_variant(sa.BigInteger(), "postgresql")


def upgrade() -> None:
    """Create review_logs."""
    op.create_table(
        "review_logs",
        sa.Column("id", INTEGER, nullable=False),
        sa.Column("pipeline_run_id", INTEGER, nullable=False),
        sa.Column(
            "sent_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("CURRENT_TIMESTAMP"),
            nullable=False,
        ),
        sa.Column("responded_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("action", sa.String(), nullable=True),
        sa.Column("response_detail", sa.String(), nullable=True),
        sa.Column("auto_held", INTEGER, server_default=sa.text("0"), nullable=False),
        sa.ForeignKeyConstraint(
            ["pipeline_run_id"],
            ["pipeline_runs.id"],
            name=op.f("fk_review_logs_pipeline_run_id_pipeline_runs"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_review_logs")),
    )
    op.create_index(op.f("ix_review_logs_pipeline_run_id"), "review_logs", ["pipeline_run_id"])
    op.create_index(
        op.f("ix_review_logs_auto_held_responded_at_sent_at"),
        "review_logs",
        ["auto_held", "responded_at", "sent_at"],
    )


def downgrade() -> None:
    """Drop review_logs, with the rows in it."""
    op.drop_table("review_logs")
