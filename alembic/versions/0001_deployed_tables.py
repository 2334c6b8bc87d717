"""The three deployed tables.

What create_all made in every deployment before there were revisions: a deployed file is recognised
and stamped with this revision, a new one is made by it. On SQLite no constraint has a name and no
column a server default, so that a new file and a deployed one are the same, byte for byte; on
PostgreSQL, where nothing is deployed, constraints are named by the convention.

Hazard: a downgrade below this revision would take the pipeline's whole state with it. It is refused
while one of the tables holds a row.

Revision ID: 0001
Revises:
"""

import sqlalchemy as sa
from alembic import context, op
from alembic.util import CommandError
from sqlalchemy.schema import CreateIndex, CreateTable

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# SQLite integers have 64 bits whatever they are called, PostgreSQL's INTEGER has 32.
INTEGER = sa.Integer().with_variant(sa.BigInteger(), "postgresql")
TIMESTAMP = sa.DateTime(timezone=True)
TABLES = ("clips", "pipeline_runs", "discovered_videos")
NAMES = {
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


def upgrade() -> None:
    """Create discovered_videos, pipeline_runs and clips with their indexes."""
    # op.create_table would name the constraints by the convention of today's models.
    on_sqlite = op.get_context().dialect.name == "sqlite"
    metadata = sa.MetaData(naming_convention={} if on_sqlite else NAMES)
    discovered_videos = sa.Table(
        "discovered_videos",
        metadata,
        sa.Column("id", INTEGER, primary_key=True),
        sa.Column("video_id", sa.String(), nullable=False),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("channel_name", sa.String(), nullable=False),
        sa.Column("channel_id", sa.String(), nullable=False),
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("category_id", INTEGER),
        sa.Column("duration_seconds", INTEGER),
        sa.Column("view_count", INTEGER),
        sa.Column("like_count", INTEGER),
        sa.Column("comment_count", INTEGER),
        sa.Column("view_velocity", sa.Float()),
        sa.Column("viral_score", sa.Float()),
        sa.Column("niche", sa.String(), nullable=False),
        sa.Column("discovery_source", sa.String()),
        sa.Column("discovered_at", TIMESTAMP, nullable=False),
        sa.Column("processed", INTEGER, nullable=False),
        sa.Column("content_id_risk", sa.String(), nullable=False),
        sa.UniqueConstraint("video_id"),
    )
    pipeline_runs = sa.Table(
        "pipeline_runs",
        metadata,
        sa.Column("id", INTEGER, primary_key=True),
        sa.Column("niche", sa.String(), nullable=False),
        sa.Column("cycle_start", TIMESTAMP, nullable=False),
        sa.Column("cycle_end", TIMESTAMP, nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("started_at", TIMESTAMP),
        sa.Column("completed_at", TIMESTAMP),
        sa.Column("video_file_path", sa.String()),
        sa.Column("video_duration_seconds", sa.Float()),
        sa.Column("video_file_size_bytes", INTEGER),
        sa.Column("youtube_video_id", sa.String()),
        sa.Column("youtube_url", sa.String()),
        sa.Column("error_message", sa.Text()),
        sa.Column("retry_count", INTEGER, nullable=False),
    )
    clips = sa.Table(
        "clips",
        metadata,
        sa.Column("id", INTEGER, primary_key=True),
        sa.Column("pipeline_run_id", INTEGER, sa.ForeignKey("pipeline_runs.id"), nullable=False),
        sa.Column(
            "discovered_video_id", INTEGER, sa.ForeignKey("discovered_videos.id"), nullable=False
        ),
        sa.Column("rank_position", INTEGER, nullable=False),
        sa.Column("start_time_seconds", sa.Float(), nullable=False),
        sa.Column("end_time_seconds", sa.Float(), nullable=False),
        sa.Column("clip_duration_seconds", sa.Float(), nullable=False),
        sa.Column("extraction_method", sa.String()),
        sa.Column("clip_file_path", sa.String()),
        sa.Column("content_id_risk", sa.String(), nullable=False),
    )
    for table, *indexes in (
        (
            discovered_videos,
            sa.Index("idx_discovered_videos_processed", discovered_videos.c.processed),
            sa.Index(
                "idx_discovered_videos_niche",
                discovered_videos.c.niche,
                discovered_videos.c.discovered_at,
            ),
        ),
        (
            pipeline_runs,
            sa.Index("idx_pipeline_runs_niche", pipeline_runs.c.niche, pipeline_runs.c.cycle_start),
            sa.Index("idx_pipeline_runs_status", pipeline_runs.c.status),
        ),
        (clips, sa.Index("idx_clips_pipeline", clips.c.pipeline_run_id)),
    ):
        op.execute(CreateTable(table))
        for index in indexes:
            op.execute(CreateIndex(index))


def downgrade() -> None:
    """Drop the three tables, if all of them are empty.

    Raises:
        CommandError: A table holds a row, or the rows cannot be seen (--sql).
    """
    if context.is_offline_mode():
        raise CommandError(
            "downgrade below 0001 drops the deployed tables, and only while they are empty: "
            "a printed script cannot look, so run it against the database"
        )
    connection = op.get_bind()
    tables = [sa.table(name) for name in TABLES]
    held = [
        table.name
        for table in tables
        if connection.scalar(sa.select(sa.exists(sa.select(sa.text("1")).select_from(table))))
    ]
    if held:
        raise CommandError(
            f"downgrade below 0001 would drop {', '.join(held)} with the rows in it; nothing was "
            "changed. To go back to the deployed schema, downgrade to 0001; to start over, delete "
            "the database yourself"
        )
    for name in TABLES:
        op.drop_table(name)
