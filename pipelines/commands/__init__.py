"""The commands of , a module for each group."""
