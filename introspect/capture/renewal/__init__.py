"""The step compiled again: new optimizers, their state carried over, the trial of a fix."""
