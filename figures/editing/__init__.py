"""Directions in w along which a generator's pictures change in one respect, and what moves along them."""
