"""Plans, estimates, intervals and children, each on figures small enough to work out by hand."""
