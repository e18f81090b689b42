"""Doors: the only modules for dangerous operations (databases, text in SQL, private files, locks, the environment).

Only these modules may perform the operations; a test finds code that bypasses them. Every package may use the doors,
and they import nothing else from the project, so a privacy reviewer can read them on their own.
"""
