"""What needs a trained model: measured once after training and written into the run as tables."""
