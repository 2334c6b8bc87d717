"""shortsdb: the models and the migrations of the Shorts pipeline's database."""

import os

__version__ = "0.1.0"

if os.name != "posix":
    raise ImportError(
        "shortsdb runs on POSIX systems such as Linux and macOS: it relies on their file locks, "
        "owners and forks; on Windows use WSL"
    )
