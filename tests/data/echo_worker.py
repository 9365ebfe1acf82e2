"""A worker for the pool's processes: each says which task it was given."""


def make_echo(_run, _config):
    """A worker, as ``WorkerSpec`` makes it."""
    return lambda number, *_arrays: number


def make_hungry(_run, _config):
    """A worker that never has enough memory."""

    def take_all(_number):
        raise MemoryError

    return take_all
