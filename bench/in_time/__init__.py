"""What returns say in time: years of deliveries of two generators, replayed night by night."""
