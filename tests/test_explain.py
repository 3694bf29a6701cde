"""pledger explain: every kind, field, word, role, purpose, rule and code, truly, in both languages."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from cli import language, output
from cli.explanation import explain
from cli.language import Message, catalogue, read_texts
from cli.main import pledger
from cli.topics import VOCABULARIES, Topic, branches_of, find, near, parts, text, topics, words_of
from ledger.governance import AUTHORS
from ledger.rules import RULES, Fault
from ledger.statute import Statute, default_statute_json, parse_statute
from ledger.vocabulary import (
    BASES,
    FORBIDDEN_PURPOSES,
    PURPOSES,
    RESERVED_KINDS,
    ROLES,
    WITHDRAWAL_REASONS,
)
from node import handlers
from node.protocol import ProblemAnswer
from tests.source_texts import ROOT, has_cyrillic
from tests.staff_side import connected
from tests.world import World

STATUTE = parse_statute(default_statute_json())
KINDS = [
    one for kind in STATUTE.kinds.values() for one in (kind, *([kind.variant.kind] if kind.variant else []))
]
FILES = ("kinds", "fields", "people", "rules")
TEXTS = [(file, key, one) for file in FILES for key, one in catalogue(file).items()]


def node_codes() -> set[str]:
    """The codes that a node answers with: those of its table, and those that it writes out."""
    found = {row[2] for row in handlers._STATUS}
    for path in (ROOT / "node").glob("*.py"):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "Problem":
                codes = [word.value for word in call.keywords if word.arg == "code"]
                found |= {str(one.value) for one in codes if isinstance(one, ast.Constant)}
    return found


def words() -> set[tuple[str, str]]:
    """Every word of every closed vocabulary in the list, with its field."""
    found = {(field, word) for _, field, part in parts(STATUTE) for word in words_of(part)}
    for kind, field, _ in parts(STATUTE):
        for part, _, _ in branches_of(STATUTE.kinds.get(kind), field):
            found |= {(field, word) for word in words_of(part)}
    return found | {("reason_code", word) for word in WITHDRAWAL_REASONS}


def needed() -> Iterator[tuple[str, str]]:
    """Every text that there must be: file and key."""
    yield from (("kinds", f"title.{name}") for name in STATUTE.kinds)
    for name in RESERVED_KINDS:
        key = f"public.{name.replace('.', '_')}"
        yield from (("kinds", key), ("kinds", f"{key}.title"))
    yield from (("kinds", f"act.{name}") for name in STATUTE.acts)
    yield from (("kinds", f"article.{kind.article}") for kind in KINDS)
    yield from (("kinds", f"office.{kind.office}") for kind in KINDS)
    yield from (("kinds", f"basis.{name}") for name in BASES)
    yield from (("fields", f"field.{field}") for _, field, _ in parts(STATUTE))
    yield from (("fields", f"word.{field}.{word}") for field, word in words() if field not in VOCABULARIES)
    for section, names in (("role", ROLES), ("purpose", PURPOSES)):
        yield from (("people", f"{part}.{name}") for name in names for part in (section, f"{section}_name"))
    for name in FORBIDDEN_PURPOSES:
        yield from (("people", f"forbidden.{name}"), ("people", f"forbidden.{name}.name"))
    yield from (("rules", f"fault.{name}") for name in Fault.__args__)
    yield from (("rules", f"rule.{name}.{part}") for name in RULES for part in ("means", "do"))
    yield from (("rules", f"code.{name}.{part}") for name in node_codes() for part in ("means", "do"))


NEEDED = sorted(set(needed()))


# The texts.


@pytest.mark.parametrize(("file", "key"), NEEDED, ids=[f"{file}:{key}" for file, key in NEEDED])
def test_everything_that_has_a_name_is_explained(file: str, key: str) -> None:
    """A new kind, field, word, rule or code without its explanation fails here."""
    assert text(file, key) is not None, f"cli/texts/{file}.toml has no {key} with en and ru"


@pytest.mark.parametrize(("file", "key", "message"), TEXTS, ids=[f"{one[0]}:{one[1]}" for one in TEXTS])
def test_no_text_is_empty_or_the_same_in_both_languages(file: str, key: str, message: Message) -> None:
    """Russian is Russian, English is English, and neither is a copy."""
    assert message.en.strip() and message.ru.strip() and message.en != message.ru
    assert has_cyrillic(message.ru), f"{file}: {key}"
    assert not has_cyrillic(message.en), f"{file}: {key}"
    assert "\n" not in message.en + message.ru


def test_nothing_is_explained_that_is_not_there() -> None:
    """A text whose rule or word has gone would be read by nobody, or believed."""
    known = {key for file, key in NEEDED} | {f"fault.{one}" for one in faults()}
    known |= {f"failure.{name}.{part}" for name in failures() for part in ("means", "do")}
    inside = {f"in.{kind}.{field}" for kind, field, _ in parts(STATUTE)}
    found = {key for file, key, _ in TEXTS if not key.startswith("code.")}
    assert found - known - inside == set()


def faults() -> set[str]:
    """Whose fault a code or error is, by the texts."""
    rules = read_texts("rules")
    return {one["fault"] for section in ("code", "failure") for one in rules[section].values()}


def failures() -> set[str]:
    """The names under which --json tells an error."""
    ours = {row[0].__name__ for row in output._FAILURES if row[0] is not OSError}
    return ours | {ProblemAnswer.__name__}


def test_every_error_that_json_names_is_explained() -> None:
    """A script's author looks the name up too."""
    assert failures() == set(read_texts("rules")["failure"])


def test_whose_fault_a_code_is_has_words() -> None:
    """As the table of rules has for its own."""
    assert [one for one in faults() if text("rules", f"fault.{one}") is None] == []


# What they say is so.


def command_words(
    made: click.Command = pledger, path: tuple[str, ...] = ()
) -> dict[tuple[str, ...], set[str]]:
    """Each command, as typed, with its options."""
    found = {path: {name for param in made.params for name in param.opts}}
    for name, one in made.commands.items() if isinstance(made, click.Group) else ():
        found |= command_words(one, (*path, name))
    return found


PROSE = {"alone", "command", "does", "erases", "fills", "here", "knows", "met", "ships", "wrote"}
"""Words behind the program's name that are no command: "pledger alone says ..."."""


@pytest.mark.parametrize("in_language", language.LANGUAGES)
def test_every_command_that_a_text_names_exists(in_language: language.Language) -> None:
    """Nobody is sent to a command or option that this version does not have."""
    known = command_words()
    messages = [("messages", *one) for one in catalogue("messages").items()]
    for file, key, message in [*TEXTS, *messages]:
        said = message.ru if in_language == "ru" else message.en
        for typed in re.findall(r"pledger((?: [a-z]+)+(?: --[a-z-]+)*)", said):
            names = tuple(word for word in typed.split() if not word.startswith("--"))
            path = next(names[:size] for size in range(len(names), -1, -1) if names[:size] in known)
            options = {word for word in typed.split() if word.startswith("--")}
            assert path or names[0] in PROSE, f"{file}: {key}: {typed}"
            assert options <= known[path] | {"--help"}, f"{file}: {key}: {typed}"


BOASTS = re.compile(r"\b(guarantee\w*|always|absolutely|unbreakable|гарант\w*|всегда|абсолютно)\b")
"""Words that no text keeps: what holds is said as what it is."""


@pytest.mark.parametrize(("file", "key", "message"), TEXTS, ids=[f"{one[0]}:{one[1]}" for one in TEXTS])
def test_no_text_boasts(file: str, key: str, message: Message) -> None:
    """A family takes each word as a promise."""
    assert not BOASTS.search(f"{message.en} {message.ru}".lower()), f"{file}: {key}"


def test_no_text_says_what_only_the_list_may_say() -> None:
    """Terms, roles and articles stand in the list: a second copy would sooner or later differ."""
    for file, key, message in TEXTS:
        if file == "fields" or key.startswith(("title.", "role.", "purpose.")):
            said = f"{message.en} {message.ru}"
            assert not re.search(r"\b(months|месяц|art\.|ст\.)\b|ФЗ", said), f"{file}: {key}"


def test_it_is_said_that_nothing_is_erased_yet_as_long_as_that_is_so() -> None:
    """Whoever builds the retention clock must change what families are told."""
    names = {word for path in command_words() for word in path}
    assert not names & {"erase", "erasure", "retention"}
    for key in ("explain.years", "explain.months"):
        assert "erases nothing by itself yet" in catalogue("messages")[key].en


def test_never_and_nowhere_are_those_of_the_code() -> None:
    """What no list can allow is said of every kind, by the names that the code refuses."""
    for topic in topics(STATUTE):
        if topic.sort == "kind":
            value = explain(topic, STATUTE).value
            assert value["never"] == list(FORBIDDEN_PURPOSES)
            assert "never" in value["text"]["en"] and "никогда" in value["text"]["ru"]


@pytest.mark.parametrize("in_language", language.LANGUAGES)
@pytest.mark.parametrize("name", STATUTE.kinds)
def test_a_kind_is_explained_by_the_list_at_hand(name: str, in_language: language.Language) -> None:
    """Act and article, office, writers, readers, term, identity and fields: from the list, and all of it."""
    language.use(in_language)
    kind = STATUTE.kinds[name]
    [topic] = [one for one in find(name, STATUTE) if one.sort == "kind"]
    shown = dict(explain(topic, STATUTE).rows)
    everything = " ".join(shown.values())
    act = STATUTE.acts[kind.act]
    assert act.number in everything and act.date in everything
    for key in (f"article.{kind.article}", f"office.{kind.office}", f"basis.{kind.basis}"):
        said = text("kinds", key)
        assert said is not None and said.in_language() in everything
    for role, purpose in (*kind.writers, *kind.readers):
        called = text("people", f"purpose_name.{purpose}")
        assert role in everything and called is not None and called.in_language() in everything
    years, months = divmod(kind.retention_months, 12)
    assert str(years if not months else kind.retention_months) in everything
    assert all(field in everything for field in (*kind.identity, *kind.fields))


def test_an_exam_is_explained_on_its_own_terms() -> None:
    """A variant has another act, other writers, and cannot be declined."""
    [topic] = find("subject_result", STATUTE)
    value = explain(topic, STATUTE).value["exception"]
    assert (value["field"], value["words"]) == ("result_type", ["exam_oge", "exam_ege"])
    assert (value["basis"], value["article"]) == ("law", "art. 59")
    assert value["written_by"] == [{"role": "examiner", "purpose": "certification"}]


@pytest.mark.parametrize("name", RESERVED_KINDS)
def test_a_public_record_is_explained_with_its_authors(name: str) -> None:
    """As the table of authors has them."""
    [topic] = [one for one in find(name, STATUTE) if one.sort == "public_kind"]
    assert explain(topic, STATUTE).value["written_by"] == sorted(AUTHORS.get(name, ()))


@pytest.mark.parametrize("name", RULES)
def test_a_rule_is_explained_with_its_fault(name: str) -> None:
    """As the table of rules has it."""
    [topic] = find(name, STATUTE)
    value = explain(topic, STATUTE).value
    assert (value["fault"], value["verdict"]) == (RULES[name].fault, RULES[name].verdict)
    assert value["do"]["en"] and value["do"]["ru"]


@pytest.mark.parametrize("in_language", language.LANGUAGES)
def test_every_topic_is_shown_without_a_gap(in_language: language.Language) -> None:
    """Each word that the list of topics has leads to an explanation with text in every line."""
    language.use(in_language)
    for topic in topics(STATUTE):
        shown = explain(topic, STATUTE)
        assert shown.title and all(said.strip() and heading for heading, said in shown.rows), topic
        if in_language == "ru":
            assert has_cyrillic(shown.title) and all(
                has_cyrillic(one) or "_" in one for _, one in shown.rows[:1]
            )


# The command.


def run(*typed: str, home: Path | str = "/nowhere", code: int = 0) -> Result:
    """Type ``pledger explain``; it must end with this exit code."""
    result = CliRunner().invoke(pledger, ["explain", *typed, "--home", str(home)])
    assert result.exit_code == code, result.output
    return result


def test_without_a_word_it_lists_everything() -> None:
    """Every kind, role, purpose, act, field, rule and code stands in the list."""
    listed = run().stdout
    for topic in topics(STATUTE):
        assert topic.sort == "word" or re.search(rf"(?<![\w.]){re.escape(topic.name)}(?![\w.])", listed), (
            topic
        )
    value = json.loads(run("--json").stdout)
    assert len(value["words"]) == len([topic for topic in topics(STATUTE) if topic.sort == "word"])
    assert {one["name"] for one in value["rules"]} == set(RULES)


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("subject_result", {"kind"}),
        ("SUBJECT_RESULT", {"kind"}),
        ("results", {"kind"}),
        ("Посещаемость", {"kind"}),
        ("зачисление", {"kind"}),
        ("Секретарь", {"role"}),
        ("transfer", {"kind", "word"}),
        ("scope", {"field"}),
        ("participant", {"word"}),
        ("record.identity", {"rule"}),
        ("node.store", {"code"}),
        ("ListRefused", {"failure"}),
        ("273-fz", {"act"}),
        ("rating", {"forbidden"}),
        ("teaching", {"purpose"}),
        ("agency.card", {"public_kind"}),
    ],
)
def test_a_word_is_found_as_people_know_it(word: str, found: set[str]) -> None:
    """By its name, its list's name, or what it is called in either language; all that bear it."""
    value = json.loads(run(word, "--json").stdout)
    assert {one["sort"] for one in value["explained"]} == found


def test_several_words_are_explained_at_once() -> None:
    """As the line below an error may name several rules."""
    value = json.loads(run("record.date", "record.notice", "--json").stdout)
    assert [one["name"] for one in value["explained"]] == ["record.date", "record.notice"]


@pytest.mark.parametrize(
    ("word", "near_to"),
    [
        ("subject_resul", "subject_result"),
        ("record.indentity", "record.identity"),
        ("clrek", "clerk"),
        ("отметка", "subject_result"),
        ("reslts", "results"),
        ("identity", "record.identity"),
    ],
)
def test_an_unknown_word_is_answered_with_the_nearest(word: str, near_to: str) -> None:
    """Exit code 2, and what may have been meant."""
    assert near_to in run(word, code=2).stderr
    assert near_to in near(word, STATUTE)


def test_a_word_like_nothing_is_answered_with_the_way_to_the_list() -> None:
    """No wild guesses."""
    assert "pledger explain" in run("qqqqqq", code=2).stderr
    assert near("qqqqqq", STATUTE) == []


def test_json_is_the_same_whatever_the_language() -> None:
    """It carries both languages, and no sentence of one of them."""
    for words_typed in (["value"], ["subject_result"], ["record.date"], ["clerk"], ["273-fz"], []):
        found = [run(*words_typed, "--json", "--lang", lang).stdout for lang in language.LANGUAGES]
        assert found[0] == found[1]


def test_russian_is_shown_to_who_asks_for_it() -> None:
    """The same topic, in the other language."""
    shown = run("record.identity", "--lang", "ru").stdout
    assert "что делать:" in shown and "чья ошибка:" in shown
    assert "what to do:" in run("record.identity", "--lang", "en").stdout


# Lists that this version does not know.


def extended() -> Statute:
    """The default list with a kind that a quorum added."""
    value: dict[str, Any] = default_statute_json()
    kind = json.loads(json.dumps(value["kinds"]["project"]))
    kind["office"] = "library_office"
    kind["article"] = "art. 99"
    kind["schema"]["properties"]["shelf_code"] = kind["schema"]["properties"].pop("title_code")
    kind["schema"]["required"] = ["shelf_code", "role_code", "evidence_hash", "date"]
    kind["identity"] = ["shelf_code"]
    value["kinds"]["library_visit"] = kind
    return parse_statute(value)


@pytest.mark.parametrize("in_language", language.LANGUAGES)
def test_a_kind_that_a_quorum_added_explains_itself(in_language: language.Language) -> None:
    """The list carries its explanation; what this version has no words for is shown by name."""
    language.use(in_language)
    statute = extended()
    for topic in (*find("library_visit", statute), *find("shelf_code", statute)):
        shown = explain(topic, statute)
        assert all(said for _, said in shown.rows)
    [topic] = find("library_visit", statute)
    assert "library_office" in " ".join(said for _, said in explain(topic, statute).rows)


def test_a_workspace_is_answered_by_its_own_list(tmp_path: Path) -> None:
    """Without a passphrase; a damaged one is told, and the shipped list is shown instead."""
    connected(tmp_path / "home", World())
    quiet = run("enrolment", home=tmp_path / "home")
    assert quiet.stderr == ""
    roster = tmp_path / "home" / "roster" / "1.json"
    roster.write_bytes(roster.read_bytes()[:-2])
    told = run("enrolment", home=tmp_path / "home")
    assert "cannot be read" in told.stderr and "art. 53" in told.stdout


def test_topics_have_one_order() -> None:
    """The list is the same on every computer."""
    assert topics(STATUTE) == topics(parse_statute(default_statute_json()))
    assert len(set(topics(STATUTE))) == len(topics(STATUTE))
    assert Topic(sort="kind", name="enrolment") == topics(STATUTE)[0]
