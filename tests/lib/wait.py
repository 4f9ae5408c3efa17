"""Waiting for a condition with a deadline; never for a length of time."""
import time


def wait_until(condition, timeout, what, every=0.05):
    """Calls condition() until it returns something true, and returns that. what: for the failure message,
    a text or a function that makes one when it is needed."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {timeout:g} s: {what() if callable(what) else what}")
        time.sleep(every)
