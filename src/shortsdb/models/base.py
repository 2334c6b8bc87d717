"""The declarative base that all models share: naming convention, types, to_dict and repr."""

import math
from collections.abc import Collection
from datetime import date
from typing import Any, ClassVar, Literal

from sqlalchemy import BigInteger, Float, Integer, MetaData
from sqlalchemy import inspect as sa_inspect
from sqlalchemy.orm import DeclarativeBase

from shortsdb.models.types import as_utc

# Every constraint and index has a predictable name, so that a migration can drop it. Names that a
# model gives explicitly (idx_...) take precedence. The unnamed constraints of deployed SQLite files
# stay unnamed, because SQLite cannot name one without rebuilding the table.
NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """The base of all models; its `metadata` is the schema of the models."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)

    type_annotation_map: ClassVar[dict[Any, Any]] = {
        # A SQLite integer has 64 bits, PostgreSQL's INTEGER only 32: the views of a viral video, a
        # file size over 2 GiB or a large id from SQLite would overflow it.
        int: Integer().with_variant(BigInteger(), "postgresql"),
        # SQLAlchemy 2.1 would default to Double, and 2.0 to Float, so the type is explicit.
        float: Float(),
    }

    def to_dict(
        self,
        exclude: Collection[str] | None = None,
        *,
        mode: Literal["python", "json"] = "python",
    ) -> dict[str, Any]:
        """Return the values of the column attributes by name.

        Relationships are left out. Expired columns are loaded.

        Args:
            exclude: Attributes to leave out. If it is given, attributes of an unsaved row that have
                no value are left out too, because advanced-alchemy passes it and treats the result
                as changes.
            mode: "python" returns the values unchanged. "json" returns values that `json.dumps`
                accepts, even with `allow_nan=False`: times as ISO 8601 in UTC ending in Z; infinite
                floats and NaN as None; bytes, which SQLite may hold in any column, as UTF-8 text
                with invalid bytes escaped.

        Raises:
            sqlalchemy.orm.exc.DetachedInstanceError: A column is expired and there is no session to
                load it.
        """
        state = sa_inspect(self)
        keys = [attr.key for attr in state.mapper.column_attrs]
        if exclude is not None:
            unset = state.unloaded if state.key is None else set()
            keys = [key for key in keys if key not in exclude and key not in unset]
        values = {key: getattr(self, key) for key in keys}
        return values if mode == "python" else {key: json_value(values[key]) for key in keys}

    def __repr__(self) -> str:
        """Return the class and the primary key; never emits SQL, so it is safe when detached."""
        state = sa_inspect(self)
        keys = [state.mapper.get_property_by_column(c).key for c in state.mapper.primary_key]
        values = state.identity or [state.dict.get(key) for key in keys]
        shown = ", ".join(f"{key}={value!r}" for key, value in zip(keys, values, strict=True))
        return f"{type(self).__name__}({shown})"


def json_value(value: object) -> object:
    """Return the JSON form of a column's value, see `Base.to_dict`."""
    if isinstance(value, date):
        return f"{as_utc(value).isoformat()}Z"
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
