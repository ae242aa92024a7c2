"""Causal measurements of a trained model, layer by layer, on one-sentence prompts."""
