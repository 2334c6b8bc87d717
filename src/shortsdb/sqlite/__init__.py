"""Copy, back up, restore and check SQLite files, with the sqlite3 module only."""
