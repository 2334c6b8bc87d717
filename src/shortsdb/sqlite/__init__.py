"""SQLite files by the sqlite3 module alone: copied, backed up, restored, checked."""
