"""The error_logs table: errors that the pipeline's modules met.

Read by module, newest first, hence (module, occurred_at); a run lists its errors, so the foreign
key has an index. What is unresolved is asked for by module and counted by module, hence (resolved,
module, occurred_at): the first index would read all that was ever resolved.

Revision ID: 0008
Revises: 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

INTEGER = sa.Integer().with_variant(sa.BigInteger(), "postgresql")


def upgrade() -> None:
    """Create error_logs."""
    op.create_table(
        "error_logs",
        sa.Column("id", INTEGER, nullable=False),
        sa.Column("pipeline_run_id", INTEGER, nullable=True),
        sa.Column("module", sa.String(), nullable=False),
        sa.Column("error_type", sa.String(), nullable=False),
        sa.Column("error_message", sa.Text(), nullable=False),
        sa.Column("stack_trace", sa.Text(), nullable=True),
        sa.Column(
            "occurred_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("CURRENT_TIMESTAMP"),
            nullable=False,
        ),
        sa.Column("resolved", INTEGER, server_default=sa.text("0"), nullable=False),
        sa.ForeignKeyConstraint(
            ["pipeline_run_id"],
            ["pipeline_runs.id"],
            name=op.f("fk_error_logs_pipeline_run_id_pipeline_runs"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_error_logs")),
    )
    op.create_index("idx_error_log_module", "error_logs", ["module", "occurred_at"])
    op.create_index(
        op.f("ix_error_logs_resolved_module_occurred_at"),
        "error_logs",
        ["resolved", "module", "occurred_at"],
    )
    op.create_index(op.f("ix_error_logs_pipeline_run_id"), "error_logs", ["pipeline_run_id"])


def downgrade() -> None:
    """Drop error_logs, with the rows in it."""
    op.drop_table("error_logs")
