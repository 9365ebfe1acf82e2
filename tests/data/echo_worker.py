"""A worker for the pool's processes: each says which task it was given."""

import os
import signal
import sys
import time


def make_echo(_run, _config):
    """A worker, as ``WorkerSpec`` makes it."""
    return lambda number, *_arrays: number


def make_fragile(run, _config, how, times):
    """A worker that ends, or finds no memory, at task 3, the first so many times; a file counts them."""

    def answer(number):
        deaths = run / "deaths"
        if number == 3 and (not deaths.exists() or len(deaths.read_text()) < times):
            with deaths.open("a") as file:
                file.write("x")
            if how == "memory":
                raise MemoryError
            os.kill(os.getpid(), signal.Signals[how])
        return number

    return answer


def make_none(_run, _config):
    """No worker at all."""
    raise RuntimeError("There is no device.")


def make_sleeper(_run, _config):
    """A worker that says which process it is, then sleeps."""
    return sleep


def sleep(*_arguments):
    """Say which process this is, then sleep."""
    sys.stdout.write(f"{os.getpid()}\n")
    sys.stdout.flush()
    time.sleep(600)
