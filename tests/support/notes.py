"""A progress reporter that keeps the notes it receives."""

from median_spark import SilentProgress


class Notes(SilentProgress):
    def __init__(self):
        self.said = []

    def note(self, text):
        self.said.append(text)
