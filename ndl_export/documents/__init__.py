"""Documents of a bundle that describe its tables: Markdown and a workbook for people, CSV for programs.

They follow from facts and definitions; none reads a file of the bundle or the clock.
"""
