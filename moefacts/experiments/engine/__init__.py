"""What all studies share: planning a grid, running it, and deciding what it says."""
