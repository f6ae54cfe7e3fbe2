"""What people look at: an HTML page made from results."""
