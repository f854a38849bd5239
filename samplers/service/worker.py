"""A sampler in a separate process: the child's side, started by ``process``.

Started as a program rather than by multiprocessing, so that it doesn't import the user's main module (and
with it torch) a second time, nor require a main guard of the user.
"""

from __future__ import annotations

import contextlib
import os
import signal
from multiprocessing.connection import Connection

from samplers.draws import threads
from samplers.errors import SamplingError
from samplers.protocol import Sampler
from samplers.service.shared_memory import Arena, RowsNote


def answer(sampler: Sampler, arena: Arena, kind: str, content: object) -> tuple[str, object]:
    """Handle one message and return the reply."""
    if isinstance(content, RowsNote):
        sampler.observe(arena.read_rows(content))
        fold = getattr(sampler, "fold_buffered", None)
        if fold is not None:
            # Folded now, while nothing waits; an error in the rows is raised again by the next order.
            with contextlib.suppress(SamplingError):
                fold()
        return "free", content.block
    if kind == "ask":
        order = sampler.next_order()
        return ("order", arena.write_order(order)) if arena.fits(order) else ("long order", order)
    if kind == "save":
        return "saved", sampler.state_dict()
    assert kind == "load"
    assert isinstance(content, dict)
    sampler.load_state_dict(content)
    return "loaded", None


def main() -> None:
    """Serve messages from standard input until a stop message or the end of the parent process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    messages = Connection(os.dup(0), writable=False)
    answers = Connection(os.dup(1), readable=False)
    os.dup2(2, 1)  # printed text must not mix with the replies
    sampler, capacity, scored, path, count = messages.recv()[1]
    threads.use_threads(count)
    arena = Arena(capacity, scored, path)
    arena.forget_name()
    answers.send(("begun", None))
    while True:
        try:
            kind, content = messages.recv()
        except EOFError:
            return
        if kind == "stop":
            return
        try:
            reply = answer(sampler, arena, kind, content)
        except SamplingError as error:
            reply = ("rows error" if kind == "rows" else "error", str(error))
        answers.send(reply)


if __name__ == "__main__":
    main()
