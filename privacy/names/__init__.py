"""Public data about names: forms of given names, and how common names are. No child's data is here."""
