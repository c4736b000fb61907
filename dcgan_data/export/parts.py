"""Parts of an export that are written side by side."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

from dcgan_data.export.settings import ExportJob
from dcgan_data.parallel import deaths_told_to, run_tasks


def write_parts(job: ExportJob, function: Callable[..., int], tasks: Sequence[tuple[Any, ...]]) -> None:
    """Run ``function(*task)`` for every task, in any order; each returns the number of images it wrote.

    The first part of a task is its rows.
    """
    total = sum(len(task[0]) for task in tasks)
    running = run_tasks(function, tasks, job.workers, hold=job.target.parent)
    with job.reporter.stage("export", total, "images") as stage, deaths_told_to(job.reporter.say):
        try:
            for images in running:
                stage.advance(images)
        finally:
            # After an error no worker may go on writing into what is being removed.
            with warnings.catch_warnings():  # joblib has one for results that nobody wants any more
                warnings.simplefilter("ignore")
                running.close()
