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
    value: Mapped[str]
    updated_at: Mapped[CreatedAt] = mapped_column(onupdate=utcnow)
    updated_by: Mapped[str] = mapped_column(default="system", server_default="system")
