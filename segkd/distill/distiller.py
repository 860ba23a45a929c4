"""`Distiller`: the task loss, and the terms of every teacher, each times its scheduled weight."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from segkd.distill.base import Knowledge, Scene, Teacher, Term, counted, learning, named
from segkd.distill.exits import Exits, exit_loss, refuse_untaught
from segkd.losses import CrossEntropy, TaskLoss
from segkd.models.network import Network
from segkd.models.taps import evaluating, tapped
from segkd.types import Batch, InputError, Lesson, Prediction, Schedule, refuse_probability, schedule_values, scheduled

STUDENT = "student"
"""The teacher of a term that compares levels of the student, where there are other teachers."""

RESERVED = ("task", "exits", STUDENT)


@final
class Distiller(nn.Module):
    """What the student learns from: the labels, and any number of teachers by any number of terms.

    Args:
        task: the loss against the labels; cross-entropy when None.
        teachers: who teaches, by name; none trains the plain baseline.
        terms: what is compared with whom, by name, each with a weight of its own.
        exits: heads on the student's features while it trains, supervised by the task loss.
        features: layer paths of the student whose outputs are its features, finest first; its own when None.
        task_weight: of the task loss: a number, or {progress 0..1: weight} interpolated linearly.
        sure: least probability at which a teacher's likeliest class counts as the label where an image has none.

    Raises:
        InputError: a term names no teacher, or needs what its teacher does not give.
    """

    def __init__(
        self,
        task: TaskLoss | None = None,
        teachers: dict[str, Teacher] | None = None,
        terms: dict[str, Term] | None = None,
        exits: Exits | None = None,
        features: list[str] | None = None,
        task_weight: Schedule = 1.0,
        sure: float = 0.9,
    ) -> None:
        super().__init__()
        for owner, names in (("teachers", teachers), ("terms", terms)):
            _refuse_names(f"distiller.{owner}", list(names or {}))
        self.task = task or CrossEntropy()
        self.teachers = nn.ModuleDict(teachers or {})
        self.knowledge = nn.ModuleDict({name: term.knowledge for name, term in (terms or {}).items()})
        self.weights = {name: term.weight for name, term in (terms or {}).items()}
        self.teacher_of = {name: self._teacher_of(name, term) for name, term in (terms or {}).items()}
        self.exits, self.features, self.task_weight = exits, features, task_weight
        self.progress, self.sure = 0.0, sure
        for name, teacher in self.asked.items():
            teacher.key = f"distiller.teachers.{name}"
        schedule_values("distiller.task_weight", task_weight, least=0.0)
        refuse_probability("distiller.sure", sure)
        self._refuse_misfits()

    @property
    def needs_soft(self) -> bool:
        """Whether the loader has to compute `Batch.soft`."""
        return self.task.needs_soft or any(teacher.needs_soft for teacher in self.asked.values())

    @property
    def meets(self) -> bool:
        """Whether there is anybody to meet the student."""
        return bool(self.teachers or self.knowledge or self.exits is not None)

    def weight(self, name: str) -> float:
        """The weight of a term at the current progress."""
        return scheduled(self.weights[name], self.progress)

    def meet(self, scene: Scene) -> None:
        """Shows the student to everybody, so that what depends on its shapes is built: exits, teachers, knowledge.

        Raises:
            InputError: somebody does not fit the student; says what is missing and what to write.
        """
        student, batch = scene.student, scene.batch
        with torch.no_grad(), evaluating(student, self):
            seen = scene.seen if self.features is None else tapped(student, batch.clean, self.features)
            if self.exits is not None:
                self.exits.meet(seen.features, seen.logits.shape[1])
                self.exits.eval()
            scene = replace(scene, seen=self._with_exits(seen), features=self.features)
            for teacher in self.asked.values():
                teacher.meet(scene)
                teacher.eval()
            lessons = self._lessons(batch, scene.seen, lambda image: self.see(student, image))
            for name, compare in self._knowledge.items():
                self._refuse_missing(name, compare, scene.seen)
                teacher_name = self.teacher_of[name]
                target = lessons[teacher_name].target if teacher_name else scene.seen
                if teacher_name:
                    self._refuse_silent(name, compare, teacher_name, target)
                compare.meet(scene.seen, target)
                compare.eval()
                self._refuse_one_way(name, compare)
        self.to(batch.image.device).train()

    def see(self, network: Network, image: Float[Tensor, "b 3 h w"]) -> Prediction:
        """What a network predicts, with the features that are asked for and the exits.

        Where no gradient is wanted it looks in evaluation mode, so that BatchNorm statistics do not move.
        """
        if torch.is_grad_enabled():
            return self._with_exits(tapped(network, image, self.features))
        with evaluating(network, *([] if self.exits is None else [self.exits])):
            return self._with_exits(tapped(network, image, self.features))

    @torch.no_grad()
    def lessons(self, batch: Batch, network: Network) -> tuple[Prediction, dict[str, Lesson]]:
        """For a look at them: what `network` predicts, and the lesson of every teacher that gives logits."""
        student = self.see(network, batch.image)
        lessons = self._lessons(batch, student, lambda image: self.see(network, image))
        return student, {name: lesson for name, lesson in lessons.items() if "logits" in self.asked[name].gives}

    def forward(self, batch: Batch, network: Network) -> dict[str, Float[Tensor, ""]]:
        """Named, weighted terms whose sum is the loss of `network` on `batch`."""
        student = self.see(network, batch.image)
        terms = {"task": scheduled(self.task_weight, self.progress) * self.task(student.logits, batch)}
        counts = {name: self.weight(name) for name in self.knowledge if self._counts(name)}
        if self.exits is not None and not self._unsupervised(counts):
            terms["exits"] = scheduled(self.exits.weight, self.progress) * exit_loss(self.task, student, batch)
        lessons = self._lessons(batch, student, lambda image: self.see(network, image), set(counts))
        for name, weight in counts.items():
            terms |= self._compared(name, weight, student, lessons, batch)
        for name, lesson in lessons.items():
            if "label" in self.asked[name].learns:
                learned = lesson.own or (lesson.target.logits,)
                terms[f"{name}.task"] = torch.stack([self.task(logits, batch) for logits in learned]).mean()
        return terms

    def follow(self, student: Network, step: int) -> None:
        """Lets the teachers follow the student after optimiser step `step`."""
        for teacher in self.asked.values():
            teacher.follow(student, step)

    def arrive(self, progress: float) -> None:
        """Takes all schedules, those of the teachers too, to `progress` 0..1 of the training."""
        self.progress = progress
        for teacher in self.asked.values():
            teacher.arrive(progress)

    @property
    def asked(self) -> dict[str, Teacher]:
        """The teachers, by name."""
        return {name: teacher for name, teacher in self.teachers.items() if isinstance(teacher, Teacher)}

    @property
    def _knowledge(self) -> dict[str, Knowledge]:
        return {name: compare for name, compare in self.knowledge.items() if isinstance(compare, Knowledge)}

    def _with_exits(self, seen: Prediction) -> Prediction:
        if self.exits is None:
            return seen
        return Prediction(seen.logits, seen.features, self.exits(seen.features))

    def _counts(self, name: str) -> bool:
        """A term of weight 0 is computed only where something in it learns: other processes wait for its gradient."""
        teacher = self.teacher_of[name]
        mutual = teacher is not None and "student" in self.asked[teacher].learns
        return self.weight(name) != 0 or mutual or learning(self.knowledge[name])

    def _unsupervised(self, counts: Iterable[str]) -> bool:
        """Whether the exits learn from terms alone; without any, a weight of 0 keeps them in the gradient."""
        exits = self.exits
        return exits is not None and exits.weight == 0 and any("exits" in self._knowledge[n].reads for n in counts)

    def _lessons(
        self,
        batch: Batch,
        student: Prediction,
        look: Callable[[Tensor], Prediction],
        terms: set[str] | None = None,
    ) -> dict[str, Lesson]:
        """The lesson of every teacher that learns or remembers, or that one of the `terms` listens to; of all when
        None."""
        heard = set(self.asked) if terms is None else {self.teacher_of[name] for name in terms}
        wanted = {
            name: teacher
            for name, teacher in self.asked.items()
            if name in heard or teacher.learns or (self.training and teacher.remembers)
        }
        return {name: teacher(batch, student, look) for name, teacher in wanted.items()}

    def _compared(
        self, name: str, weight: float, student: Prediction, lessons: dict[str, Lesson], batch: Batch
    ) -> dict[str, Float[Tensor, ""]]:
        """One term, and the same the other way round where its teacher learns of the student."""
        compare, teacher = self._knowledge[name], self.teacher_of[name]
        if teacher is None:
            return {name: weight * compare(student, student.detached(), batch)}
        lesson = lessons[teacher]
        taught = counted(batch, lesson, self.sure if self.asked[teacher].everywhere else None)
        terms = {name: weight * compare(student, lesson.target.detached(), taught)}
        if "student" in self.asked[teacher].learns:
            terms[f"{name}.{teacher}"] = weight * compare(lesson.target, student.detached(), taught)
        return terms

    def _teacher_of(self, name: str, term: Term) -> str | None:
        names, said = list(self.teachers), term.teacher
        if not term.knowledge.needs and said not in (None, STUDENT):
            raise InputError(
                f"distiller.terms.{name} ({named(term.knowledge)}) compares the student with itself alone: leave "
                f"out its teacher, found {said!r}."
            )
        if not term.knowledge.needs or said == STUDENT:
            return None
        if said is not None and said not in names:
            raise InputError(
                f"distiller.terms.{name}.teacher: expected one of distiller.teachers "
                f"({', '.join(names) or 'none'}), found {said!r}."
            )
        if said is None and len(names) > 1:
            names += [STUDENT] if term.knowledge.across else []
            raise InputError(f"distiller.terms.{name} names no teacher, and there are {', '.join(names)}: name one.")
        return said or (names[0] if names else None)

    def _refuse_misfits(self) -> None:
        for name in self.teachers:
            if name not in self.teacher_of.values():
                raise InputError(
                    f"distiller.teachers.{name} ({named(self.teachers[name])}) teaches nothing: name a term for it in "
                    "distiller.terms."
                )
        for name, compare in self._knowledge.items():
            schedule_values(f"distiller.terms.{name}.weight", self.weights[name], least=0.0)
            self._refuse_misfit(name, compare)
        if not any("exits" in compare.reads for compare in self._knowledge.values()):
            refuse_untaught(self.exits, {n: one for n, one in self._knowledge.items() if self.teacher_of[n] is None})

    def _refuse_misfit(self, name: str, compare: Knowledge) -> None:
        teacher = self.teacher_of[name]
        if teacher is None:
            if not compare.across:
                raise InputError(
                    f"distiller.terms.{name} ({named(compare)}) has no teacher: it would compare the student with "
                    "itself. Name one in distiller.teachers."
                )
            return
        missing = compare.needs - self.asked[teacher].gives
        if missing:
            raise InputError(
                f"distiller.terms.{name} ({named(compare)}) compares {sorted(compare.needs)}, but "
                f"{named(self.teachers[teacher])} gives only {sorted(self.asked[teacher].gives)}. Choose a teacher "
                f"that gives {sorted(missing)}{', or student' if compare.across else ''}, or another knowledge."
            )

    def _refuse_one_way(self, name: str, compare: Knowledge) -> None:
        """A map from the student's features to a teacher's is none from the teacher's to the student's."""
        teacher = self.teacher_of[name]
        if teacher is not None and "student" in self.asked[teacher].learns and learning(compare):
            raise InputError(
                f"distiller.terms.{name} ({named(compare)}) learns a map from student to teacher, which is none for "
                f"{named(self.teachers[teacher])} to learn of the student by: its mutual: false, or another knowledge."
            )

    def _refuse_missing(self, name: str, compare: Knowledge, seen: Prediction) -> None:
        for field in sorted(compare.reads | (compare.needs if self.teacher_of[name] is None else frozenset())):
            if not len(getattr(seen, field)):
                cure = (
                    "Give it some: distiller.exits: {}."
                    if field == "exits"
                    else "Name layers of the network: distiller.features: [path.of.a.layer, ...]."
                )
                raise InputError(f"distiller.terms.{name} ({named(compare)}) reads {field}, but there are none. {cure}")

    def _refuse_silent(self, name: str, compare: Knowledge, teacher: str, target: Prediction) -> None:
        """What a teacher could give, but does not of this network."""
        mutual = "student" in self.asked[teacher].learns  # then it is compared the other way round as well
        wanted = compare.needs | (compare.reads if mutual else frozenset())
        silent = [field for field in sorted(wanted) if not len(getattr(target, field))]
        if silent:
            raise InputError(
                f"distiller.terms.{name} ({named(compare)}) compares {silent[0]}, and distiller.teachers.{teacher} "
                f"({named(self.teachers[teacher])}) gives none here: its network has none. "
                "Name layers where it has a setting for them (Frozen: features), or write a knowledge about logits, "
                "such as Response."
            )


def _refuse_names(owner: str, names: list[str]) -> None:
    """Names become parts of names of tensors, and of keys on the command line."""
    wrong = [name for name in names if not name.replace("-", "_").isidentifier() or name in dir(nn.ModuleDict)]
    if wrong:
        raise InputError(
            f"{owner}: expected names of letters, digits and _ that Python's dictionaries and torch's modules do not "
            f"use themselves, found {wrong[0]!r}. Choose another name."
        )
    if wrong := [name for name in names if name in RESERVED]:
        raise InputError(f"{owner} may not be named {', '.join(wrong)}: it has a meaning of its own. Choose another.")
