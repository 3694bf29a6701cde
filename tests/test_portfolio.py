"""ledger.portfolio: the record verdict, each of its rules broken once on purpose.

An attack takes a pupil who is enrolled in school-1 and told, and returns one record (with its author, if
it is not the clerk of school-1). Exactly the rules expected are broken, and the portfolio is as before.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

from ledger.governance import Scope
from ledger.leaf import HOUR_MAX
from ledger.portfolio import Portfolio, RecordAuthor, add, judge, order_in_entry
from ledger.record import Basis, Record
from ledger.rules import Violation
from ledger.statute import Statute, default_statute_json, parse_statute
from tests.attacks import Attack, collector
from tests.world import DAY, record

ATTACKS: list[Attack] = []
attack = collector(ATTACKS)

STATUTE: Statute = parse_statute(default_statute_json())
ALL_KINDS = tuple(sorted(STATUTE.kinds))
TODAY, TOMORROW, IN_TWO_DAYS = "2026-09-04", "2026-09-05", "2026-09-06"
FIRST_DAY = "2026-09-01"


def staff(role: str = "clerk", unit: str = "school-1", kinds: tuple[str, ...] = ALL_KINDS) -> RecordAuthor:
    """Somebody with one scope."""
    return RecordAuthor(office="staff", scopes=(Scope(role=role, unit=unit, kinds=kinds),))


CLERK = staff()
DESK = RecordAuthor(office="desk")


@dataclass
class Pupil:
    """A pupil under test: what was recorded, and a way to go on."""

    portfolio: Portfolio

    def take(self, one: Record, author: RecordAuthor = CLERK) -> Record:
        """Add a record that must be valid."""
        found = self.judge(one, author)
        assert found == [], found
        self.portfolio = add(self.portfolio, one)
        return one

    def judge(self, one: Record, author: RecordAuthor = CLERK, day: int = DAY) -> list[Violation]:
        """What a record breaks."""
        return judge(self.portfolio, one, author, day=day)


def newcomer() -> Pupil:
    """A pupil of whom nothing is known."""
    return Pupil(Portfolio(statute=STATUTE))


def pupil(**enrolment: Any) -> Pupil:
    """A pupil whose family was told and who is enrolled in school-1."""
    anna = newcomer()
    anna.take(record("notice"))
    anna.take(record("enrolment", **enrolment))
    return anna


def withdrawal(of: Record, reason: str = "entered_in_error", **changes: Any) -> Record:
    """The withdrawal of a record."""
    basis = changes.pop("basis", of.basis)
    return record(of.kind, number=900, supersedes=of.hash, basis=basis, reason_code=reason, **changes)


def exam(**fields: Any) -> Record:
    """An exam's result."""
    return record(**({"number": 50, "result_type": "exam_oge", "term": "year"} | fields))


EXAMINER = staff("examiner", "*")


def consent(**fields: Any) -> Record:
    """A consent that names references."""
    values: dict[str, Any] = {
        "purpose": "admission",
        "kinds": ["reference", "subject_result"],
        "recipient": "centre",
        "valid_from": FIRST_DAY,
        "valid_until": "2027-05-31",
        "text_hash": "cd" * 32,
        "lang": "ru",
    }
    return record("consent", **(values | fields))


def consent_withdrawal(of: Record) -> Record:
    """The family takes a consent back."""
    fields = {"target": of.hash.hex(), "channel": "paper", "received_on": TODAY}
    return record("consent_withdrawal", **fields)


def under(consent_record: Record, **fields: Any) -> Record:
    """A result that rests on a consent."""
    return record(basis=Basis(consent=consent_record.hash), **fields)


def award(**fields: Any) -> Record:
    """A prize."""
    values = {"event_code": "olymp-1", "level": "regional", "status": "winner", "date": TODAY}
    return record("contest_award", **(values | fields))


@pytest.mark.parametrize("case", ATTACKS, ids=str)
def test_the_attack_is_named_and_changes_nothing(case: Attack) -> None:
    """Every refusal names its rule; the portfolio is as before and a right record still goes in."""
    anna = newcomer() if case.options.get("new") else pupil()
    made = case.make(anna)
    one, author = made if isinstance(made, tuple) else (made, CLERK)
    before = replace(anna.portfolio, live=dict(anna.portfolio.live))
    found = anna.judge(one, author)
    names = [each.rule.name for each in found]
    assert case.rule in names
    assert set(names) <= {case.rule} | case.also
    assert all(each.record == one.hash for each in found)
    assert anna.portfolio == before
    anna.take(record("notice", number=66, text_hash="ef" * 32))


@attack("record.kind")
def a_kind_that_is_not_on_the_list(anna: Pupil) -> Record:
    """What is not on the list cannot be recorded."""
    return record("behaviour", basis=Basis(act="273-fz"), remark="rude")


@attack("record.kind")
def padding_as_a_record(anna: Pupil) -> Record:
    """Padding says nothing of anybody."""
    return record("padding", basis=Basis(act="273-fz"))


@attack("record.fields")
def a_field_that_the_kind_has_not(anna: Pupil) -> Record:
    """A remark beside the grade."""
    return record(remark="lazy")


@attack("record.fields")
def a_value_outside_of_its_scale(anna: Pupil) -> Record:
    """ru5 has no six."""
    return record(value="6")


@attack("record.fields")
def a_list_in_place_of_a_value(anna: Pupil) -> Record:
    """A type that later rules would stumble over."""
    return record("enrolment", number=2, date=[FIRST_DAY])


@attack("record.fields")
def a_withdrawal_with_a_story_in_place_of_a_reason(anna: Pupil) -> Record:
    """A reason is one of four codes, never a text about the pupil."""
    return withdrawal(anna.take(record()), "she copied from Boris")


@attack("record.fields")
def a_withdrawal_of_nothing(anna: Pupil) -> Record:
    """A withdrawal names what it takes back."""
    return record(basis=Basis(act="273-fz"), reason_code="court")


@attack("record.period")
def a_period_that_is_not_that_of_the_fields(anna: Pupil) -> Record:
    """A result of one year filed under another."""
    return record(period="2025/2026")


@attack("record.period")
def a_name_in_place_of_a_period(anna: Pupil) -> Record:
    """A kind without a date has a period too, and it is no place for a text."""
    return record("alias", period="Иванов Иван", other_subject="ab" * 16)


@attack("record.period")
def a_period_of_two_years_apart(anna: Pupil) -> Record:
    """A school year is two years in a row."""
    return withdrawal(anna.take(record()), period="2026/2028")


@attack("record.date")
def a_date_in_the_future(anna: Pupil) -> Record:
    """Nothing has happened the day after tomorrow."""
    return award(date=IN_TWO_DAYS)


@attack("record.date")
def a_date_before_the_first_enrolment(anna: Pupil) -> Record:
    """What happened before the child came belongs to another agency."""
    return award(date="2026-08-31", period="2025/2026")


@attack("record.date")
def a_notice_shown_in_the_future(anna: Pupil) -> Record:
    """The family was told, not: will be told."""
    return record("notice", number=3, shown_on=IN_TWO_DAYS, text_hash="12" * 32)


@attack("record.notice", new=True)
def a_record_before_its_notice(anna: Pupil) -> Record:
    """No record about a child before its family was told."""
    return record("enrolment")


@attack("record.notice")
def a_record_after_the_notice_was_withdrawn(anna: Pupil) -> Record:
    """The notice went to another family."""
    notice = next(one for one in anna.portfolio.live.values() if one.kind == "notice")
    anna.take(withdrawal(notice, "misfiled"))
    return record()


@attack("record.enrolment", new=True, also=("record.scope",))
def a_result_without_an_enrolment(anna: Pupil) -> Record:
    """A school writes of its own pupils."""
    anna.take(record("notice"))
    return record()


@attack("record.declined")
def a_result_of_a_declined_pupil(anna: Pupil) -> Record:
    """The family said no: only what a law requires follows."""
    decline(anna)
    return record()


@attack("record.declined")
def a_result_of_a_declined_pupil_under_a_consent(anna: Pupil) -> Record:
    """A consent for one purpose does not undo the no."""
    given = anna.take(consent())
    decline(anna)
    return under(given)


@attack("record.declined")
def a_correction_of_an_old_enrolment_that_would_undo_the_no(anna: Pupil) -> Record:
    """Correcting last year's enrolment does not make it the newest."""
    old = anna.portfolio.enrolments[0]
    decline(anna)
    anna.take(record("enrolment", number=4, supersedes=old.hash, class_level=8))
    return record()


def decline(anna: Pupil) -> Record:
    """A new enrolment with the family's no."""
    return anna.take(record("enrolment", number=2, date=TODAY, profile="declined"))


@attack("record.scope")
def a_role_that_does_not_write_the_kind(anna: Pupil) -> tuple[Record, RecordAuthor]:
    """A coach gives no grades."""
    return record(), staff("coach")


@attack("record.scope")
def a_kind_outside_of_the_scope(anna: Pupil) -> tuple[Record, RecordAuthor]:
    """A grant for attendance is none for grades."""
    return record(), staff(kinds=("attendance_summary",))


@attack("record.scope")
def a_clerk_of_another_unit(anna: Pupil) -> tuple[Record, RecordAuthor]:
    """School-2 writes of a pupil of school-1."""
    return record(), staff(unit="school-2")


@attack("record.scope")
def an_author_without_an_opened_scope(anna: Pupil) -> tuple[Record, RecordAuthor]:
    """A commitment that nobody opens gives no right."""
    return record(), RecordAuthor(office="staff")


@attack("record.scope")
def half_of_two_scopes(anna: Pupil) -> tuple[Record, RecordAuthor]:
    """The role of one grant and the unit of another make no third."""
    scopes = (*staff("clerk", "school-2").scopes, *staff("coach", "school-1").scopes)
    return record(), RecordAuthor(office="staff", scopes=scopes)


@attack("record.scope")
def an_enrolment_into_a_unit_of_others(anna: Pupil) -> tuple[Record, RecordAuthor]:
    """An enrolment is judged by the unit that it names."""
    return record("enrolment", number=2, org_id="school-2", date=TODAY), CLERK


@attack("record.scope")
def a_correction_that_takes_a_pupil_over(anna: Pupil) -> tuple[Record, RecordAuthor]:
    """School-2 'corrects' the enrolment in school-1 into one of its own."""
    old = anna.portfolio.enrolments[0]
    return record("enrolment", number=2, supersedes=old.hash, org_id="school-2"), staff(unit="school-2")


@attack("record.scope")
def a_teacher_who_corrects_an_exam_into_a_term(anna: Pupil) -> Record:
    """An exam is the examiner's; correcting it into another type would take it away."""
    stands = anna.take(exam(), EXAMINER)
    return record(number=51, supersedes=stands.hash, term="year", result_type="year")


@attack("record.scope")
def an_examiner_who_corrects_a_term_into_an_exam(anna: Pupil) -> tuple[Record, RecordAuthor]:
    """Nor does an examiner reach into the school's results."""
    stands = anna.take(record())
    return exam(supersedes=stands.hash), EXAMINER


@attack("record.scope")
def a_teacher_who_withdraws_an_exam(anna: Pupil) -> Record:
    """A withdrawal is judged as what it takes back."""
    return withdrawal(anna.take(exam(), EXAMINER))


@attack("record.scope")
def the_desk_giving_grades(anna: Pupil) -> tuple[Record, RecordAuthor]:
    """The node writes what families and the node do, nothing about school."""
    return record(), DESK


@attack("record.scope")
def staff_granted_the_role_of_the_desk(anna: Pupil) -> tuple[Record, RecordAuthor]:
    """A registrar grants a friend the node's role: requests and access records could be forged."""
    fields = {"type": "erase", "received_on": TODAY, "deadline": "2026-10-04", "state": "open"}
    return record("request", **fields), staff("desk", "*")


@attack("record.scope")
def a_clerk_of_the_unit_that_the_pupil_has_left(anna: Pupil) -> Record:
    """After the pupil began in school-2, school-1 writes no more."""
    move_to_school_2(anna)
    return record()


@attack("record.scope")
def an_old_school_that_corrects_itself_back(anna: Pupil) -> Record:
    """Correcting the enrolment that was left does not make the pupil its own again."""
    old = anna.portfolio.enrolments[0]
    move_to_school_2(anna)
    anna.take(record("enrolment", number=4, supersedes=old.hash, class_level=8))
    return record()


def move_to_school_2(anna: Pupil) -> Record:
    """A transfer, and the enrolment in the new school."""
    left = anna.take(transfer())
    anna.take(record("enrolment", number=2, org_id="school-2", date=TODAY), staff(unit="school-2"))
    return left


def transfer(**changes: Any) -> Record:
    """The pupil leaves school-1."""
    fields = {"from_org": "school-1", "to_org": "school-2", "exit_type": "transferred", "date": TODAY}
    return record("transfer", **(fields | changes))


@attack("record.basis")
def another_act_than_that_of_the_kind(anna: Pupil) -> Record:
    """A law about something else."""
    return record(basis=Basis(act="152-fz"))


@attack("record.basis")
def a_consent_for_what_a_law_requires(anna: Pupil) -> Record:
    """What rests on law cannot be made to hang on a consent."""
    given = anna.take(consent())
    return record("enrolment", number=2, date=TODAY, basis=Basis(consent=given.hash))


@attack("record.basis")
def a_consent_that_is_not_there(anna: Pupil) -> Record:
    """A hash of nothing."""
    return record(basis=Basis(consent=bytes(32)))


@attack("record.basis")
def another_record_as_the_consent(anna: Pupil) -> Record:
    """A grade is no consent."""
    stands = anna.take(record(term="q2", number=8))
    return under(stands)


@attack("record.basis")
def a_consent_that_is_not_yet_in_force(anna: Pupil) -> Record:
    """From tomorrow on."""
    return under(anna.take(consent(valid_from=TOMORROW)))


@attack("record.basis")
def a_consent_that_has_ended(anna: Pupil) -> Record:
    """Until yesterday."""
    return under(anna.take(consent(valid_until="2026-09-03")))


@attack("record.basis")
def a_consent_that_was_withdrawn(anna: Pupil) -> Record:
    """The family took it back."""
    given = anna.take(consent())
    anna.take(consent_withdrawal(given))
    return under(given)


@attack("record.basis")
def a_consent_that_was_corrected(anna: Pupil) -> Record:
    """The old form of a consent holds no more."""
    given = anna.take(consent())
    anna.take(replace_number(consent(kinds=["reference"]), given))
    return under(given)


def replace_number(one: Record, old: Record) -> Record:
    """The record as a correction of ``old``."""
    return record(one.kind, number=700, supersedes=old.hash, **one.fields)


@attack("record.basis")
def a_consent_that_does_not_name_the_kind(anna: Pupil) -> Record:
    """A consent for references is none for grades."""
    return under(anna.take(consent(kinds=["reference"])))


@attack("record.basis", also=("record.scope",))
def a_reference_without_a_consent(anna: Pupil) -> tuple[Record, RecordAuthor]:
    """What rests on consent only. (Nobody may write the kind at all, by default.)"""
    return reference(Basis(act="273-fz")), CLERK


def reference(basis: Basis) -> Record:
    """That another registry holds something."""
    fields = {"registry_code": "gto_register", "opaque_handle": "ab" * 16, "valid_until": "2027-01-01"}
    return record("reference", basis=basis, **fields)


@attack("record.supersedes", also=("record.identity",))
def a_correction_of_a_record_that_is_not_live(anna: Pupil) -> Record:
    """Twice corrected would leave two truths."""
    first = anna.take(record())
    anna.take(record(number=2, supersedes=first.hash, value="4"))
    return record(number=3, supersedes=first.hash, value="3")


@attack("record.supersedes")
def a_correction_of_another_pupils_record(anna: Pupil) -> Record:
    """Another pupil's record is not in this portfolio, whatever its hash."""
    boris = pupil()
    stands = boris.take(record(subject="boris"))
    return record(supersedes=stands.hash, value="2")


@attack("record.supersedes")
def a_correction_into_another_kind(anna: Pupil) -> Record:
    """An award cannot take the place of a grade."""
    stands = anna.take(record())
    return award(supersedes=stands.hash)


@attack("record.supersedes")
def a_withdrawal_of_a_withdrawn_record(anna: Pupil) -> Record:
    """There is nothing left to take back."""
    stands = anna.take(record())
    anna.take(withdrawal(stands))
    return withdrawal(stands, "court")


@attack("record.identity")
def the_same_correction_twice(anna: Pupil) -> Record:
    """A colleague signs again what was handed over, and the first copy had been taken."""
    stands = anna.take(record())
    anna.take(record(number=2, supersedes=stands.hash, value="4"))
    return record(number=3, supersedes=stands.hash, value="4")


@attack("record.identity")
def the_same_withdrawal_twice(anna: Pupil) -> Record:
    """A withdrawal has no identity of its own, and is known again all the same."""
    stands = anna.take(record())
    anna.take(withdrawal(stands))
    return withdrawal(stands)


@attack("record.identity")
def the_same_fact_twice(anna: Pupil) -> Record:
    """Two teachers import one list."""
    anna.take(record())
    return record(number=2)


@attack("record.identity")
def another_value_of_the_same_fact(anna: Pupil) -> Record:
    """A better grade beside the one that stands."""
    anna.take(record())
    return record(number=2, value="4")


@attack("record.identity")
def a_correction_onto_another_fact_that_stands(anna: Pupil) -> Record:
    """Term 2 corrected into a second term 1."""
    anna.take(record())
    second = anna.take(record(number=2, term="q2"))
    return record(number=3, supersedes=second.hash, term="q1", value="3")


# What must go


def names(found: list[Violation]) -> list[str]:
    """The rules that were named."""
    return [one.rule.name for one in found]


def test_a_conflict_names_what_stands_and_whether_it_says_the_same() -> None:
    """Equal ones are dropped by the tool, others are shown to the person."""
    anna = pupil()
    stands = anna.take(record())
    [equal] = anna.judge(record(number=2))
    [other] = anna.judge(record(number=2, value="4"))
    assert (equal.standing, equal.is_equal) == (stands.hash, True)
    assert (other.standing, other.is_equal) == (stands.hash, False)


def test_a_fact_that_was_corrected_to_the_same_content_is_equal() -> None:
    """A list imported again after a correction adds nothing and alarms nobody."""
    anna = pupil()
    first = anna.take(record(value="4"))
    anna.take(record(number=2, supersedes=first.hash))
    [found] = anna.judge(record(number=3))
    assert found.is_equal


def test_after_a_withdrawal_the_identity_is_free_again() -> None:
    """A grade entered for the wrong pupil makes room for the right one."""
    anna = pupil()
    anna.take(withdrawal(anna.take(record())))
    anna.take(record(number=2, value="3"))


def test_a_correction_may_keep_its_identity() -> None:
    """That is what a correction is."""
    anna = pupil()
    stands = anna.take(record())
    corrected = anna.take(record(number=2, supersedes=stands.hash, value="4"))
    assert corrected.hash in anna.portfolio.live and stands.hash not in anna.portfolio.live


def test_exams_survive_the_familys_no() -> None:
    """Exams rest on law."""
    anna = pupil(profile="declined")
    anna.take(exam(), EXAMINER)


def test_a_declined_family_can_have_a_record_taken_back() -> None:
    """The no must not protect an error from its withdrawal."""
    anna = pupil()
    stands = anna.take(record())
    decline(anna)
    anna.take(withdrawal(stands))
    assert stands.hash not in anna.portfolio.live


def test_what_rested_on_a_consent_can_be_taken_back_after_it() -> None:
    """The end of a consent must not fix what was written under it."""
    anna = pupil()
    given = anna.take(consent())
    stands = anna.take(under(given))
    anna.take(consent_withdrawal(given))
    anna.take(withdrawal(stands))


def test_the_last_unit_may_still_correct() -> None:
    """A pupil who left, and is nowhere else, is still that of the last school."""
    anna = pupil()
    stands = anna.take(record())
    anna.take(transfer())
    anna.take(record(number=2, supersedes=stands.hash, value="4"))
    assert names(anna.judge(record(number=3, term="q2"), staff(unit="school-2"))) == ["record.scope"]


def test_a_withdrawn_transfer_did_not_happen() -> None:
    """The pupil of another class was meant: this one is still here."""
    anna = pupil()
    left = move_to_school_2(anna)
    anna.take(withdrawal(left), staff(unit="*"))
    assert anna.portfolio.units == {"school-1", "school-2"}
    anna.take(record())


def test_a_corrected_transfer_leaves_the_school_that_it_names_now() -> None:
    """Only the live form of a transfer counts."""
    anna = pupil()
    anna.take(record("enrolment", number=2, org_id="school-2", date=TODAY), staff(unit="school-2"))
    left = anna.take(transfer())
    fixed = transfer(number=5, from_org="school-2", to_org="school-1", supersedes=left.hash)
    anna.take(fixed, staff(unit="*"))
    assert anna.portfolio.units == {"school-1"}


def test_a_pupil_who_comes_back_is_enrolled_again() -> None:
    """Order decides, not how often."""
    anna = pupil()
    anna.take(transfer())
    anna.take(record("enrolment", number=2, date=TODAY, entry_type="re_entry"))
    assert anna.portfolio.units == {"school-1"}
    anna.take(record())


def test_a_withdrawn_enrolment_gives_the_one_before_its_word_back() -> None:
    """Profile and unit are those of the newest enrolment that stands."""
    anna = pupil()
    no = decline(anna)
    assert anna.portfolio.is_declined
    anna.take(withdrawal(no))
    assert not anna.portfolio.is_declined
    anna.take(record())


def test_an_office_of_the_whole_agency_writes_in_every_unit() -> None:
    """``*`` is every unit, and no more roles or kinds than granted."""
    anna = pupil()
    anna.take(record(), staff(unit="*"))
    assert names(anna.judge(award(), staff("coach", "*"))) == ["record.scope"]


def test_a_date_of_the_day_after_is_taken() -> None:
    """Kamchatka is half a day ahead of UTC."""
    anna = pupil()
    anna.take(award(date=TOMORROW))


def test_kinds_that_are_not_bound_to_a_unit_need_no_enrolment() -> None:
    """A federation enrols nobody; it tells the family."""
    anna = newcomer()
    anna.take(record("notice"))
    anna.take(award(), staff("clerk", "anywhere"))


def test_records_of_an_entry_are_judged_in_one_order() -> None:
    """Notice, enrolment, keys, then by hash: whoever made the list, in whatever order."""
    family = record("family_keys", keys=[])
    grades = sorted((record(number=n, term=f"q{n}") for n in (1, 2, 3)), key=lambda one: one.hash)
    expected = [record("notice"), record("enrolment"), family, *grades]
    assert order_in_entry(reversed(expected)) == expected
    anna = newcomer()
    for one in (expected[0], expected[1], *grades):
        anna.take(one)


def test_an_hour_at_the_end_of_the_calendar_is_no_crash() -> None:
    """Whoever writes a log chooses its hours."""
    assert pupil().judge(award(), day=HOUR_MAX // 24) == []
