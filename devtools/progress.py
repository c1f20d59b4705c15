"""A progress bar for a terminal, and a few plain lines where there is none."""

import sys
import time

WIDTH = 28


class ProgressBar:
    """Draws one bar for the node at work; call it with (title, value, maximum), then `finish`."""

    def __init__(self, stream=None):
        """Write to the stream, standard output by default."""
        self.stream = stream or sys.stdout
        self.terminal = self.stream.isatty()
        self.started = time.monotonic()
        self.title, self.since, self.quarter = None, self.started, -1

    def __call__(self, title: str, value: int, maximum: int) -> None:
        """Show that the node of this title is at `value` of `maximum` (0 of 0: it has only begun)."""
        if title != self.title:
            self._end_line()
            self.title, self.since, self.quarter = title, time.monotonic(), -1
        if self.terminal:
            self.stream.write("\r\033[K" + self.line(value, maximum))
        elif maximum and 4 * value // maximum > self.quarter:
            self.quarter = 4 * value // maximum
            self.stream.write(self.line(value, maximum) + "\n")
        self.stream.flush()

    def line(self, value: int, maximum: int) -> str:
        """The bar as text: filled part, count, title, seconds in this node."""
        full = WIDTH * value // maximum if maximum else 0
        count = f"{value}/{maximum}" if maximum else "..."
        seconds = time.monotonic() - self.since
        return f"  [{'#' * full}{'.' * (WIDTH - full)}] {count:>7}  {self.title}  {seconds:.1f} s"

    def finish(self) -> float:
        """End the bar's line; the seconds since the bar was made."""
        self._end_line()
        self.title = None
        return time.monotonic() - self.started

    def _end_line(self) -> None:
        """Leave the last bar standing and go to a new line."""
        if self.terminal and self.title is not None:
            self.stream.write("\n")
            self.stream.flush()
