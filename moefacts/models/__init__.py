"""Language models in plain torch. Nothing here knows of data, logging or optimizers."""
