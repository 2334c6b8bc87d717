"""The scripts table: what the LLM wrote for a run.

A run asks for its latest script, so the foreign key has an index.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

INTEGER = sa.Integer().with_variant(sa.BigInteger(), "postgresql")


def upgrade() -> None:
    """Create scripts."""
    op.create_table(
        "scripts",
        sa.Column("id", INTEGER, nullable=False),
        sa.Column("pipeline_run_id", INTEGER, nullable=False),
        sa.Column("opening_text", sa.Text(), nullable=True),
        sa.Column("closing_text", sa.Text(), nullable=True),
        sa.Column("full_script_json", sa.Text(), nullable=False),
        sa.Column("total_char_count", INTEGER, nullable=False),
        sa.Column("estimated_duration_seconds", sa.Float(), nullable=False),
        sa.Column("llm_model_used", sa.Text(), nullable=False),
        sa.Column(
            "generated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("CURRENT_TIMESTAMP"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["pipeline_run_id"],
            ["pipeline_runs.id"],
            name=op.f("fk_scripts_pipeline_run_id_pipeline_runs"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scripts")),
    )
    op.create_index(op.f("ix_scripts_pipeline_run_id"), "scripts", ["pipeline_run_id"])


def downgrade() -> None:
    """Drop scripts, with the rows in it."""
    op.drop_table("scripts")
