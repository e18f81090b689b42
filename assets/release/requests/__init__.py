"""Tables on request: what somebody asks for, what answers it, and what measuring it would cost."""
