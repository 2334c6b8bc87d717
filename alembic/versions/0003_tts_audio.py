"""The tts_audio table: the narration of a run, spoken.

A run asks for its latest audio, so the foreign key has an index.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

INTEGER = sa.Integer().with_variant(sa.BigInteger(), "postgresql")


def upgrade() -> None:
    """Create tts_audio."""
    op.create_table(
        "tts_audio",
        sa.Column("id", INTEGER, nullable=False),
        sa.Column("pipeline_run_id", INTEGER, nullable=False),
        sa.Column("engine_used", sa.String(), nullable=False),
        sa.Column("voice_profile", sa.String(), nullable=True),
        sa.Column("audio_file_path", sa.String(), nullable=True),
        sa.Column("duration_seconds", sa.Float(), nullable=True),
        sa.Column(
            "generated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("CURRENT_TIMESTAMP"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["pipeline_run_id"],
            ["pipeline_runs.id"],
            name=op.f("fk_tts_audio_pipeline_run_id_pipeline_runs"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tts_audio")),
    )
    op.create_index(op.f("ix_tts_audio_pipeline_run_id"), "tts_audio", ["pipeline_run_id"])


def downgrade() -> None:
    """Drop tts_audio, with the rows in it."""
    op.drop_table("tts_audio")
