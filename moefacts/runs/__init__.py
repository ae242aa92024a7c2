"""The contract between training and everything after it: where a run keeps what, and under which names."""
