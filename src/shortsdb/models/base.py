"""The declarative base that all models share: naming convention, types, to_dict and repr."""

import math
from collections.abc import Collection
from datetime import date
from typing import Any, ClassVar, Literal

from sqlalchemy import BigInteger, Float, Integer, MetaData
from sqlalchemy import inspect as sa_inspect
from sqlalchemy.orm import DeclarativeBase

from shortsdb.models.types import as_utc

# Every constraint and index has a name that can be computed, so that a revision can drop it again.
# Names that a model gives explicitly (idx_...) win. The unnamed constraints of deployed SQLite
# files stay unnamed: SQLite cannot name one without rebuilding the table.
NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """The base of all models, and through `metadata` the schema as the models see it."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)

    type_annotation_map: ClassVar[dict[Any, Any]] = {
        # An SQLite integer has 64 bits, PostgreSQL's INTEGER only 32: a viral video's views, a file
        # over 2 GiB or a large id that SQLite held would overflow it.
        int: Integer().with_variant(BigInteger(), "postgresql"),
        # SQLAlchemy 2.1 would make it Double, 2.0 Float: both render as one on SQLite only if said.
        float: Float(),
    }

    def to_dict(
        self,
        exclude: Collection[str] | None = None,
        *,
        mode: Literal["python", "json"] = "python",
    ) -> dict[str, Any]:
        """Return the row as a dictionary of column attribute to value.

        Relationships are left out. Expired columns are loaded.

        Args:
            exclude: Attributes to leave out. Where it is given, so is what an unsaved row has no
                value for: advanced-alchemy asks like this, and takes what it gets for changes.
            mode: "python" gives the values as they are. "json" gives values that `json.dumps`
                accepts, also with `allow_nan=False`: a moment as ISO 8601 in UTC that ends in Z; a
                float that JSON cannot hold (infinite or not a number) as None; bytes, which
                SQLite may hold in any column, as UTF-8 text, other bytes escaped.

        Raises:
            sqlalchemy.orm.exc.DetachedInstanceError: A column is expired and no session is there
                to load it.
        """
        state = sa_inspect(self)
        keys = [attr.key for attr in state.mapper.column_attrs]
        if exclude is not None:
            unset = state.unloaded if state.key is None else set()
            keys = [key for key in keys if key not in exclude and key not in unset]
        values = {key: getattr(self, key) for key in keys}
        return values if mode == "python" else {key: _json(values[key]) for key in keys}

    def __repr__(self) -> str:
        """Return the class and the primary key; never emits SQL, so it is safe when detached."""
        state = sa_inspect(self)
        keys = [state.mapper.get_property_by_column(c).key for c in state.mapper.primary_key]
        values = state.identity or [state.dict.get(key) for key in keys]
        shown = ", ".join(f"{key}={value!r}" for key, value in zip(keys, values, strict=True))
        return f"{type(self).__name__}({shown})"


def _json(value: object) -> object:
    """Return a column's value as JSON holds it, see `Base.to_dict`."""
    if isinstance(value, date):
        return f"{as_utc(value).isoformat()}Z"
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
