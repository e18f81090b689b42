"""What is told of a row, and to whom."""
