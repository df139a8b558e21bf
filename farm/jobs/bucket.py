"""A token bucket: so many a minute, those of a minute at once."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Bucket:
    """Holds at most `per_minute` requests, and is filled evenly."""

    per_minute: int
    left: float
    filled_s: float

    @classmethod
    def full(cls, per_minute: int, now_s: float) -> Bucket:
        """One that nobody has taken of."""
        return cls(per_minute, per_minute, now_s)

    def limit(self, per_minute: int) -> None:
        """Changes how much it holds; what was taken stays taken."""
        if per_minute != self.per_minute:
            self.left = min(self.left + max(0, per_minute - self.per_minute), per_minute)
            self.per_minute = per_minute

    def take(self, now_s: float) -> float:
        """Takes one, and returns 0; where there is none, takes none: in so many s there is one."""
        rate = self.per_minute / 60
        self.left = min(self.per_minute, self.left + max(0.0, now_s - self.filled_s) * rate)
        self.filled_s = now_s
        if self.left >= 1:
            self.left -= 1
            return 0.0
        return (1 - self.left) / rate if rate else float("inf")
