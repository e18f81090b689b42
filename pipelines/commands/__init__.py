"""The commands, a module for each group of those who use them."""
