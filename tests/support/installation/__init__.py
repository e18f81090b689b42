"""Whole installations: with a release, in processes of their own, with servers over them."""
