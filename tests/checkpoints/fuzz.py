"""Damage checkpoints in ways that know their structure, and see that reading them stays harmless.

    python -m tests.checkpoints.fuzz --count 1000000            # a million per format
    python -m tests.checkpoints.fuzz --format torch --seed 1 --start 4711 --count 1   # one again
    python -m tests.checkpoints.fuzz --coverage 600             # led by coverage; needs atheris

Every mutation must end in `CheckpointError` or in arrays of the declared shapes and types: within
seconds, within the promised memory, without another file opened, a module imported or a process
started. A child process does the reading, so that its death is a finding and not the end. Mutation
`i` of a seed is always the same.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data" / "checkpoints"
SEEDS = {
    "safetensors": ("pt.safetensors", "ms.safetensors"),
    "torch": ("torch.pth", "torch_views.pth", "torch_dtypes.pth", "torch_nested.pth"),
    "torch-legacy": ("torch_legacy.pth", "torch_legacy_nested.pth", "torch_legacy_views.pth"),
    "mindspore": ("mindspore.ckpt", "mindspore_append.ckpt", "mindspore_crc.ckpt"),
    "npz": ("numpy.npz", "numpy_compressed.npz"),
    "onnx": ("torch.onnx",),
    "keras": ("keras_renorm.keras", "tf_keras.keras"),
    "keras-weights": ("keras_bfloat16.weights.h5", "keras_subclass.weights.h5"),
    "keras-h5": ("tf_keras_subclass.h5", "chunked.h5", "newer.h5"),
}
SECONDS = 5  # of the processor, so that a busy machine is no finding
FORBIDDEN = (
    "open", "exec", "compile", "import", "os.system", "subprocess.Popen", "socket.connect",
    "os.fork", "os.remove", "os.rename",
)  # fmt: skip
STATUS = os.open("/proc/self/status", os.O_RDONLY) if sys.platform == "linux" else -1
SLACK = 24 << 20  # of memory: what Python and NumPy themselves come to need on the way


def worker(options: argparse.Namespace) -> None:
    """Read mutations one after the other; print the findings and a summary as JSON lines."""
    from tests.checkpoints import mutations

    from batchnorm.checkpoints.detection import detected
    from batchnorm.checkpoints.files import READERS
    from batchnorm.checkpoints.source import ALLOWANCE, Source
    from batchnorm.errors import CheckpointError

    def attempt(path: Path) -> str:
        try:
            source = Source(path)
        except CheckpointError:
            return "refused"
        try:
            kind = detected(source)
            checkpoint = READERS[kind](source)
            json.dumps(checkpoint.metadata)
            broken = 0
            for entry in checkpoint.values():
                try:
                    array = entry.load()
                except CheckpointError:
                    broken += 1
                    continue
                assert (array.shape, array.dtype) == (entry.shape, entry.dtype)
                assert sum(piece.size for piece in entry.chunks(1 << 12)) == array.size
            return "read in part" if broken else "read"
        except CheckpointError:
            return "refused"
        finally:
            source.close()

    contents = [(DATA / name).read_bytes() for name in SEEDS[options.format]]
    path = Path(options.folder) / "mutation"
    mutate = mutations.MUTATORS[options.format]
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)  # kept: opening anew costs more than reading

    def put(content: bytes) -> int:
        os.ftruncate(descriptor, size := os.pwrite(descriptor, content, 0))
        return size

    for content in contents:  # what the run itself imports and allocates is not a finding
        put(content)
        assert attempt(path) == "read", "a seed can't be read"
        mutate(content, random.Random(0))
    for codec in ("cp437", "utf-32-le"):
        b"x\0\0\0".decode(codec)  # imported when first used
    watch = _Watch(path)
    sys.addaudithook(watch)
    before = _memory("VmHWM")
    largest, beyond = 0, 0
    most = _memory("VmSize") + (1 << 30)
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))
    signal.signal(signal.SIGPROF, _too_slow)
    outcomes: Counter[str] = Counter()
    for index in range(options.start, options.start + options.count):
        rng = random.Random(f"{options.seed}/{options.format}/{index}")
        largest = max(largest, put(mutate(rng.choice(contents), rng)))
        if index % 50 == 0:
            print(json.dumps({"at": index}), flush=True)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        watch.on = True
        try:
            outcome = attempt(path)
        except BaseException as error:
            outcome = "FINDING"
            detail = f"{type(error).__name__}: {str(error)[:200]}"
            print(json.dumps({"finding": index, "what": detail}), flush=True)
            if options.count == 1:
                raise
        finally:
            watch.on = False
            signal.setitimer(signal.ITIMER_PROF, 0)
        if watch.seen:
            print(json.dumps({"finding": index, "what": watch.seen.pop()}), flush=True)
        peak = _memory("VmHWM")
        limit = before + ALLOWANCE + SLACK + 2 * largest + beyond
        if peak > limit:
            what = f"memory rose to {peak >> 20} MiB, {limit >> 20} are allowed"
            print(json.dumps({"finding": index, "what": what}), flush=True)
            beyond += peak - limit
        outcomes[outcome] += 1
    print(json.dumps({"done": dict(outcomes), "MiB": (peak - before) >> 20}), flush=True)


class _Watch:
    """An audit hook that notes what reading a checkpoint must not do."""

    def __init__(self, path: Path) -> None:
        self._path, self.on, self.seen = str(path), False, list[str]()

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on or event not in FORBIDDEN:
            return
        if event == "open" and (
            isinstance(arguments[0], int) or os.fspath(arguments[0]) == self._path
        ):
            return
        self.seen.append(f"{event} {str(arguments[0])[:100]}")


def _memory(what: str) -> int:
    """Bytes, from the kernel: ru_maxrss takes over that of the process that started this one."""
    status = os.pread(STATUS, 4096, 0).decode()
    return int(status.partition(f"{what}:")[2].split()[0]) << 10


def _too_slow(*_: object) -> None:
    raise TimeoutError(f"longer than {SECONDS} s")


def run(name: str, count: int, seed: int, start: int = 0) -> dict[str, Any]:
    """One format's mutations in a child; the findings, with the child's death among them."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "tests.checkpoints.fuzz", "--worker", "--folder", folder]
        command += ["--format", name, "--count", str(count), "--seed", str(seed)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OPENBLAS_NUM_THREADS": "1"}
        child = subprocess.run(
            [*command, "--start", str(start)],
            cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
    lines = [json.loads(line) for line in child.stdout.splitlines() if line.startswith("{")]
    result: dict[str, Any] = {"findings": [line for line in lines if "finding" in line]}
    done = [line for line in lines if "done" in line]
    result["outcomes"] = done[0]["done"] if done else {}
    result["MiB"] = done[0]["MiB"] if done else None
    if not done:
        last = max((line["at"] for line in lines if "at" in line), default=start)
        what = f"the reader died ({child.returncode}) within 50 of this: {child.stderr[-600:]}"
        result["findings"].append({"finding": last, "what": what})
    return result


def covering(options: argparse.Namespace) -> None:
    """Let atheris choose the bytes by the lines they reach: of `read`, `inspect` and `convert`."""
    import atheris

    with atheris.instrument_imports(include=["batchnorm.checkpoints", "batchnorm.convert"]):
        import batchnorm.checkpoints
        import batchnorm.convert
        from batchnorm.errors import BatchNormError

    folder = Path(options.folder)
    path, target = folder / "input", folder / "output.ckpt"

    def one(data: bytes) -> None:
        path.write_bytes(data)
        try:
            with batchnorm.checkpoints.read(path) as checkpoint:
                for entry in checkpoint.values():
                    assert entry.load().shape == entry.shape
        except BatchNormError:
            return
        for job in (
            lambda: batchnorm.convert.inspect(path),
            lambda: batchnorm.convert.convert(path, target, force=True, allow_missing=True),
        ):
            try:
                job()
            except BatchNormError:
                continue

    corpus = folder / "corpus"
    corpus.mkdir()
    for name in sorted({name for names in SEEDS.values() for name in names}):
        (corpus / name).write_bytes((DATA / name).read_bytes())
    limits = [f"-max_total_time={options.coverage}", "-max_len=65536", "-rss_limit_mb=2048"]
    atheris.Setup([sys.argv[0], str(corpus), *limits], one)
    atheris.Fuzz()  # ends the process, with a code other than 0 after a finding


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--format", choices=SEEDS, help="all of them unless given")
    parser.add_argument("--count", type=int, default=10_000, help="mutations per format")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=int, default=0, help="the first mutation's number")
    parser.add_argument("--coverage", type=int, metavar="SECONDS", help="let atheris lead")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        worker(options)
        return 0
    if options.coverage:
        with tempfile.TemporaryDirectory() as folder:
            options.folder = folder
            covering(options)
        return 0
    failed = False
    for name in [options.format] if options.format else SEEDS:
        result = run(name, options.count, options.seed, options.start)
        failed |= bool(result["findings"])
        print(name, result["outcomes"], f"{result['MiB']} MiB")
        for finding in result["findings"][:20]:
            print("   ", finding)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
