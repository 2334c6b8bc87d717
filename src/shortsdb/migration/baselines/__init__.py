"""The schemas that deployed databases without a version are known to have, as DDL by revision.

0001 is what create_all made in every deployment before there were revisions, 0008 what create_all
makes of the models of release 0.1, the newest what it makes of the models as they are. Golden
files, which `make generate` writes: a test holds them against the revisions.
"""

from importlib.resources import files

BASELINES = {
    file.name.removesuffix(".sql"): file.read_text(encoding="utf-8")
    for file in sorted(files(__name__).iterdir(), key=lambda file: file.name)
    if file.name.endswith(".sql")
}
"""The DDL script of each revision that an unversioned database may be at."""
