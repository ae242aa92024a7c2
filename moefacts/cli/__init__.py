"""The command line. It parses arguments, calls the package and prints results."""
