"""`python -m shortsdb` is the program `shortsdb`."""

from shortsdb.cli import main

main(prog_name="python -m shortsdb")
