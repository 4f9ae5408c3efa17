"""Processes that cannot outlive the test: the kernel kills each one when the process that started it dies."""
import shutil
import subprocess


class MissingTool(Exception):
    """A program that a test needs is not installed."""


def _wrap(cmd):
    """setpriv asks for PR_SET_PDEATHSIG and then *becomes* cmd, so the pid is cmd's own.

    The signal belongs to the starting thread's life: start long-lived processes from the main thread.
    """
    if shutil.which(cmd[0]) is None:
        raise MissingTool(f"{cmd[0]} is not installed")
    return ["setpriv", "--pdeathsig", "KILL", "--", *map(str, cmd)]


def spawn(cmd, **popen_args):
    """Starts cmd in the calling thread's network namespace, without our standard input."""
    popen_args.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.Popen(_wrap(cmd), **popen_args)


def stop(proc, timeout=5):
    """Ends a process of ours by its handle, politely first. Returns its status."""
    if proc.poll() is None:
        proc.terminate()
        try:
            proc.wait(timeout)
        except subprocess.TimeoutExpired:
            proc.kill()
            proc.wait()
    return proc.returncode


def run(cmd, timeout=60, **run_args):
    """Runs cmd to its end; returns CompletedProcess with text stdout (stderr merged into it)."""
    run_args.setdefault("stdin", subprocess.DEVNULL)
    run_args.setdefault("stderr", subprocess.STDOUT)
    return subprocess.run(_wrap(cmd), timeout=timeout, text=True, errors="replace", stdout=subprocess.PIPE,
                          check=False, **run_args)


def check(cmd, timeout=60, **run_args):
    """run(), and an assertion with the output if the status is not 0. Returns the output."""
    res = run(cmd, timeout, **run_args)
    assert res.returncode == 0, f"{' '.join(map(str, cmd))}: status {res.returncode}\n{res.stdout}"
    return res.stdout
