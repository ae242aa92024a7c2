"""From run directories to numbers, figures and a report. Reads files only; imports no torch."""
