"""One worker process: a question in, an answer out, or it is over for good.

It starts `worker.py` by its path in the Python that it is given, and turns a death or a silence
into an error of this file. Not here: what is asked (`oracle.py`).
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from batchnorm.errors import BatchNormError
from batchnorm.printable import shown
from batchnorm.questions.subject import Raised
from batchnorm.verify import worker

__all__ = ["Crashed", "Hung", "NotInstalled", "OracleError", "Process"]

LAST_WORDS = 2000  # bytes of standard error that the report of a crash shows
SECONDS_TO_CLOSE = 10.0
UNANSWERED = (
    ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, TypeError,
    ValueError,
)  # fmt: skip
SECONDS_TO_LOOK = 0.5
LONGEST = 64 << 20  # bytes of an answer, in which arrays are text, or of standard error


class OracleError(BatchNormError):
    """An oracle can't be asked, for a reason that is no answer."""


class NotInstalled(OracleError):
    """The environment doesn't hold the framework."""


class Crashed(OracleError):
    """The worker ended where it should have answered."""


class Hung(Crashed):
    """The worker didn't answer in time, and was killed."""


def _understood(line: bytes) -> Any:
    """What an answer says; whatever goes wrong here is the worker's fault."""
    answer = json.loads(line)
    if "raised" in answer:
        name, bases, text = answer["raised"]
        if not (isinstance(name, str) and isinstance(text, str) and isinstance(bases, list)):
            raise TypeError("an error that is none")
        raise Raised(name, bases, text)
    return worker.unpack(answer["answer"])


class Process:
    """A running worker; `failure` says why it can't be asked any more."""

    def __init__(
        self, framework: str, python: str, timeout: float, arguments: Sequence[str]
    ) -> None:
        self.framework, self.python = framework, python
        self.timeout = timeout
        self.failure: OracleError | None = None
        self.dropped: list[int] = []  # numbers of layers that nobody holds any more
        self._lock = threading.Lock()
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 (closed by close)
        # Paths for this Python's modules are none for another's.
        drop = () if python == sys.executable else ("PYTHONPATH", "PYTHONHOME")
        try:
            self.process = subprocess.Popen(
                [python, str(Path(worker.__file__).resolve()), framework, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                bufsize=0,  # so that a thread that waits holds no lock
                env={name: value for name, value in os.environ.items() if name not in drop},
                start_new_session=True,  # an interrupt meant for the asker is not for the worker
            )
        except OSError as error:
            self._stderr.close()
            raise NotInstalled(f"{framework}: {python!r} can't be run: {error}") from error

    def ask(
        self,
        operation: str,
        timeout: float | None = None,
        read: Callable[[Any], Any] = lambda answer: answer,
        **arguments: Any,
    ) -> Any:
        """Send one request and wait for its answer; `read` takes it in the form that it has."""
        line = json.dumps({"op": operation, **arguments}).encode() + b"\n"
        with self._lock:
            if self.failure is not None:
                raise self.failure
            answer = self._exchange(line, timeout or self.timeout)
            try:
                return read(_understood(answer))
            except Raised:
                raise
            except UNANSWERED as error:
                self._kill()
                self.failure = Crashed(
                    f"the {self.framework} worker answers with what is no answer "
                    f"({type(error).__name__}): {shown(answer[:200])}; is {self.python!r} the "
                    f"Python of that framework's environment? {self._last_words()}"
                )
                raise self.failure from None

    def _exchange(self, line: bytes, timeout: float) -> bytes:
        answers: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        # What the worker has started may hold its end of a pipe when it is gone itself: then
        # neither writing nor reading ends, and the thread is left behind.
        threading.Thread(target=self._talked, args=(line, answers), daemon=True).start()
        end = time.monotonic() + timeout
        try:
            while True:
                left = end - time.monotonic()
                with contextlib.suppress(queue.Empty):
                    answer = answers.get(timeout=max(0.0, min(left, SECONDS_TO_LOOK)))
                    break
                if os.fstat(self._stderr.fileno()).st_size > LONGEST:
                    self._fail(f"fills a disk with over {LONGEST} bytes of standard error")
                if left <= 0:
                    self._fail(f"did not answer within {timeout} s and was killed", Hung)
        except OracleError:
            raise
        except BaseException:  # an interrupt: the answer to come must not be taken for another's
            self._kill()
            self.failure = Crashed(f"the {self.framework} worker was interrupted")
            raise
        if len(answer) >= LONGEST:
            self._fail(f"answers with a line of over {LONGEST} bytes")
        if not answer.endswith(b"\n"):
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(SECONDS_TO_CLOSE)
            self._kill()
            code = self.process.wait()
            how = f"died of {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
            self._fail(how)
        return answer

    def _talked(self, line: bytes, answers: queue.SimpleQueue[bytes]) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        answer, view = bytearray(), memoryview(line)
        with contextlib.suppress(OSError, ValueError):  # it is gone, or closed meanwhile
            while view:
                view = view[self.process.stdin.write(view) :]
        with contextlib.suppress(OSError, ValueError):
            while not answer.endswith(b"\n") and len(answer) < LONGEST:
                piece = self.process.stdout.read(1 << 16)
                if not piece:
                    break
                answer += piece
        answers.put(bytes(answer))

    def _fail(self, how: str, kind: type[Crashed] = Crashed) -> NoReturn:
        self._kill()
        self.failure = kind(f"the {self.framework} worker {how}; {self._last_words()}")
        raise self.failure

    def _last_words(self) -> str:
        self._stderr.seek(max(0, self._stderr.seek(0, os.SEEK_END) - LAST_WORDS))
        text = self._stderr.read().decode(errors="replace").strip()
        return f"its last words:\n{text}" if text else "it left no word"

    def _kill(self) -> None:
        """End it, with whatever it has started: also where it has ended itself, unasked so far."""
        if self.process.returncode is None:
            if not hasattr(os, "killpg"):  # Windows
                self.process.kill()
                return
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)

    def close(self) -> None:
        """End the process: politely, by the end of its input, then without asking."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.failure = self.failure or Crashed(f"the {self.framework} worker has been closed")
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(SECONDS_TO_CLOSE)
        self._kill()
        self.process.wait()
        self.process.stdout.close()
        self._stderr.close()
