"""Public data about names: forms of given names, and how common names are. It contains no child's data."""
