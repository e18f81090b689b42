"""The files of a bundle that describe its tables: for people in Markdown, for machines in CSV and JSON.

One module a document, each a function from facts and definitions to text or JSON-ready values; none reads a file of
the bundle or the clock.
"""
