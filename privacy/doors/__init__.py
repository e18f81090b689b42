"""One door for each dangerous operation: in-memory databases, text in SQL, private files, locks, the environment.

Only the modules here may perform these operations; a test finds code that bypasses them. Every package may use the
doors, and the doors import nothing else from the project, so a privacy reviewer can read them on their own.
"""
