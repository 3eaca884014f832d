"""Data work on many machines: the engine that spreads it, what starts its workers, and tries that may end in death."""
