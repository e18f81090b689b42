"""What a release says of itself besides its tables: who publishes, what is missing, what went before."""
