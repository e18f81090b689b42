"""Pages of docs/ that show numbers or files which must be right."""
