"""Figures side by side: told as they come, and as one table at the end."""

import dataclasses


@dataclasses.dataclass
class Line:
    unit: str
    figures: dict[str, float]
    target: float | None = None
    # What the target is, if it is another's figure.
    reason: str = ""

    def is_missed(self, name: str) -> bool:
        return self.target is not None and self.figures[name] > self.target

    def verdict(self, name: str) -> str:
        return "OVER" if self.is_missed(name) else "within"


class Table:
    """One line a question, one column for each who answered; the target is for one of them."""

    def __init__(self, judged: str):
        self.judged = judged
        self.lines: dict[str, Line] = {}

    def add(self, title: str, unit: str, figures: dict[str, float]) -> None:
        """Another's figures of the same question join those that are known."""
        self.lines.setdefault(title, Line(unit, {})).figures.update(figures)
        told = ", ".join(f"{name} {value:.3g} {unit}".rstrip() for name, value in figures.items())
        print(f"{title}: {told}", flush=True)

    def judge(self, title: str, target: float, reason: str = "") -> None:
        line = self.lines[title]
        line.target, line.reason = target, reason
        print(f"  target {target:.3g} {line.unit}".rstrip() + f"{f' ({reason})' if reason else ''}: "
              f"{line.verdict(self.judged)}", flush=True)

    def missed(self) -> list[str]:
        return [title for title, line in self.lines.items() if line.is_missed(self.judged)]

    def __str__(self) -> str:
        """In Markdown."""
        names = list(dict.fromkeys(name for line in self.lines.values() for name in line.figures))
        others = [name for name in names if name != self.judged]
        head = ["what", self.judged, "target", *others]
        rows = [head, ["---"] * len(head)]
        for title, line in self.lines.items():
            cells = [title, cell(line.figures[self.judged], line.unit)]
            if line.target is None:
                cells.append("")
            else:
                limit = f"{line.reason}: {line.verdict(self.judged)}" if line.reason else \
                    f"{cell(line.target, line.unit)}: {line.verdict(self.judged)}"
                cells.append(limit)
            cells += [cell(line.figures[name], line.unit) if name in line.figures else "" for name in others]
            rows.append(cells)
        return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def cell(value: float, unit: str) -> str:
    return f"{value:.3g} {unit}".rstrip()
