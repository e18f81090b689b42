"""One door for each dangerous thing: a database in memory, text in SQL, private files, locks, the environment.

A module here alone may do what it is for; a test finds whoever goes round it. All packages may use the doors, and the
doors use nothing of ours, so that a privacy reviewer can read them by themselves.
"""
