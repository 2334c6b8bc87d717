"""The schemas that deployed databases without a version are known to have, as DDL by revision.

0001 is what create_all made in every deployment before there were revisions, 0008 what create_all
makes of the models of release 0.1. Golden files: a test holds them against the revisions.
"""

from importlib.resources import files

BASELINES = {
    revision: (files(__name__) / f"{revision}.sql").read_text(encoding="utf-8")
    for revision in ("0001", "0008")
}
"""The DDL script of each revision that an unversioned database may be at."""
