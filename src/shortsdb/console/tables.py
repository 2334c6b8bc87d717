"""What the console shows of each table, from the models: labels, help, filters, order and links."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import DateTime, Float, Integer, String, Text, cast, type_coerce
from sqlalchemy import inspect as sa_inspect
from sqlalchemy.types import TypeDecorator

from shortsdb.model_docs import column_meanings
from shortsdb.models import (
    OWN_TABLES,
    Base,
    Clip,
    ContentIdRisk,
    DiscoveredVideo,
    ErrorLog,
    PipelineRun,
    Processed,
    ReviewAction,
    ReviewLog,
    RunStatus,
    Short,
    ShortStatus,
)
from shortsdb.models.types import as_utc

if TYPE_CHECKING:
    from collections.abc import Mapping
    from enum import Enum

    from sqlalchemy import Column, ColumnElement, Dialect, Table

# The vocabulary or flag of a column: what its filter offers, by the text in the address.
_VOCABULARIES: dict[Any, type[Enum]] = {
    PipelineRun.status: RunStatus,
    Short.status: ShortStatus,
    DiscoveredVideo.processed: Processed,
    DiscoveredVideo.content_id_risk: ContentIdRisk,
    Clip.content_id_risk: ContentIdRisk,
    ReviewLog.action: ReviewAction,
}
_FLAGS = {ErrorLog.resolved, ReviewLog.auto_held}
_YES_NO = {"0": "no", "1": "yes"}
_SET_OR_NOT = {"set": "set", "null": "not set"}

_SPELLING = {"Id": "ID", "Tts": "TTS", "Llm": "LLM", "Url": "URL", "Youtube": "YouTube"}
_SPELLED_INSIDE = {
    "id": "ID",
    "llm": "LLM",
    "url": "URL",
    "json": "JSON",
    "usd": "USD",
    "youtube": "YouTube",
}


class _StoredTime(TypeDecorator[object]):
    """The text of a time, as `UTCDateTime` returns it, or the text itself if that is not possible.

    SQLite holds any value in a column of times, and PostgreSQL also years that Python does not
    have, and infinity.
    """

    impl = String
    cache_ok = True

    def process_result_value(self, value: str | None, dialect: Dialect) -> object:  # noqa: ARG002 - TypeDecorator's signature
        # A number of SQLite, such as milliseconds since 1970, is not a date without hyphens.
        if value is not None and "-" in value:
            with suppress(ValueError, OverflowError):
                return as_utc(datetime.fromisoformat(value))
        return value


@dataclass(frozen=True)
class Field:
    """A column as the console shows it.

    Attributes:
        key: Its name in the database, in addresses and exports.
        label: Its name for people.
        meaning: Its docstring, in one line.
        column: The column.
        kind: "number", "time" or "text".
        is_long: Whether a list shows only the beginning of the text.
        choices: What its filter offers, by the text in the address; None if any text may be given.
        is_filter: Whether a list can be limited to one value of it.
        table: The table that its values link to, None for none.
        link: The column of that table.
    """

    key: str
    label: str
    meaning: str
    column: Column[Any]
    kind: str
    is_long: bool
    choices: Mapping[str, str] | None
    is_filter: bool
    table: str | None
    link: str | None

    @property
    def stored(self) -> ColumnElement[Any]:
        """The column, for reading whatever is in it."""
        if self.kind != "time":
            return self.column
        return type_coerce(cast(self.column, String), _StoredTime()).label(self.key)


@dataclass(frozen=True)
class View:
    """A table as the console shows it.

    Attributes:
        name: Its name in the database and in addresses.
        singular: What one row is called.
        plural: What its list is called.
        meaning: The docstring of its model.
        model: The model.
        fields: Its columns by name, the primary key first.
        key: The primary key.
        sorts: The columns by which a list is ordered, by the column that the reader chooses.
        children: The tables whose rows refer to one of its rows: name and referring column.
    """

    name: str
    singular: str
    plural: str
    meaning: str
    model: type[Base]
    fields: Mapping[str, Field]
    key: Field
    sorts: Mapping[str, tuple[Column[Any], ...]]
    children: tuple[tuple[str, str], ...]

    @property
    def stored(self) -> list[ColumnElement[Any]]:
        """The columns, for reading whatever is in them."""
        return [field.stored for field in self.fields.values()]

    @property
    def searched(self) -> list[Field]:
        """The columns that a search looks at."""
        return [field for field in self.fields.values() if field.kind == "text"]


@cache
def views() -> dict[str, View]:
    """Return what the console shows by the name of the table, referred tables first."""
    models = [
        mapper.class_
        for mapper in Base.registry.mappers
        # An application may derive a class from one of ours.
        if mapper.inherits is None and _table(mapper.class_).name in OWN_TABLES
    ]
    order = [table.name for table in Base.metadata.sorted_tables]
    models.sort(key=lambda model: order.index(_table(model).name))
    return {_table(model).name: _view(model) for model in models}


def _table(model: type[Any]) -> Table:
    table: Table = model.__table__
    return table


def _view(model: type[Any]) -> View:
    table = _table(model)
    (key,) = table.primary_key.columns
    meanings = column_meanings(model)
    fields = {column.key: _field(model, column, meanings) for column in [key, *table.columns]}
    singular = label_of_class(model.__name__)
    suffix = table.name.removeprefix(singular.lower().replace(" ", "_"))
    return View(
        name=table.name,
        singular=singular,
        plural=singular + (suffix if suffix in {"s", "es"} else ""),
        meaning=" ".join((model.__doc__ or "").split()),
        model=model,
        fields=fields,
        key=fields[key.key],
        sorts=_sorts(table, key),
        children=tuple(
            (child.name, foreign.key)
            for child in Base.metadata.sorted_tables
            if child.name in OWN_TABLES
            for foreign in child.columns
            if any(reference.column.table is table for reference in foreign.foreign_keys)
        ),
    )


def _field(model: type[Any], column: Column[Any], meanings: Mapping[str, str]) -> Field:
    attribute = sa_inspect(model).attrs[column.key].class_attribute
    type_ = column.type.impl if isinstance(column.type, TypeDecorator) else column.type
    is_time = isinstance(type_, DateTime)
    choices: dict[str, str] | None = None
    if vocabulary := _VOCABULARIES.get(attribute):
        choices = {
            str(word.value): word.name.lower().replace("_", " ")
            if isinstance(word.value, int)
            else str(word.value)
            for word in vocabulary
        }
    elif attribute in _FLAGS:
        choices = _YES_NO
    elif is_time and column.nullable:
        choices = _SET_OR_NOT
    leads = any(next(iter(index.columns)) is column for index in _table(model).indexes)
    table, link = None, None
    for reference in column.foreign_keys:
        table, link = reference.column.table.name, reference.column.key
    if column.key == "youtube_video_id":  # no foreign key, because it names one of two tables
        table, link = "analytics", column.key
    return Field(
        key=column.key,
        label=_label_of_column(column.key),
        meaning=meanings[column.key],
        column=column,
        kind="time" if is_time else "number" if isinstance(type_, Integer | Float) else "text",
        is_long=isinstance(type_, Text),
        choices=choices,
        is_filter=bool(
            choices
            or leads
            or column.unique
            or table is not None
            or (column.primary_key and isinstance(type_, Integer))
        ),
        table=table,
        link=link,
    )


def _sorts(table: Table, key: Column[Any]) -> dict[str, tuple[Column[Any], ...]]:
    """Return the orders that an index gives, each ending with the primary key.

    NULL is neither more nor less than the last value of a page, so an index with a column that may
    be NULL cannot continue from there.
    """
    sorts: dict[str, tuple[Column[Any], ...]] = {key.key: (key,)}
    indexes = [tuple(index.columns) for index in table.indexes]
    indexes += [(column,) for column in table.columns if column.unique]
    for columns in sorted(indexes, key=lambda columns: [column.key for column in columns]):
        if not any(column.nullable for column in columns):
            sorts.setdefault(columns[0].key, (*columns, key))
    return sorts


def label_of_class(name: str) -> str:
    """Return the name of a class as words: "TTSAudio" is "TTS audio"."""
    words = re.findall(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+", name)
    first, *others = words
    return " ".join([first, *(word if word.isupper() else word.lower() for word in others)])


def _label_of_column(name: str) -> str:
    first, *others = name.split("_")
    first = first.capitalize()
    return " ".join(
        [_SPELLING.get(first, first), *(_SPELLED_INSIDE.get(word, word) for word in others)]
    )
