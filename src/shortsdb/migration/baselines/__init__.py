"""The known schemas of deployed databases without a version, as DDL by revision.

0001 is the schema that create_all created in every deployment before there were revisions, 0008 the
one that it creates for the models of release 0.1, and the newest the one for the current models.
`make generate` writes these files, and a test compares them with the revisions.
"""

from importlib.resources import files

BASELINES = {
    file.name.removesuffix(".sql"): file.read_text(encoding="utf-8")
    for file in sorted(files(__name__).iterdir(), key=lambda file: file.name)
    if file.name.endswith(".sql")
}
"""The DDL script of each revision that an unversioned database may have."""
