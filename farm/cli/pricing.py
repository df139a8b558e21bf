"""What GPU time costs, by the setting gpu_hour_price."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from farm.settings import Settings, SettingsInvalid

_PRICE = re.compile(r"(?P<amount>\d+(\.\d+)?)\s*(?P<currency>[^\W\d_]{1,8}|[$€£¥]?)")


@dataclass(frozen=True)
class Price:
    """Of an hour of one GPU."""

    amount: float
    currency: str

    @classmethod
    def read(cls, text: str) -> Self:
        """From a setting such as `2.50 EUR`. Raises SettingsInvalid."""
        match = _PRICE.fullmatch(text.strip())
        if match is None:
            raise SettingsInvalid(
                f"gpu_hour_price is {text!r}; allowed: a number and a currency, such as 2.50 EUR"
            )
        return cls(float(match["amount"]), match["currency"])

    def of(self, gpu_s: float) -> float:
        """What so many GPU seconds cost."""
        return self.amount * gpu_s / 3600

    def told(self, gpu_s: float) -> str:
        """The same for people: to the cent, what is less as that."""
        cost = self.of(gpu_s)
        amount = "less than 0.01" if 0 < cost < 0.01 else f"{cost:,.2f}"
        return f"{amount} {self.currency}".rstrip()


def find_price() -> Price | None:
    """That of the setting; None where it is unset. Raises SettingsInvalid."""
    text = Settings.load().find("gpu_hour_price", None)
    return None if text is None else Price.read(str(text))
