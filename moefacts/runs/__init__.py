"""The contract between training and everything after it: the files of a run directory and the names in them."""
