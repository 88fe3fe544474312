"""One real step on a copy: placement, norms, fingerprints."""
