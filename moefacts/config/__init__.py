"""The configuration of a run: its types, the one strict loader, presets and identity. Imports no torch."""
