"""Measurements of a trained model, made once after training and written into the run as tables."""
