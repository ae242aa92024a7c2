"""What is reproduced or asked: one file or folder per study, its own figures inside. A leading underscore: a helper."""
