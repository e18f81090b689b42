"""What goes back to a sender about its own rows, under an agreement: made here, opened there."""
