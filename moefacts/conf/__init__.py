"""The only home of default values, as Hydra YAML."""
