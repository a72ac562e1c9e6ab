"""One worker process: a question in, an answer out, or it is over for good.

It starts `worker.py` by its path in the Python that it is given, and turns a death or a silence
into an error of this file. Not here: what is asked (`oracle.py`).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
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
LONGEST = 64 << 20  # bytes of an answer; arrays are text in it


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
        self._timed_out = False
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 (closed by close)
        # Paths for this Python's modules are none for another's.
        drop = () if python == sys.executable else ("PYTHONPATH", "PYTHONHOME")
        try:
            self.process = subprocess.Popen(
                [python, str(Path(worker.__file__).resolve()), framework, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
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
            except (ArithmeticError, LookupError, TypeError, ValueError, RecursionError) as error:
                self._kill()
                self.failure = Crashed(
                    f"the {self.framework} worker answers with what is no answer "
                    f"({type(error).__name__}): {shown(answer[:200])}; is {self.python!r} the "
                    f"Python of that framework's environment? {self._last_words()}"
                )
                raise self.failure from None

    def _exchange(self, line: bytes, timeout: float) -> bytes:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        timer = threading.Timer(timeout, self._time_out)
        timer.daemon = True
        timer.start()
        try:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.write(line)
                self.process.stdin.flush()
            answer: bytes = self.process.stdout.readline(LONGEST)
        except BaseException:  # an interrupt: the answer to come must not be taken for another's
            self._kill()
            self.failure = Crashed(f"the {self.framework} worker was interrupted")
            raise
        finally:
            timer.cancel()
        if len(answer) == LONGEST:
            self._kill()
            self.failure = Crashed(
                f"the {self.framework} worker answers with a line of over {LONGEST} bytes; "
                f"{self._last_words()}"
            )
            raise self.failure
        if not answer.endswith(b"\n"):
            self._fail(timeout)
        return answer

    def _time_out(self) -> None:
        self._timed_out = True
        self._kill()

    def _fail(self, timeout: float) -> NoReturn:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(SECONDS_TO_CLOSE)
        self._kill()
        code = self.process.wait()
        if self._timed_out:
            self.failure = Hung(
                f"the {self.framework} worker did not answer within {timeout} s and was killed; "
                f"{self._last_words()}"
            )
        else:
            how = f"died of {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
            self.failure = Crashed(f"the {self.framework} worker {how}; {self._last_words()}")
        raise self.failure

    def _last_words(self) -> str:
        self._stderr.seek(max(0, self._stderr.seek(0, os.SEEK_END) - LAST_WORDS))
        text = self._stderr.read().decode(errors="replace").strip()
        return f"its last words:\n{text}" if text else "it left no word"

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)  # with whatever it has started

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
