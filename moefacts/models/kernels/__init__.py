"""What makes an operation fast on one kind of device. Every file has the operation and, beside it, a plain reference.

The operation itself decides which way to go; whoever calls it need not know on what device it runs.
"""
