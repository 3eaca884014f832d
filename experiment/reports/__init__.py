"""What a run tells of itself, from what its directory holds: the page of its report, and the card of its network."""
