"""Rows of services joined into children, and the tables of one row a unit that noise is added over."""
