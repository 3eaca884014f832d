"""What surrounds a run: its configuration, plan, forecast, checks, and report."""
