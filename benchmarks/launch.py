"""Runs a program to its end, and prints seconds, CPU seconds, peak KiB and bytes written.

A process of its own, with next to nothing imported: what a child is said to have used at its peak
is never less than what its parent had when it started the child.
"""

import json
import os
import sys
import time

began = time.perf_counter()
pid = os.posix_spawn(
    sys.argv[1], sys.argv[1:], os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, 2, 1)]
)
_, status, usage = os.wait4(pid, 0)
took = time.perf_counter() - began
if code := os.waitstatus_to_exitcode(status):
    sys.exit(f"{' '.join(sys.argv[1:])} ended with {code}")
cpu = usage.ru_utime + usage.ru_stime
# Linux counts them in units of 512 bytes, whatever the file system's blocks are.
print(json.dumps([took, cpu, usage.ru_maxrss, usage.ru_oublock * 512]))  # noqa: T201 - its output
