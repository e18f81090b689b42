"""Answers from published releases: figures, comparisons and claims, each with what may be concluded from it.

Everything here reads a release directory through its analyst database, whose macros decide what may be concluded. This
package finds the figures that a question is about, and writes sentences about them. `published.py` opens a release
directory, `vocabulary.py` reads words, `questions.py` answers, `claims.py` judges, `sentences.py` has the words of all
of them, and `quotes.py` lists the sentences that may be quoted. `ndl_export.serve.mcp` offers all this to agents.
"""
