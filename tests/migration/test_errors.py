"""Every refusal of a migration is one that the alembic program prints."""

from __future__ import annotations

import pytest

from shortsdb.errors import OperationRefused
from shortsdb.migration import MigrationRefused, as_migration_refused
from shortsdb.migration.revision_run import MigrationHalfApplied


def test_another_refusal_becomes_one_of_a_migration() -> None:
    refusal = OperationRefused("no room", "first", "second")
    with pytest.raises(MigrationRefused) as refused, as_migration_refused():
        raise refusal
    assert (refused.value.message, refused.value.details) == ("no room", ("first", "second"))
    assert refused.value.__cause__ is refusal


@pytest.mark.parametrize("error", [MigrationHalfApplied("half"), ZeroDivisionError()], ids=str)
def test_one_of_a_migration_and_other_errors_are_raised_as_they_are(error: Exception) -> None:
    with pytest.raises(type(error)) as raised, as_migration_refused():
        raise error
    assert raised.value is error


def test_nothing_is_raised_without_an_error() -> None:
    with as_migration_refused():
        pass
