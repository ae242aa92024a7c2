"""Whether other programs keep this machine busy, so that what is timed here takes longer than on an idle one."""

import os

_BUSY_SHARE = 0.5  # of the cores


def busy_note() -> str:
    """A line that says how busy this machine is; empty if at most half its cores are, or if the system cannot tell."""
    if not hasattr(os, "getloadavg"):
        return ""
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if load <= _BUSY_SHARE * cores:
        return ""
    return f"this machine is busy (load {load:.1f} on {cores} cores), so these times are longer than on an idle one"
