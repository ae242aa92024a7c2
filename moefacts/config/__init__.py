"""What a run is: the typed configuration, the one strict way to load it, and its identity. Imports no torch."""
