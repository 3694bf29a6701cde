"""Types of command-line arguments: keys, dates, places in a log; and days as the ledger counts them."""

from __future__ import annotations

import datetime
import re

import click

from cli.language import say
from ledger.names import Place, is_era

EPOCH = datetime.date(1970, 1, 1)

_HEX32 = re.compile("[0-9a-f]{64}")
_ISO = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}")


class Hex32(click.ParamType[bytes]):
    """32 bytes in hex: a key, a hash, a ledger id."""

    name = "HEX"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> bytes:
        """Return the bytes."""
        if isinstance(value, bytes):
            return value
        text = str(value).strip().lower()
        if not _HEX32.fullmatch(text):
            self.fail(say("argument.hex", value=repr(value)), param, ctx)
        return bytes.fromhex(text)


class IsoDate(click.ParamType[datetime.date]):
    """A date such as 2026-09-01."""

    name = "DATE"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime.date:
        """Return the date."""
        if isinstance(value, datetime.date):
            return value
        try:
            day = datetime.date.fromisoformat(str(value)) if _ISO.fullmatch(str(value)) else None
        except ValueError:
            day = None
        if day is None:
            self.fail(say("argument.date", value=repr(value)), param, ctx)
        return day


class LogPlace(click.ParamType[Place]):
    """A position in an agency's log: ERA:INDEX."""

    name = "ERA:INDEX"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Place:
        """Return the place."""
        if isinstance(value, Place):
            return value
        era, _, index = str(value).partition(":")
        if not is_era(era) or not re.fullmatch("[0-9]{1,15}", index):
            self.fail(say("argument.place", value=repr(value)), param, ctx)
        return Place(int(era), int(index))


HEX32 = Hex32()
ISO_DATE = IsoDate()
LOG_PLACE = LogPlace()


def day_number(day: datetime.date) -> int:
    """Return days since 1970, as entries and grants count them."""
    return (day - EPOCH).days


def day_of(number: int) -> datetime.date:
    """Return the date of a day since 1970; the last that the calendar has for any beyond it."""
    return EPOCH + datetime.timedelta(days=min(number, (datetime.date.max - EPOCH).days))


def hour_text(hour: int) -> str:
    """Return an hour since 1970 as people read it: ``2026-09-04 13h``."""
    return f"{day_of(hour // 24).isoformat()} {hour % 24:02}h"
