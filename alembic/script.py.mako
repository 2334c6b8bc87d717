<%!
def without_comments(code):
    """Leave out the comments that Alembic puts around its operations."""
    lines = (line for line in code.splitlines() if not line.lstrip().startswith("# ###"))
    return "\n".join(lines).lstrip()
%>\
"""${message}.

Why: <the reason for the change>
Question: <what the application asks of it, how often, and which index answers>
Hazard: <what can go wrong, whom it stops, and for how long>

Revision ID: ${up_revision}
Revises: ${down_revision | comma,n}
"""

import sqlalchemy as sa

from alembic import op
${imports if imports else ""}

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}


def upgrade() -> None:
    """Apply the change."""
    ${without_comments(upgrades) if upgrades else "pass"}


def downgrade() -> None:
    """Undo the change."""
    ${without_comments(downgrades) if downgrades else "pass"}
