"""What the graph proves about each variable."""
