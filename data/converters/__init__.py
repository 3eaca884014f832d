"""What turns pictures and published archives into data sets."""
