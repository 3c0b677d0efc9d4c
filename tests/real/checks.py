"""What a check may say, and the list of what was said."""
import time


class Fail(Exception):
    """The proxy did something else than was expected."""


class Skip(Exception):
    """The check needs something this machine has not got; the text says how to get it."""


def need(condition, otherwise):
    if not condition:
        raise Fail(otherwise)


class Report:
    """Runs checks one after the other, prints a line for each, and keeps count."""

    def __init__(self):
        self.passed, self.failed, self.skipped = [], [], []

    def check(self, name, function, *arguments):
        """True unless the check failed. A check returns a note to print, or None."""
        start = time.monotonic()
        try:
            verdict, note, rows = "PASS", function(*arguments) or "", self.passed
        except Skip as why:
            verdict, note, rows = "SKIP", str(why), self.skipped
        except Fail as why:
            verdict, note, rows = "FAIL", str(why), self.failed
        except Exception as why:  # a client library's own complaint is a failure of the check
            verdict, note, rows = "FAIL", "%s: %s" % (type(why).__name__, str(why)[:300]), self.failed
        note = " ".join(note.split())
        note = note if len(note) < 400 else note[:400] + "…"
        rows.append((name, note))
        print("%s %-44s %6.1fs  %s" % (verdict, name, time.monotonic() - start, note), flush=True)
        return verdict != "FAIL"

    def close(self):
        """Prints the totals; the exit code."""
        for name, note in self.failed:
            print("failed: %s: %s" % (name, note))
        reasons = {}
        for name, note in self.skipped:
            reasons.setdefault(note, []).append(name)
        for note, names in reasons.items():
            print("skipped: %s (%d of the real tests: %s)" % (note, len(names), ", ".join(names)))
        print("real: %d passed, %d failed, %d skipped" % (len(self.passed), len(self.failed), len(self.skipped)), flush=True)
        return 1 if self.failed else 0
