"""Joined-up returns: agreements, the gate, what is told and how right it is, sealing, the sender's tool."""
