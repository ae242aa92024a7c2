"""Who is waited for when several runs are stopped."""

import subprocess
import sys

import psutil

from moefacts.cli.signals import end_workers

_IGNORES = (
    "import signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); sys.stdin.read()"
)
_SAVES = """
import signal, sys, time
from filelock import FileLock
lock = FileLock(sys.argv[1] + "/.lock")
lock.acquire()
stopped = []
signal.signal(signal.SIGTERM, lambda *_: stopped.append(signal.signal(signal.SIGTERM, signal.SIG_DFL)))
print("ready", flush=True)
while not stopped:
    time.sleep(0.01)
time.sleep(1)  # a second request would end it now
open(sys.argv[1] + "/saved", "w").close()
lock.release()
sys.stdin.read()  # like a worker that waits for its next run
"""


def child(code, *arguments):
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    return process


def test_runs_save_before_they_are_asked_again_and_processes_that_ignore_requests_are_not_waited_for(tmp_path):
    tracker, worker = child(_IGNORES), child(_SAVES, str(tmp_path))
    try:
        end_workers([psutil.Process(tracker.pid), psutil.Process(worker.pid)])
        assert (tmp_path / "saved").exists()
        assert tracker.poll() is None  # it was not waited for
    finally:
        for process in (tracker, worker):
            process.kill()
            process.communicate()
