"""Many annotations at once from a file, of which everything that is wrong is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from wkdvid.core.annotations import Annotation
from wkdvid.export.annotations import csv_form, nml
from wkdvid.export.annotations.rows import SHOWN, Found, Right, Wrong

Read: TypeAlias = Callable[[bytes, str], Iterator[Found]]
FORMS: Mapping[str, Read] = {"csv": csv_form.read, "nml": nml.read}
MOST_TOLD = 1000
"""Problems that are told one by one."""


@dataclass(frozen=True, slots=True)
class Source:
    form: str
    """One of ``FORMS``."""
    body: bytes
    email: str
    """Who brings it: whose what is that does not say."""
    for_others: bool
    """Whether that user may add what is others'."""

    def __iter__(self) -> Iterator[Annotation]:
        """What is right. Each time it is read anew: values take many times the memory of the file."""
        return (one.annotation for one in self._found() if isinstance(one, Right))

    def check(self) -> Report:
        """
        Raises:
            InvalidRequest: it is not of its form at all, or from some line on.
        """
        report = Report()
        for one in self._found():
            report.add(one)
        return report

    def _found(self) -> Iterator[Found]:
        for one in FORMS[self.form](self.body, self.email):
            if isinstance(one, Right) and one.annotation.email != self.email and not self.for_others:
                who = one.annotation.email[:SHOWN]
                yield Wrong(one.line, f"user: no permission to add annotations for {who}")
            else:
                yield one


@dataclass(slots=True)
class Report:
    right: int = 0
    wrong: int = 0
    told: list[Wrong] = field(default_factory=list)
    """The first of what is wrong."""

    def add(self, one: Found) -> None:
        if isinstance(one, Right):
            self.right += 1
            return
        self.wrong += 1
        if len(self.told) < MOST_TOLD:
            self.told.append(one)

    @property
    def problems(self) -> list[Wrong]:
        """Those that are told, and how many are not."""
        rest = self.wrong - len(self.told)
        return [*self.told, Wrong(self.told[-1].line, f"{rest} more are wrong behind this one")] if rest else self.told

    def document(self, imported: int) -> Mapping[str, Any]:
        errors = [{"line": one.line, "problem": one.problem} for one in self.problems]
        return {"imported": imported, "right": self.right, "wrong": self.wrong, "errors": errors}
