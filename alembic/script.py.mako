"""${message}.

Say why, for which question of the application, and what could go wrong.

Revision ID: ${up_revision}
Revises: ${down_revision | comma,n}
"""

# Rules for a revision:
# - It is frozen history: it never imports shortsdb, and is never changed once released.
# - downgrade() undoes upgrade() exactly; what it cannot bring back, its docstring says.
# - Expand only: code of the previous release goes on working against the new schema.
# - Autogenerate never proposes to drop what the models do not know: a drop is written by hand.
# - SQLite rebuilds a table for most ALTERs (op.batch_alter_table). Prefer what it does in place:
#   a new table, a new index, a nullable column.
# - Take out these rules, then run `make golden` and `make test`.

import sqlalchemy as sa

from alembic import op
${imports if imports else ""}

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}


def upgrade() -> None:
    """Apply the change."""
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    """Undo the change."""
    ${downgrades if downgrades else "pass"}
