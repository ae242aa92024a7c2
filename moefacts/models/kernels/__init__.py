"""Operations that are fast on some kind of device. Every file has an operation and its plain reference.

The operation itself chooses how to compute, so its caller need not know the device.
"""
