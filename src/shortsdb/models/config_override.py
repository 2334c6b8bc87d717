"""The config_overrides table."""

from sqlalchemy.orm import Mapped, mapped_column

from shortsdb.models.base import Base
from shortsdb.models.types import CreatedAt, utcnow


class ConfigOverride(Base):
    """A setting of the pipeline that was changed at run time.

    The Telegram bot or the pipeline writes one row per setting. It overrides the deployed
    configuration file until it is deleted. ORM updates set `updated_at`; raw SQL must set it
    explicitly.
    """

    __tablename__ = "config_overrides"

    key: Mapped[str] = mapped_column(primary_key=True)
    """The name of the setting."""
    value: Mapped[str]
    """The current value, as text."""
    updated_at: Mapped[CreatedAt] = mapped_column(onupdate=utcnow)
    """When the setting was last changed."""
    updated_by: Mapped[str] = mapped_column(default="system", server_default="system")
    """The user or program that changed it."""
