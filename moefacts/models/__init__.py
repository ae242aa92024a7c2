"""Language models in plain torch. Nothing here knows about data, logging or optimizers."""
