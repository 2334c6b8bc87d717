"""Rewrites every file that is generated, and the outputs that the pages show: `make generate`.

The order matters: each step reads what those before it have written.
"""

from __future__ import annotations

import os

import generated_docs
import golden
import pictures
import shown_commands

if __name__ == "__main__":
    golden.write()
    generated_docs.write()
    pictures.write()
    # Among the commands of a page is `make generate`.
    if shown_commands.RUNNING not in os.environ:
        shown_commands.write()
