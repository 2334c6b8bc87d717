"""The config_overrides table: settings changed at run time.

Read by key alone, which is the primary key.

Revision ID: 0007
Revises: 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create config_overrides."""
    op.create_table(
        "config_overrides",
        sa.Column("key", sa.String(), autoincrement=False, nullable=False),
        sa.Column("value", sa.String(), nullable=False),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("CURRENT_TIMESTAMP"),
            nullable=False,
        ),
        sa.Column("updated_by", sa.String(), server_default="system", nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_config_overrides")),
    )


def downgrade() -> None:
    """Drop config_overrides, with the rows in it."""
    op.drop_table("config_overrides")
