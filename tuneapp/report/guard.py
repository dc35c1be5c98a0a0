"""What is only for show never costs a result."""

from collections.abc import Iterator
from contextlib import contextmanager

from tuneapp.errors import TuneappError
from tuneapp.report.tables import one_line


class LeftOut:
    """Collects what could not be made, one line per part."""

    def __init__(self) -> None:
        self.by_part: dict[str, str] = {}  # part -> a sentence that says what is left out, and why

    @property
    def lines(self) -> list[str]:
        return list(self.by_part.values())

    @contextmanager
    def guard(self, part: str) -> Iterator[None]:
        """An exception within ends the block alone, and becomes the part's line."""
        try:
            yield
        except Exception as error:  # whatever it is: the results are worth more than how they look
            reason = str(error) if isinstance(error, TuneappError) else f"{type(error).__name__}: {error}"
            line = f"{part} could not be made and is left out ({one_line(reason, 160)})."
            self.by_part[part] = line[0].upper() + line[1:] if part.startswith("the ") else line
