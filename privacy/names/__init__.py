"""Public data about given names. No child's data is here: the forms are general knowledge."""
