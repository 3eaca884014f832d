"""Feature networks: the released ones, and small stand-ins trained on drawn faces. Never mixed within one score."""
