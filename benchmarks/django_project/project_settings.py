"""Django's settings: only what these tables need, the database from the environment."""

import os

SECRET_KEY = "benchmarks"  # noqa: S105 - signs nothing
INSTALLED_APPS = ["deployed_tables", "new_tables"]
# Naive UTC, as the deployed code and shortsdb store it.
USE_TZ = False
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
IMMEDIATE = os.environ.get("BENCHMARK_DJANGO") == "immediate"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("BENCHMARK_DATABASE", "deployed.db"),
        # By https://docs.djangoproject.com/en/5.2/ref/databases/#sqlite-notes.
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL;",
        }
        if IMMEDIATE
        else {},
    }
}
