"""Personal data removed: on request, when their time is over, and from landing once taken in."""
