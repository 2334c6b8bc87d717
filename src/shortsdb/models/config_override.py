"""The config_overrides table."""

from sqlalchemy.orm import Mapped, mapped_column

from shortsdb.models.base import Base
from shortsdb.models.types import CreatedAt, utcnow


class ConfigOverride(Base):
    """A setting of the pipeline that was changed at run time.

    Written by the Telegram bot or by the pipeline itself; one row per setting, which wins over the
    deployed configuration file until it is deleted. `updated_at` follows every ORM update; raw SQL
    sets it by itself.
    """

    __tablename__ = "config_overrides"

    key: Mapped[str] = mapped_column(primary_key=True, autoincrement=False)
    """The name of the setting."""
    value: Mapped[str]
    """What it is now, as text."""
    updated_at: Mapped[CreatedAt] = mapped_column(onupdate=utcnow)
    """When it was last changed."""
    updated_by: Mapped[str] = mapped_column(default="system", server_default="system")
    """Who changed it."""
