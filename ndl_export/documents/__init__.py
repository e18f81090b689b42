"""Documents of a bundle that describe its tables: Markdown and a workbook for people, CSV for programs.

One module per document. Each turns facts and definitions into text; none reads a file of the bundle or the clock.
"""
