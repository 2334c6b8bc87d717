"""The known schemas of deployed databases without a version, as DDL by revision.

0001 is the schema that create_all created in every deployment before there were revisions, 0008 the
one that it creates for the models of release 0.1. A test compares these files with the revisions.
"""

from importlib.resources import files

BASELINES = {
    revision: (files(__name__) / f"{revision}.sql").read_text(encoding="utf-8")
    for revision in ("0001", "0008")
}
"""The DDL script of each revision that an unversioned database may have."""
