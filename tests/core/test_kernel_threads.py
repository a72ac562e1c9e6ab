"""Threads, forks and the memory of results."""

import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

import batchnorm as bn
from batchnorm import core
from batchnorm.core import kernel
from batchnorm.vocabulary import Mode

if len(kernel.IMPLEMENTATIONS) == 1:
    pytest.skip("BATCHNORM_KERNEL=reference is all that is asked for", allow_module_level=True)
from batchnorm import _kernel

# The last two: channels that all threads sum together, and so few rows of so many channels that
# the threads share the channels. Results of 3 to 5 MB bypass the caches of one thread alone.
SHAPES = [
    (16, 64, 28, 28),
    (24, 128, 19, 19),
    (180, 5000),
    (64, 96, 7, 7),
    (3000, 128),
    (4, 2, 300, 300),
    (3, 16, 300, 300),
    (20, 8192),
    (2500, 333),
    (3, 5000, 10),
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


IN_A_CHILD = pytest.mark.skipif(
    os.environ.get("BATCHNORM_SANITIZED") == "thread",
    reason="ThreadSanitizer's runtime can't start threads in a forked child",
)


@IN_A_CHILD
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


def test_results_of_a_size_that_is_no_longer_asked_for_make_room_for_others():
    settings = core.Settings((1,), Mode.BATCH, 1e-5)

    def normalized(megabytes):
        x = np.ones((4, megabytes << 14, 4), np.float32)
        return core.forward(x, None, None, None, settings)[0]

    _kernel.set_buffer_limit(0)
    _kernel.set_buffer_limit(24 << 20)
    try:
        old = [normalized(4) for _ in range(5)]
        del old
        new = normalized(16)  # the largest, which goes first while all are in use
        del new
        assert _kernel.buffers_kept() <= 20 << 20
        time.sleep(1.1)
        new = normalized(16)
        address = new.ctypes.data
        del new
        again = normalized(16)
        assert again.ctypes.data == address
    finally:
        _kernel.set_buffer_limit(256 << 20)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="Linux tells it by thread")
def test_threads_may_use_the_same_processors_after_they_were_woken(threads):
    threads(3)
    x = data((16, 64, 28, 28))
    for _ in range(30):
        bits(x)
        time.sleep(0.002)  # longer than workers look for the next job
    time.sleep(0.05)
    allowed = os.sched_getaffinity(0)
    each = [int(task.name) for task in Path("/proc/self/task").iterdir()]
    assert all(os.sched_getaffinity(task) == allowed for task in each)


def test_results_can_be_written_and_pickled():
    settings = core.Settings((1,), Mode.BATCH, 1e-5)
    y = core.forward(data((16, 64, 28, 28)), None, None, None, settings)[0]
    y[...] = 1
    assert (pickle.loads(pickle.dumps(y)) == 1).all()


def python(code, **environment):
    """What a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or done.stderr.strip().splitlines()[-1]


NUMBER = "import batchnorm as bn; print(bn.get_num_threads())"


def test_a_given_number_of_threads_is_the_one_used(threads):
    bn.set_num_threads(3)
    assert bn.get_num_threads() == _kernel.num_threads() == 3
    bn.set_num_threads(np.int64(2))
    assert bn.get_num_threads() == 2
    bn.set_num_threads(10**30)
    assert bn.get_num_threads() == 256


@pytest.mark.parametrize("wrong", [0, -1, 1.5, "2", None, True])
def test_no_other_number_of_threads_is_taken(wrong, threads):
    before = bn.get_num_threads()
    with pytest.raises(bn.BatchNormError, match=r"an int of at least 1, but got"):
        bn.set_num_threads(wrong)
    assert bn.get_num_threads() == before


def test_the_environment_sets_the_number_of_threads():
    assert python(NUMBER, BATCHNORM_NUM_THREADS="3") == "3"
    assert python(NUMBER, BATCHNORM_NUM_THREADS="") == python(NUMBER)
    for wrong in ("0", "two", "1.5", "-1"):
        assert "BATCHNORM_NUM_THREADS must be a whole number of at least 1" in python(
            NUMBER, BATCHNORM_NUM_THREADS=wrong
        )


def test_affinity_bounds_the_number_of_threads():
    one = f"import os; os.sched_setaffinity(0, [{min(os.sched_getaffinity(0))}]); {NUMBER}"
    assert python(one, BATCHNORM_NUM_THREADS="") == "1"


@pytest.mark.parametrize(
    ("files", "membership", "expected"),
    [
        ({"cpu.max": "max 100000"}, "0::/", 0),
        ({"cpu.max": "150000 100000"}, "0::/", 2),
        ({"cpu.max": "10000 100000"}, "0::/", 1),
        ({"cpu.max": "800000 100000", "a/cpu.max": "300000 100000"}, "0::/a/b", 3),
        ({"a/cpu.max": "max 100000", "cpu.max": "400000 100000"}, "0::/a", 4),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, "4:cpu:/", 0),
        ({"cpu/a/cpu.cfs_quota_us": "500000", "cpu/a/cpu.cfs_period_us": "100000"}, "4:cpu:/a", 5),
        ({"cpu.max": ""}, "0::/", 0),
        ({"cpu.max": "nonsense here"}, "", 0),
    ],
)
def test_a_cgroups_quota_is_read_at_every_level(files, membership, expected, tmp_path):
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    own = tmp_path / "membership"
    own.write_text(membership + "\n")
    assert _kernel.cgroup_quota(str(tmp_path), str(own)) == expected


def test_other_python_threads_run_while_the_kernel_does():
    x = data((64, 64, 56, 56))
    settings = core.Settings((1,), Mode.BATCH, 1e-5)
    calls, ticks, done = [], [], threading.Event()

    def tick():
        while not done.is_set():
            ticks.append(time.perf_counter())
            time.sleep(0)

    ticker = threading.Thread(target=tick)
    ticker.start()
    for _ in range(5):
        start = time.perf_counter()
        core.forward(x, None, None, None, settings)
        calls.append((start, time.perf_counter()))
    done.set()
    ticker.join()
    # While the interpreter's lock is held, nobody ticks: a thread waiting for it gets it after 5 ms
    # only between Python's own steps, of which a call is one.
    inside = [sum(s + 0.2 * (e - s) < t < e - 0.2 * (e - s) for t in ticks) for s, e in calls]
    assert max(inside) > 5


@IN_A_CHILD
def test_a_child_that_forks_while_others_compute_can_compute(threads):
    threads(3)
    x = data((16, 64, 28, 28))
    expected = bits(x)
    stop = threading.Event()

    def work():
        while not stop.is_set():
            bits(x)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        for _ in range(5):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                child = os.fork()
            if child == 0:
                os._exit(0 if bits(x) == expected else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        stop.set()
        worker.join()


def test_each_thread_has_its_own_flags_of_arithmetic_back(threads):
    """What another library set stays set, in the caller; the pool's threads start without it."""
    if not sys.platform.startswith("linux") or os.uname().machine != "x86_64":
        pytest.skip("the flags are x86's")
    code = (
        "import ctypes, ctypes.util, numpy as np\n"
        "import batchnorm as bn\n"
        "from batchnorm import core\n"
        "from batchnorm.vocabulary import Mode\n"
        "bn.set_num_threads(3)\n"
        "m = ctypes.CDLL(ctypes.util.find_library('m'))\n"
        "env = ctypes.create_string_buffer(32)\n"
        "m.fegetenv(env)\n"
        "plain = env.raw\n"
        "word = int.from_bytes(plain[28:32], 'little') | 0x8040\n"
        "flush = plain[:28] + word.to_bytes(4, 'little')\n"
        "x = np.full((64, 64, 64), 3e-45, np.float32); x[::2] = 0\n"
        "s = core.Settings((1,), Mode.BATCH, 0.0)\n"
        "m.fesetenv(flush)\n"
        "first = core.forward(x, None, None, None, s)[0]\n"  # starts the pool's threads
        "m.fegetenv(env)\n"
        "kept = int.from_bytes(env.raw[28:32], 'little') & 0x8040\n"
        "m.fesetenv(plain)\n"
        "second = core.forward(x, None, None, None, s)[0]\n"
        "print(hex(kept), sorted(set(first.ravel().tolist())), (first == second).all())\n"
    )
    assert python(code) == "0x8040 [-1.0, 1.0] True"


def test_subnormal_state_is_kept_with_the_flush_flags_set():
    """What is read of the parameters and written to the running statistics, too."""
    if os.uname().machine != "x86_64":
        pytest.skip("the flags are x86's")
    code = (
        "import ctypes, ctypes.util, numpy as np\n"
        "from batchnorm import core\n"
        "from batchnorm.vocabulary import Mode\n"
        "m = ctypes.CDLL(ctypes.util.find_library('m'))\n"
        "env = ctypes.create_string_buffer(32)\n"
        "m.fegetenv(env)\n"
        "word = int.from_bytes(env.raw[28:32], 'little') | 0x8040\n"
        "flush = env.raw[:28] + word.to_bytes(4, 'little')\n"
        "x = np.float32([[1], [2]]); zero = np.zeros(1, np.float32); tiny = zero + 1e-40\n"
        "running = core.Running(zero, np.float32([1e-40]))\n"
        "s = core.Settings((1,), Mode.RUNNING, 0.0)\n"
        "t = core.Settings((1,), Mode.BATCH_AND_UPDATE, 1e-5, 0.0)\n"
        "m.fesetenv(flush)\n"
        "y = core.forward(x, None, None, running, s)[0]\n"
        "z = core.forward(x, zero, tiny, None, core.Settings((1,), Mode.BATCH, 1.0))[0]\n"
        "new = core.forward(x, None, None, running, t)[1]\n"
        "m.fesetenv(env)\n"
        "print(np.isfinite(y).all(), (z == tiny).all(), (new.var == running.var).all())\n"
    )
    assert python(code) == "True True True"
