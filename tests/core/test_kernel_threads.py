"""Threads, forks and the memory of results."""

import multiprocessing
import os
import pickle
import threading
import warnings

import numpy as np
import pytest

from batchnorm import core
from batchnorm.core import kernel
from batchnorm.vocabulary import Mode

if len(kernel.IMPLEMENTATIONS) == 1:
    pytest.skip("BATCHNORM_KERNEL=reference is all that is asked for", allow_module_level=True)
from batchnorm import _kernel

# The last two: channels that all threads sum together, and so few rows of so many channels that
# the threads share the channels.
SHAPES = [
    (16, 64, 28, 28),
    (64, 96, 7, 7),
    (3000, 128),
    (4, 2, 300, 300),
    (3, 16, 300, 300),
    (20, 8192),
]


@pytest.fixture
def threads():
    before = _kernel.num_threads()
    yield _kernel.set_num_threads
    _kernel.set_num_threads(before)


def bits(x):
    settings = core.Settings((1,), Mode.BATCH, 1e-5)
    y, _, saved = core.forward(x, None, None, None, settings)
    dx, dgamma, dbeta = core.backward(saved, y + x)
    return b"".join(array.tobytes() for array in (y, saved.mean, saved.inv_std, dx, dgamma, dbeta))


def data(shape):
    return np.random.default_rng(3).standard_normal(shape).astype(np.float32) + 2


@pytest.mark.parametrize("shape", SHAPES)
def test_the_same_bits_for_any_number_of_threads(shape, threads):
    x = data(shape)
    threads(1)
    expected = bits(x)
    for count in (2, 3, 7):
        threads(count)
        assert bits(x) == expected


def test_many_python_threads_get_the_serial_result(threads):
    threads(3)
    inputs = [data(shape) for shape in SHAPES]
    expected = [bits(x) for x in inputs]
    wrong = []

    def work():
        for _ in range(3):
            wrong.extend(x.shape for x, e in zip(inputs, expected, strict=True) if bits(x) != e)

    workers = [threading.Thread(target=work) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert wrong == []


def _child(x, queue):
    queue.put(bits(x))


def test_a_forked_child_computes(threads):
    threads(3)
    x = data(SHAPES[0])
    expected = bits(x)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # fork with threads: what is tested
        child = context.Process(target=_child, args=(x, queue))
        child.start()
    assert queue.get(timeout=60) == expected
    child.join(60)
    assert child.exitcode == 0
    assert bits(x) == expected


def test_no_more_threads_than_processors():
    assert 1 <= _kernel.available_processors() <= len(os.sched_getaffinity(0))


def test_a_result_still_seen_is_never_handed_out_again():
    x = data((16, 64, 28, 28))
    settings = core.Settings((1,), Mode.BATCH, 1e-5)
    first = core.forward(x, None, None, None, settings)[0]
    view, expected = first[3:5], first[3:5].copy()
    del first
    others = [core.forward(x + i, None, None, None, settings)[0] for i in range(3)]
    assert all(not np.may_share_memory(view, other) for other in others)
    assert (view == expected).all()


def test_freed_results_are_kept_up_to_the_limit():
    x = data((16, 64, 28, 28))
    settings = core.Settings((1,), Mode.BATCH, 1e-5)
    _kernel.set_buffer_limit(0)  # forget what other tests left
    _kernel.set_buffer_limit(256 << 20)
    y = core.forward(x, None, None, None, settings)[0]
    address = y.ctypes.data
    del y
    assert _kernel.buffers_kept() >= x.nbytes
    again = core.forward(x, None, None, None, settings)[0]
    assert again.ctypes.data == address
    try:
        _kernel.set_buffer_limit(0)
        del again
        assert _kernel.buffers_kept() == 0
    finally:
        _kernel.set_buffer_limit(256 << 20)


def test_results_can_be_written_and_pickled():
    settings = core.Settings((1,), Mode.BATCH, 1e-5)
    y = core.forward(data((16, 64, 28, 28)), None, None, None, settings)[0]
    y[...] = 1
    assert (pickle.loads(pickle.dumps(y)) == 1).all()
