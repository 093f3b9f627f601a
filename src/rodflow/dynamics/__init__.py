"""What moves: the discrete run, and the flows that model it, over one kind of process."""
