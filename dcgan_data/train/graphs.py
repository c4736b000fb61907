"""Record what a function launches on a GPU once, and launch it as one from then on (CUDA graphs).

At batch 128 a step is some hundreds of short kernels, and launching them one by one from Python takes
longer than running them.
"""

from __future__ import annotations

import gc
from collections.abc import Callable

import torch
from torch import Tensor

EAGER_CALLS = 3
"""Calls before the recording: real steps, during which torch allocates, chooses algorithms and compiles."""


class Recorded:
    """A function of tensors of fixed shapes that changes other tensors in place and returns nothing.

    The first calls run as they are. Then one is recorded, which does not run it, and each later call copies
    its inputs to where the recording reads them and replays it. If it cannot be recorded, every call runs
    as it is, and ``complain`` hears once why.
    """

    def __init__(
        self, function: Callable[..., None], prepare: Callable[[], None], complain: Callable[[str], None]
    ) -> None:
        """prepare: called before the recording."""
        self._function = function
        self._prepare = prepare
        self._complain = complain
        self._calls = 0
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: tuple[Tensor, ...] = ()
        self._failed = False

    def __call__(self, *inputs: Tensor) -> None:
        """Run the function on device tensors."""
        self._calls += 1
        if self._calls == EAGER_CALLS + 1 and not self._failed:
            self._record(inputs)
        if self._graph is None:
            self._run_aside(inputs)
            return
        for static, given in zip(self._inputs, inputs, strict=True):
            static.copy_(given, non_blocking=True)
        self._graph.replay()

    def _run_aside(self, inputs: tuple[Tensor, ...]) -> None:
        # What is allocated on the stream that records must have been used there before.
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            self._function(*inputs)
        torch.cuda.current_stream().wait_stream(self._stream)

    def _record(self, inputs: tuple[Tensor, ...]) -> None:
        self._inputs = tuple(tensor.clone() for tensor in inputs)
        self._prepare()
        gc.collect()  # a recording from before a rollback may hang in a cycle, with all its memory
        graph = torch.cuda.CUDAGraph()
        try:
            # The outer context: where recording fails, torch does not leave its stream by itself.
            # "thread_local": the thread that prefetches images may go on allocating and copying meanwhile.
            with (
                torch.cuda.stream(torch.cuda.current_stream()),
                torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"),
            ):
                self._function(*self._inputs)
        except RuntimeError as error:
            self._failed = True
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            self._complain(f"CUDA graphs cannot be used here ({reason}): steps are launched kernel by kernel")
            return
        self._graph = graph
