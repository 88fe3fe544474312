"""Model files and factories: what they say, and how they become live models."""
