"""How a run comes back to a checkpoint: when it is resumed, and when it is rolled back out of trouble."""

from __future__ import annotations

import math
from dataclasses import replace
from enum import IntEnum
from pathlib import Path

import torch

from dcgan_data.errors import BadInput, BadRequest
from dcgan_data.train.checkpoint import Facts, checkpoints_in, discard_after, load_checkpoint, remove_old
from dcgan_data.train.config import TrainConfig
from dcgan_data.train.game import TrainState
from dcgan_data.train.guard import Failure
from dcgan_data.train.recorder import Recorder
from dcgan_data.train.rundir import RESUMED, RunDirectory, RunRecord
from dcgan_data.train.seeds import Stream, torch_rng
from dcgan_data.train.watchdog import Event

MOST_ROLLBACKS = 3
"""Then the run stops: what fails four times is no accident."""
_NOT_FINITE = "not finite"


class Verdict(IntEnum):
    """What to do about trouble; a number, which ranks can share."""

    GO_ON = 0
    STOP = 1
    ROLL_BACK = 2


def failure_event(failure: Failure) -> Event:
    """What a person should know of an update that was not applied."""
    what = f"gradient of the {failure.player}'s loss ({failure.loss:g}) is not finite"
    if not math.isfinite(failure.loss):
        what = f"{failure.player}'s loss is {failure.loss}"
    return Event(failure.step, _NOT_FINITE, f"the {what} at step {failure.step}, which was not applied")


class Recovery:
    """Judges trouble, and brings the state and the run's directory back to a checkpoint; on each rank."""

    def __init__(self, config: TrainConfig, run: RunDirectory, state: TrainState, recorder: Recorder) -> None:
        self.config, self.run, self.state, self.recorder = config, run, state, recorder

    def resume(self, record: RunRecord) -> None:
        """Bring the state to the newest checkpoint that can be read, and the run directory back to its step.

        A run that ended before its first checkpoint starts again from step 0.
        """
        run, state = self.run, self.state
        facts, passed_over = self._load_newest()
        if state.step > record.total_steps:
            raise BadRequest(
                f"{run.path}: already at step {state.step}, past the {record.total_steps} asked for; "
                "ask for more --steps or --epochs"
            )
        self.recorder.restore(facts)
        if state.ranks.first:
            discard_after(run.checkpoints, facts.step)
            remove_old(run.checkpoints, self.config.keep_checkpoints)  # what a kill kept the last save from
            run.return_to(facts.step)
            for message in passed_over:
                self.recorder.tell(Event(facts.step, "damaged checkpoint", message))
            machine = ", ".join(f"{name} {value}" for name, value in record.machine.items())
            run.append_event(facts.step, RESUMED, f"resumed at step {facts.step} ({machine})")

    def judge(self, failure: Failure | None, events: list[Event]) -> Verdict:
        """What to do about a failure or the watchdog's warnings."""
        if not events or (self.config.on_collapse == "warn" and not failure):
            return Verdict.GO_ON
        if self.config.on_collapse != "rollback" or self.recorder.attempt >= MOST_ROLLBACKS:
            return Verdict.STOP
        return Verdict.ROLL_BACK if self._sound(events) else Verdict.STOP

    def last_words(self, events: list[Event]) -> str:
        """What is told of a run that cannot go on."""
        saved = checkpoints_in(self.run.checkpoints)
        text = f"{self.run.path}: {'; '.join(event.message for event in events)}; "
        if self.state.ranks.first:
            self._tell_failures(events)
            self.recorder.write_page(at_once=True)
        self.state.ranks.meet()  # torchrun ends the first, which may still be writing, when another has left
        if self.recorder.attempt:
            text += f"rolled back {self.recorder.attempt} times already; "
        return text + (
            f"last checkpoint: {saved[-1] if saved else 'none'}; try a smaller learning rate than "
            f"{self.config.learning_rate:g} or another --seed, in another --run-dir"
        )

    def roll_back(self, events: list[Event]) -> None:
        """To the newest sound checkpoint, one further with each attempt; on with other random numbers."""
        run, state, attempt = self.run, self.state, self.recorder.attempt + 1
        failed_at = state.step
        target = torch.tensor(0, device=state.device)
        if state.ranks.first:  # the others follow: they do not know since when
            sound = self._sound(events)
            target.fill_(int(sound[max(0, len(sound) - attempt)].name))
        state.ranks.take_first(target)
        facts = load_checkpoint(run.checkpoints / f"{int(target):06d}", state)
        state.rng = torch_rng(self.config.seed, Stream.LATENT, attempt)
        state.guard.skip.zero_()
        self.recorder.restore(replace(facts, attempt=attempt))
        if state.ranks.first:
            discard_after(run.checkpoints, facts.step)
            run.return_to(facts.step, keep_events=True)
            self._tell_failures(events)
            told = f"rolled back from step {failed_at} to {facts.step}, attempt {attempt}"
            self.recorder.tell(Event(failed_at, "rollback", told))

    def _load_newest(self) -> tuple[Facts, list[str]]:
        """Load the newest checkpoint that can be read; what is said of newer ones. BadInput if none can."""
        passed_over = list[str]()
        saved = checkpoints_in(self.run.checkpoints)
        for checkpoint in reversed(saved):
            try:
                return load_checkpoint(checkpoint, self.state), passed_over
            except BadInput as error:
                if checkpoint == saved[0]:
                    raise
                passed_over.append(str(error).replace("remove this directory to use", "going on from"))
        return Facts(0), passed_over

    def _sound(self, events: list[Event]) -> list[Path]:
        """The checkpoints from before the trouble, oldest first."""
        since = min((event.since for event in events if event.since is not None), default=self.state.step + 1)
        return [path for path in checkpoints_in(self.run.checkpoints) if int(path.name) < since]

    def _tell_failures(self, events: list[Event]) -> None:
        """The watchdog's warnings are told as they come; these have to be told here."""
        for event in events:
            if event.kind == _NOT_FINITE:
                self.recorder.tell(event)
