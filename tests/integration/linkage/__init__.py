"""Clear text in, links out."""
