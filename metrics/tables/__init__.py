"""Tables of the papers, filled with scores."""
