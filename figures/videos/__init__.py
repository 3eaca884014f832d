"""Videos that loop: `paths` through latents, `kinds` of videos, `writer` of MP4 files."""
