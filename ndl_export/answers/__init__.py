"""Answers from published releases: figures, comparisons and claims, each with what may be concluded from it.

Everything here reads a release directory, through its analyst database. The macros of that database decide what may be
concluded; this room finds the figures that are meant and writes sentences about them. `published.py` opens a release
directory, `vocabulary.py` reads words, `questions.py` answers, `claims.py` judges, `sentences.py` reads sentences, and
`mcp.py` offers all of it to agents.
"""
