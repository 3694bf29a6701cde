"""cli.language, cli.heard: all that staff read is there in both languages, and said in the chosen one."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from cli import heard, language, output
from cli.failures import CellProblem, ListRefused
from cli.heard import translated
from cli.help_text import paragraphs
from cli.language import Message, catalogue, placeholders, plural, read_texts, say
from cli.main import pledger
from ledger.errors import Conflict, LedgerError, Malformed, Refused, StoreError, Undecided, Unproven
from ledger.rules import RULES, violation
from ledger.statute import default_statute_json
from node.protocol import Obstacle, Problem, ProblemAnswer, Unreachable
from tests.source_texts import GAP, ROOT, has_cyrillic, holds, strings, template_of, templates
from tests.staff_side import PASSPHRASE, connected
from tests.world import World
from tests.world import key as public_key

FILES = ("messages", *heard.FILES)
MESSAGES = [(file, key, one) for file in FILES for key, one in catalogue(file).items()]
NAMES = [f"{file}:{key}" for file, key, _ in MESSAGES]
OPERATOR = ("agency", "roster", "era", "forks", "node", "export", "verify", "demo")
"""Commands of operators and auditors, whose help stays English."""
OF_OTHERS = ("heard.system.", "heard.typed.", "part.near")
"""Said by the operating system and click."""
OF_OPERATORS = {
    "agency": "founds an agency and a ledger: typed by whoever runs a node",
    "cards": "issues an agency's cards",
    "eras": "opens a later era of an agency's log",
    "forks": "shows operators and auditors the forks of any log",
    "operate": "runs a node",
    "roster_draft": "founds a ledger or changes it",
    "rosters": "founds a ledger or changes it",
    "audit": "auditors check a dossier in any country",
    "demo": "shows programmers and operators a whole ledger",
    "demo_fork": "of the demo",
    "demo_lists": "of the demo",
    "demo_run": "of the demo",
}
"""Modules that no member of staff hears, and why."""
OF_LISTS = (
    *("cells", "delimited", "drafts", "encoding", "hand_back", "import_records", "profile_form"),
    *("sheet_walk", "source", "spreadsheet", "table", "values", "workbook"),
)
"""Modules that read lists: they speak English, and what they say is heard."""
SPOKEN = tuple(
    path.stem
    for path in sorted((ROOT / "cli").glob("*.py"))
    if path.stem not in {"__init__", *OF_OPERATORS, *OF_LISTS}
)
"""All other modules, a new one too: what they say stands in the catalogue."""
NOT_SAID = {
    "# Made by pledger staff; the secret key lies beside it in staff.key.": "a comment in staff.toml",
    f"staff of {GAP}": "the name inside a key file",
    f"{GAP} (and {GAP} more)": "kept in the outbox in English, and translated where it is shown",
    "recorded as": "the heading of a table, which `headings` reads in the language",
    'eval "$(pledger completion bash)"': "to be typed",
    'eval "$(pledger completion zsh)"': "to be typed",
    "class move": "what errors name in the place of a file: the command",
    "colleague or recovery holder": "a word of `say_word`",
    "bold red": "a style of rich",
    f"class {GAP}": "what errors name in the place of a file: the command",
    f"correction {GAP}": "the source of a record, which is data",
    f"{GAP} row {GAP}": "kept in the outbox in English, and translated where it is shown",
    f"{GAP} private": "of JSON",
    f"{{ field = {GAP}, values = {{ {GAP} }} }}  # {GAP}": "TOML",
    f"kind = {GAP}": "TOML",
    "what is wrong, and what would be right": "by this heading a list of errors is known again",
    f" the list into parts of {GAP} columns and {GAP} rows at most": "the end of a sentence",
    f"a value in column {GAP} of this row, outside what a list may be: delete it, or cut": "its beginning",
    f", where it says {GAP}": "within a remark",
    f"; it may be {GAP} (--encoding {GAP})": "the end of a sentence",
    f"not UTF-8 text from here on: save it as CSV UTF-8{GAP}": "its beginning",
}
"""Sentences in these modules that nobody is told, and why."""


# The catalogue.


@pytest.mark.parametrize(("file", "key", "message"), MESSAGES, ids=NAMES)
def test_every_message_says_the_same_in_both_languages(file: str, key: str, message: Message) -> None:
    """Same values, no text empty, Russian in Russian and English in English."""
    assert message.en.strip() and message.ru.strip()
    assert len(message.en) - len(message.en.lstrip()) == len(message.ru) - len(message.ru.lstrip())
    assert {name for name, _ in placeholders(message.en)} == {name for name, _ in placeholders(message.ru)}
    words = re.sub(r"\{[^}]*\}|--[a-z]+", "", message.ru)
    assert not has_cyrillic(re.sub('"[^"]*"', "", message.en))
    assert has_cyrillic(message.ru) or not re.search("[a-z]{2}", words), f"{file}: {key} is not translated"


@pytest.mark.parametrize(("file", "key", "message"), MESSAGES, ids=NAMES)
def test_a_form_is_given_for_every_number(file: str, key: str, message: Message) -> None:
    """Two forms in English, three in Russian; what is heard is counted only where digits stand."""
    for text, count in ((message.en, 2), (message.ru, 3)):
        for name, forms in placeholders(text):
            assert forms is None or len(forms.split("|")) == count, key
            assert file == "messages" or forms is None or name in heard.WHOLE_NUMBERS


@pytest.mark.parametrize(
    ("count", "form"),
    [
        (0, 2),
        (1, 0),
        (2, 1),
        (4, 1),
        (5, 2),
        (11, 2),
        (12, 2),
        (14, 2),
        (20, 2),
        (21, 0),
        (22, 1),
        (25, 2),
        (100, 2),
        (101, 0),
        (111, 2),
        (112, 2),
        (121, 0),
        (1001, 0),
        (1012, 2),
    ],
)
def test_a_russian_number_takes_its_form(count: int, form: int) -> None:
    """1 запись, 2 записи, 5 записей, 11 записей, 21 запись."""
    forms = ("запись", "записи", "записей")
    assert plural(count, forms) == forms[form]
    assert plural(count, ("record", "records")) == ("record" if count == 1 else "records")


# What the modules say.


def spoken_modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted((ROOT / "cli").glob("*.py")):
        yield path.stem, ast.parse(path.read_text(encoding="utf-8"))


def calls(tree: ast.AST, *names: str) -> Iterator[ast.Call]:
    """The calls of functions of these names."""
    for one in ast.walk(tree):
        if isinstance(one, ast.Call) and isinstance(one.func, ast.Name) and one.func.id in names:
            yield one


def test_every_key_that_is_said_is_in_the_catalogue_with_these_values() -> None:
    """A missing key or value would be a traceback in front of a secretary."""
    messages = catalogue("messages")
    for module, tree in spoken_modules():
        for call in calls(tree, "say"):
            if not isinstance(call.args[0], ast.Constant):
                continue
            key = str(call.args[0].value)
            assert key in messages, f"{module}: {key}"
            given = {word.arg for word in call.keywords}
            assert given == {name for name, _ in placeholders(messages[key].en)}, f"{module}: {key}"


def test_every_key_is_said_somewhere() -> None:
    """A text that nobody says any more is taken out."""
    said, sections = set[str](), set[str]()
    for _, tree in spoken_modules():
        for node in strings(tree):
            text = str(template_of(node))
            said.add(text)
            if GAP in text:
                sections.add(text.partition(GAP)[0])
        for call in calls(tree, "say_word"):
            assert isinstance(call.args[0], ast.Constant)
            sections.add(f"{call.args[0].value}.")
    unsaid = [key for key in catalogue("messages") if key not in said]
    assert [
        key for key in unsaid if not key.startswith(tuple(one for one in sections if one.count(".")))
    ] == []


@pytest.mark.parametrize("module", SPOKEN)
def test_no_sentence_of_the_staff_s_commands_stands_outside_the_catalogue(module: str) -> None:
    """A new message needs its Russian before it can be said."""
    tree = ast.parse((ROOT / "cli" / f"{module}.py").read_text(encoding="utf-8"))
    hidden = {id(part) for call in calls_of_click(tree) for part in ast.walk(call)}
    sentences = [
        str(template_of(node)) for node in strings(tree) if id(node) not in hidden and is_sentence(node)
    ]
    assert [one for one in sentences if one not in NOT_SAID and not is_typed(one)] == []


def calls_of_click(tree: ast.AST) -> Iterator[ast.AST]:
    """What makes commands and options: their help is tested below."""
    for one in ast.walk(tree):
        if isinstance(one, ast.FunctionDef):
            yield from one.decorator_list
        if isinstance(one, ast.Call):
            called = ast.unparse(one.func)
            if called in {"click.option", "group", "re.compile"}:
                yield one
        if isinstance(one, ast.Assign) and ast.unparse(one.targets[0]) in {"MENDED", "EXIT_CODES"}:
            yield one.value  # of a shell's script; of the help


def is_sentence(node: ast.AST) -> bool:
    """Whether a string has two words of letters in a row, or a value and a word beside it."""
    text = str(template_of(node))
    words = "[A-Za-z]{2,} [A-Za-z]{2,}" if GAP not in text else "(^|[ ,;(])[A-Za-z']{2,}(?=[ ?!,;:)]|$)"
    return re.search(words, text) is not None


def is_typed(text: str) -> bool:
    """Whether it is a command to be typed, the same in every language."""
    words = text.split()
    return words[0] == "pledger" and words[1] in COMMANDS


def test_every_table_of_the_staff_s_commands_has_its_headings_in_the_catalogue() -> None:
    """A heading is one word, which no sentence shows."""
    known = {key.removeprefix("column.") for key in catalogue("messages") if key.startswith("column.")}
    for module in SPOKEN:
        tree = ast.parse((ROOT / "cli" / f"{module}.py").read_text(encoding="utf-8"))
        for call in calls(tree, "Table"):
            given = [ast.unparse(word.value) for word in call.keywords if word.arg == "columns"]
            assert all(one.startswith(("headings(", "columns", "[heading")) for one in given), module
        for call in calls(tree, "headings"):
            words = [one.value for one in ast.walk(call) if isinstance(one, ast.Constant) and one.value != ""]
            assert {str(one).replace(" ", "_") for one in words if isinstance(one, str)} <= known, module


# What others say.


def test_what_is_heard_is_still_said() -> None:
    """A sentence that was reworded would fall back to English unseen."""
    found = templates("ledger", "node", "cli")
    found |= {text for text in leaves(default_statute_json()) if isinstance(text, str)}
    for key, one in catalogue("heard").items():
        for sentence in re.split("; | or cut ", one.en):  # put together only where they are said
            literals = [part for part in re.split(r"\{[^}]*\}", sentence) if part]
            is_said = any(holds(template, literals) for template in found)
            assert is_said or key.startswith(OF_OTHERS), f"{key}: {sentence}"


def leaves(value: Any) -> Iterator[Any]:
    """The values in JSON."""
    if isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from leaves(one)
    else:
        yield value


def record_details() -> Iterator[str]:
    """What ``ledger.portfolio`` says of a record: the second half of its (rule, text) pairs."""
    tree = ast.parse((ROOT / "ledger" / "portfolio.py").read_text(encoding="utf-8"))
    for one in ast.walk(tree):
        if isinstance(one, ast.Tuple) and len(one.elts) == 2:
            rule, text = one.elts
            if isinstance(rule, ast.Constant) and str(rule.value).startswith("record."):
                found = template_of(text)
                if found is not None:
                    yield found


def test_every_refusal_of_a_record_is_known_in_russian() -> None:
    """These are what a clerk meets on a Monday morning, from this computer or from a node."""
    language.use("ru")
    details = [one for one in record_details() if one.strip(GAP + ": ")]
    details += [one for one in templates("ledger/field_rules.py") if "given" in one]
    details += [one for one in templates("node/durable_file.py") if ": " in one and GAP not in one]
    assert len(details) > 25
    assert [one for one in details if not has_cyrillic(translated(sample(one)))] == []


def sample(template: str) -> str:
    """A template with some values in its gaps."""
    values = iter(range(1, 100))
    return re.sub(GAP, lambda _: str(next(values)), template)


@pytest.mark.parametrize("code", [*RULES, *read_texts("rules")["code"]])
def test_a_rule_is_told_in_russian_whatever_its_detail_is(code: str) -> None:
    """A node may be newer than this pledger: code and meaning are said, its own English beside them."""
    language.use("ru")
    told = translated(f"{code}: nobody has written this down")
    assert told.startswith(f"{code}: ") and told.endswith(" (nobody has written this down)")
    assert has_cyrillic(told)


@pytest.mark.parametrize("error", [Malformed, Unproven, Conflict, Undecided, StoreError, Unreachable])
def test_an_error_without_a_rule_is_told_in_russian_too(
    error: type[LedgerError], capsys: pytest.CaptureFixture[str]
) -> None:
    """Damaged bytes have a hundred sentences for programmers; a secretary is told what it comes to."""
    language.use("ru")
    output.fail(error("x.sealed: nested deeper than 8"), as_json=False)
    [first, *_] = capsys.readouterr().err.splitlines()
    assert has_cyrillic(first.removeprefix("ошибка: ")) and "nested deeper than 8" in first
    assert error.__name__ not in first
    language.use("en")
    output.fail(error("x.sealed: nested deeper than 8"), as_json=False)
    assert capsys.readouterr().err.startswith("error: x.sealed: nested deeper than 8\n")


CLICK = ("exceptions", "types", "parser", "core")
NOT_TYPED = re.compile(
    "^Try |UUID|boolean|executable|deprecated|values are required|Boolean|declaration|format|Value must be"
)
"""What click says of types that no command here has, or to programmers."""


def said_by_click() -> Iterator[str]:
    """The sentences that click has translated where there is a catalogue of its own; it ships none."""
    for module in CLICK:
        path = Path(str(importlib.util.find_spec(f"click.{module}").origin))  # type: ignore[union-attr]
        for call in calls(ast.parse(path.read_text(encoding="utf-8")), "_", "ngettext"):
            yield from (one.value for one in call.args if isinstance(one, ast.Constant))


def test_what_click_finds_wrong_is_known_in_russian() -> None:
    """Missing, unknown, too many, not one of: whatever is mistyped."""
    language.use("ru")
    found = {one for one in said_by_click() if one.endswith(".") and not NOT_TYPED.search(one)}
    assert len(found) > 12
    nouns = {"is a file": "Directory", "is a directory": "File"}
    for one in found:
        noun = next((word for end, word in nouns.items() if end in one), "File")
        text = re.sub(r"\{[^}]*\}", "3", one.replace("{name}", noun).replace("{filename!r}", "'x'"))
        assert has_cyrillic(translated(text)), one


@pytest.mark.parametrize(
    ("answer", "is_yes"),
    [("д", True), ("Да", True), ("y", True), ("yes", True), ("н", False), ("no", False), ("", False)],
)
def test_a_question_is_asked_and_answered_in_russian(
    answer: str, is_yes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody changes the keyboard for one letter; what is no answer is asked again."""
    monkeypatch.setattr(output, "is_attended", lambda: True, raising=False)

    @click.command()
    def asking() -> None:
        output.show({}, str(output.ask_yes(say("mend.ask"))))

    language.use("ru")
    result = CliRunner().invoke(asking, input=f"возможно\n{answer}\n")
    assert result.stdout == f"{is_yes}\n"
    assert result.stderr.count("Подписать это? [д/Н]") == 2
    assert "введите д (да) или н (нет)" in result.stderr


def test_a_new_passphrase_that_was_mistyped_is_asked_for_again_in_russian() -> None:
    """Both times anew: who knows which was the wrong one."""

    @click.command()
    def asking() -> None:
        output.show({}, output.ask_passphrase(say("passphrase.ask", what="x"), is_new=True))

    language.use("ru")
    result = CliRunner().invoke(asking, input="one\ntwo\nthree\nthree\n")
    assert result.stdout == "three\n"
    assert "фразы не совпали" in result.stderr and "Error" not in result.stderr


def test_what_is_wrong_with_a_list_is_known_in_russian() -> None:
    """File, column, cell, date, profile: every sentence that a list can be answered with."""
    language.use("ru")
    said = templates(*(f"cli/{name}.py" for name in OF_LISTS))
    sentences = {one for one in said if re.search("[a-z]{2,} [a-z]{2,} [a-z]", one) and "(?" not in one}
    assert len(sentences) > 60
    unknown = [one for one in sentences - set(NOT_SAID) if not has_cyrillic(translated(sample(one)))]
    assert unknown == []


def test_every_form_of_a_field_is_known_in_russian() -> None:
    """ "It must be ..." ends in Russian too."""
    language.use("ru")
    for kind in default_statute_json()["kinds"].values():
        for text in descriptions(kind["schema"]):
            assert has_cyrillic(translated(text)), text


def descriptions(schema: Any) -> Iterator[str]:
    """The descriptions in a schema."""
    if isinstance(schema, dict):
        if isinstance(schema.get("description"), str):
            yield schema["description"]
        for one in schema.values():
            yield from descriptions(one)
    elif isinstance(schema, list):
        for one in schema:
            yield from descriptions(one)


@pytest.mark.parametrize(
    ("said", "means"),
    [
        ("'6' given; it must be one of 2, 3, 4, 5", "дано '6'; нужно: одно из 2, 3, 4, 5"),
        (
            "'6' given; it must be one of 2, 3 where scale is ru5",
            "дано '6'; нужно: одно из 2, 3, так как scale = ru5",
        ),
        (
            "record.fields: value: missing; it must be a date such as 2026-09-01",
            "record.fields: value: не указано; нужно: дата, например 2026-09-01",
        ),
        ("results.csv row 12", "results.csv строка 12"),
        ("a row 12 text", "a row 12 text"),
        (
            "x.csv: No such file or directory; there is no such file or folder: check the path",
            "x.csv: нет такого файла или папки; такого файла или папки нет: проверьте путь",
        ),
        ("record.identity: already recorded (and 3 more)", "record.identity: уже записано (и ещё 3)"),
        ("nothing that anybody knows", "nothing that anybody knows"),
        ("one of a kind", "one of a kind"),
        ("Copy every log of a ledger into one file", "Copy every log of a ledger into one file"),
    ],
)
def test_sentences_within_sentences_are_found(said: str, means: str) -> None:
    """Rule, field, value and what would be right; what is not known is left as it is."""
    assert translated(said) == said
    language.use("ru")
    assert translated(said) == means


@given(st.text(max_size=300))
def test_whatever_a_node_says_is_shown(text: str) -> None:
    """No sentence breaks the translation."""
    language.use("ru")
    assert isinstance(translated(text), str)
    language.use("en")
    assert translated(text) == text


@pytest.mark.parametrize("text", ["x of " * 400, ": " * 1_000, "a; b: " * 300, " given; it must be " * 110])
def test_no_sentence_of_a_node_takes_long(text: str) -> None:
    """A regular expression with many gaps would try all ways, for hours."""
    language.use("ru")
    start = time.monotonic()
    translated(text[: heard.HEARD_CHARS_MAX])
    assert time.monotonic() - start < 2


# The language of a run.


@pytest.mark.parametrize(
    ("typed", "environment", "chosen"),
    [
        ([], {}, "en"),
        ([], {"LANG": "ru_RU.UTF-8"}, "ru"),
        ([], {"LANG": "ru"}, "ru"),
        ([], {"LANG": "de_DE.UTF-8"}, "en"),
        ([], {"LANG": "ru_RU.UTF-8", "LC_MESSAGES": "en_US.UTF-8"}, "en"),
        ([], {"LANG": "en_US.UTF-8", "LC_MESSAGES": "C", "LC_ALL": "ru_RU.UTF-8"}, "ru"),
        ([], {"LANG": "ru_RU.UTF-8", "LC_ALL": ""}, "ru"),
        ([], {"LANG": "ru_RU.UTF-8", "PLEDGER_LANG": "en"}, "en"),
        ([], {"LC_ALL": "C", "PLEDGER_LANG": "ru"}, "ru"),
        (["--lang", "en", "explain"], {"PLEDGER_LANG": "ru"}, "en"),
        (["explain", "--lang=ru"], {"PLEDGER_LANG": "en"}, "ru"),
        (["explain", "--lang"], {"PLEDGER_LANG": "ru"}, "ru"),
        (["explain", "--", "--lang", "ru"], {}, "en"),
        (["--lang", "de"], {"LANG": "ru_RU"}, "ru"),
    ],
)
def test_the_language_is_that_typed_then_the_variable_then_the_locale(
    typed: list[str], environment: dict[str, str], chosen: str
) -> None:
    """POSIX order of the locale's variables; an empty one counts for nothing."""
    language.choose(typed, environment)
    assert language.current() == chosen


def run(*words: str, env: dict[str, str] | None = None) -> Result:
    """Type a command."""
    return CliRunner().invoke(pledger, words, env=env or {})


def leaf_commands(made: click.Command = pledger, path: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command of the tree."""
    yield path, made
    if isinstance(made, click.Group):
        for name, command in made.commands.items():
            yield from leaf_commands(command, f"{path} {name}".strip())


COMMANDS = dict(leaf_commands())
STAFF = {path: made for path, made in COMMANDS.items() if path.split(" ")[0] not in OPERATOR}


@pytest.mark.parametrize("path", COMMANDS)
def test_every_command_takes_a_language(path: str) -> None:
    """Groups too: their help is read as well."""
    names = {name for param in COMMANDS[path].params for name in param.opts}
    assert "--lang" in names


@pytest.mark.parametrize("path", STAFF)
def test_the_help_of_the_staff_s_commands_is_there_in_russian(path: str) -> None:
    """A new option needs its Russian; what stands in the catalogue must be the very English."""
    language.use("ru")
    made = STAFF[path]
    texts = paragraphs(made.help).split("\n\n")
    texts += [one.help for one in made.params if isinstance(one, click.Option) and one.help]
    assert [text for text in texts if not has_cyrillic(translated(text))] == []
    shown = run(*path.split(), "--help", "--lang", "ru").stdout
    assert "Использование:" in shown and "Usage:" not in shown
    assert "Example" not in shown and "Exit codes" not in shown


def test_no_help_is_translated_that_nobody_wrote() -> None:
    """A reworded docstring leaves no orphan."""
    texts = {text for made in COMMANDS.values() for text in paragraphs(made.help).split("\n\n")}
    texts |= {
        one.help or "" for made in COMMANDS.values() for one in made.params if isinstance(one, click.Option)
    }
    epilogs = {line for made in COMMANDS.values() for line in (made.epilog or "").split("\n")}
    clicks = {"Show this message and exit.", "required", "default: {value}"}
    unknown = {one.en for one in catalogue("help").values()} - texts - epilogs - clicks
    assert unknown == set()


@pytest.mark.parametrize("path", [path for path in COMMANDS if path.split(" ")[0] in OPERATOR])
def test_the_operator_s_help_is_whole_in_english(path: str) -> None:
    """Not half and half."""
    shown = run(*path.split(), "--help", "--lang", "ru").stdout
    assert "Usage:" in shown and "Использование:" not in shown


# Commands in both languages.


@pytest.fixture
def home(tmp_path: Path) -> Path:
    connected(tmp_path / "home", World())
    (tmp_path / "roster.csv").write_text(
        "local_id;name;stage;class_level;entry_type;date\n7a-01;Сказкина Алёна;basic;7;new;2026-09-01\n"
    )
    return tmp_path


def typed(home: Path, *words: str | Path, lang: str = "ru") -> Result:
    """Type a command in a workspace."""
    environment = {"PLEDGER_HOME": str(home / "home"), "PLEDGER_PASSPHRASE": PASSPHRASE}
    return run(*map(str, words), "--lang", lang, env=environment)


def shape(value: Any) -> Any:
    """JSON without its texts: keys, and what kind of value stands there."""
    if isinstance(value, dict):
        return {key: shape(one) for key, one in value.items()}
    if isinstance(value, list):
        return [shape(one) for one in value[:1]]
    return type(value).__name__


ENROL = ("class", "enrol", "ROSTER", "--notice-hash", "ab" * 32, "--shown-on", "2026-09-01", "--offline")


def test_a_first_morning_is_in_russian(home: Path) -> None:
    """What a secretary reads from the first command on; every line of it."""
    words = [str(home / "roster.csv") if word == "ROSTER" else word for word in ENROL]
    enrolled = typed(home, *words)
    assert "в реестр класса зачислен 1 ученик" in enrolled.stdout
    assert "2 подписаны и лежат в исходящих" in enrolled.stdout
    assert "ждёт" in typed(home, "outbox", "list").stdout
    assert "класс" in typed(home, "class", "list").stdout
    again = typed(home, *words)
    assert "1 уже стоял в нём и оставлен без изменений" in again.stdout
    wrong = typed(home, "append", "subject_result", "--pupil", "7a-02", "value=good", "mark=5")
    assert "нет в реестре класса" in wrong.stderr
    assert "дано 'good'; нужно: отметка" in wrong.stderr
    assert "нет такого поля у subject_result" in wrong.stderr
    assert "ошибка:" in wrong.stderr and "что делать:" in wrong.stderr
    for line in (*enrolled.stdout.splitlines(), *wrong.stderr.splitlines()):
        assert has_cyrillic(line), line


KEY = public_key("another").public_key.hex()
YEAR = (
    ("class", "find", "нет такого", 0),
    ("class", "move", "--from-class", "7", "--to-class", "8", "--date", "2027-09-01", "--offline", 0),
    ("class", "move", "--from-class", "7", "--to-class", "x", "--date", "2027-09-01", 2),
    ("class", "move", "--from-class", "11", "--to-class", "12", "--date", "2027-09-01", 2),
    ("class", "move", 2),
    ("class", "alias", "7a-01", "7a-01", 2),
    ("class", "alias", "7a-01", "7a-09", 2),
    ("class", "profile", "7a-01", "full", "--date", "2026-10-01", "--offline", 0),
    (
        "class",
        "transfer",
        "7a-01",
        "--to-org",
        "s-2",
        "--exit-type",
        "other",
        "--date",
        "2027-10-01",
        "--offline",
        0,
    ),
    ("class", "recovery", KEY, KEY, 2),
    ("class", "share", KEY, "--until", "2020-01-01", 2),
    ("class", "share", KEY, 0),
    ("class", "unshare", KEY, 0),
    ("class", "unshare", KEY, 2),
    ("class", "take", "HOME/roster.csv", "--from", KEY, 2),
    ("class", "export", "-o", "HOME/x.sealed", "--class", "5", 2),
    ("outbox", "adopt", "HOME/roster.csv", 2),
    ("outbox", "discard", "ENTRY", 2),
    ("outbox", "hand-over", "ENTRY", "--to", KEY, "-o", "HOME/list.sealed", 0),
    ("outbox", "adopt", "HOME/list.sealed", 2),
    ("outbox", "discard", "ENTRY", "--yes", 0),
    ("correct", "ffffff", "value=4", 2),
    ("correct", "ffffff", "value", 2),
    ("misfiled", "ffffff", "--right-pupil", "7a-09", 2),
    ("withdraw", "RECORD", "--reason", "court", 2),
    ("withdraw", "RECORD", "--reason", "court", "--offline", "--yes", 0),
    ("correct", "RECORD", "date=2027-09-02", "--offline", "--yes", 4),
    ("corrections", "HOME/roster.csv", 2),
)
"""What is typed in a year, mistakes too, and how each ends."""


def test_a_year_of_the_register_and_its_mistakes_is_in_russian(home: Path) -> None:
    """No command of the staff's answers a line in English, whether it works or is refused."""
    typed(home, *(str(home / "roster.csv") if word == "ROSTER" else word for word in ENROL))
    [entry] = json.loads(typed(home, "outbox", "list", "--json").stdout)["entries"]
    records = json.loads(typed(home, "show", entry["entry_id"], "--json").stdout)["records"]
    record = next(one["record"] for one in records if one["kind"] == "enrolment")
    for *words, code in YEAR:
        last = json.loads(typed(home, "outbox", "list", "--json").stdout)["entries"][-1]["entry_id"]
        line = "\n".join(map(str, words)).replace("HOME", str(home)).replace("RECORD", record)
        result = typed(home, *line.replace("ENTRY", last).split("\n"))
        assert result.exit_code == code, result.output
        said = [one for one in (result.stdout + result.stderr).splitlines() if one.strip()]
        assert said
        assert [one for one in said if not has_cyrillic(one)] == [], line


def test_a_first_profile_speaks_russian(home: Path) -> None:
    """Its remarks are for whoever fills it in; what stands for a machine stays."""
    (home / "marks.csv").write_text("Ученик;Предмет;Оценка;Четверть\nА;ALG;5;1 четверть\n", encoding="utf-8")
    typed(home, "import", home / "marks.csv", "--kind", "results", "--suggest")
    text = (home / "marks.toml").read_text(encoding="utf-8")
    remarks = [line.partition("# ")[2] for line in text.splitlines() if "# " in line]
    assert len(remarks) > 6
    assert [one for one in remarks if not has_cyrillic(one)] == []


@pytest.mark.parametrize(
    "words",
    [
        ("outbox", "list"),
        ("class", "list"),
        (),
        ("explain", "value"),
        ("append", "subject_result", "--pupil", "7a-02", "value=6"),
        ("show", "ffffff"),
        ("prove", "ffffff"),
    ],
)
def test_json_has_the_same_keys_and_codes_in_both_languages(home: Path, words: tuple[str, ...]) -> None:
    """A script reads the same whatever language its user speaks."""
    found = [typed(home, *words, "--json", lang=lang) for lang in ("en", "ru")]
    values = [json.loads(one.stdout) for one in found]
    assert found[0].exit_code == found[1].exit_code
    assert shape(values[0]) == shape(values[1])
    assert values[0].get("error") == values[1].get("error")


def test_a_bad_list_comes_back_in_russian(home: Path) -> None:
    """On the screen, and in the file that goes back to whoever made it."""
    words = [str(home / "roster.csv") if word == "ROSTER" else word for word in ENROL]
    typed(home, *words)
    path = home / "results.csv"
    path.write_text(
        "local_id;school_year;term;subject_code;scale;value;result_type\n"
        "7a-01;2026/2027;q1;ALG;ru5;=1+1;term\n7a-09;2026/2027;q1;ALG;ru5;4;term\n"
    )
    result = typed(home, "import", path, "--kind", "results", "--errors", home / "errors.csv", "--offline")
    assert result.exit_code == 4
    assert "формула: впишите само значение" in result.stderr and "нет в реестре класса" in result.stderr
    assert "эти ошибки списком записаны" in result.stderr
    assert "формула: впишите само значение" in (home / "errors.csv").read_text(encoding="utf-8")


def test_pledger_alone_says_what_to_do_next_in_both_languages(tmp_path: Path) -> None:
    """What to type is the same; what it is for is said."""
    shown = {lang: run("--home", str(tmp_path), "--lang", lang).stdout for lang in language.LANGUAGES}
    assert "What to do next:" in shown["en"] and "Что делать дальше:" in shown["ru"]
    assert re.findall("pledger .*", shown["en"]) == re.findall("pledger .*", shown["ru"])


@pytest.mark.parametrize(
    "words",
    [
        ("nonsense",),
        ("import",),
        ("import", "x.csv", "--kind", "results", "--nonsense"),
        ("log", "--last", "0"),
        ("staff", "grant", "x"),
        ("completion", "tcsh"),
        ("class", "list", "--home"),
        ("class", "enrol", "x", "--shown-on", "tomorrow"),
    ],
)
def test_a_mistyped_command_is_told_in_russian(words: tuple[str, ...]) -> None:
    """Also what click finds before the command runs."""
    result = run(*words, env={"PLEDGER_LANG": "ru"})
    assert result.exit_code == 2
    first = result.stderr.splitlines()[0]
    assert first.startswith("ошибка: ") and has_cyrillic(first.removeprefix("ошибка: "))


def test_an_error_of_the_rules_names_what_explains_it(capsys: pytest.CaptureFixture[str]) -> None:
    """A code, its sentence in Russian, and the command that says more."""
    language.use("ru")
    output.fail(Refused((violation("record.date", "date 2027-01-01 lies in the future"),)), as_json=False)
    obstacle = Obstacle(
        code="record.declined", detail="the family declined; contest_award is not required by law"
    )
    problem = Problem(status=403, code="record.declined", detail="x", obstacles=(obstacle,))
    output.fail(ProblemAnswer(problem), as_json=False)
    cell = CellProblem(
        file="a.csv", row=2, text="record.notice: no notice to the family stands before this record"
    )
    output.fail(ListRefused([cell]), as_json=False)
    shown = capsys.readouterr().err
    assert "record.date: date 2027-01-01 — в будущем" in shown
    assert "семья отказалась" in shown and "нет уведомления семьи" in shown
    for code in ("record.date", "record.declined", "record.notice"):
        assert f"объяснение: pledger explain {code}" in shown


def test_what_a_node_calls_itself_never_becomes_a_command_to_type(capsys: pytest.CaptureFixture[str]) -> None:
    """A false node's code stands in the error, but in nothing that a person would copy."""
    output.fail(ProblemAnswer(Problem(status=403, code="x; rm -rf ~", detail="")), as_json=False)
    assert "explain" not in capsys.readouterr().err


def test_the_texts_are_packaged() -> None:
    """Installed from a wheel the catalogue is there too."""
    found = importlib.util.find_spec("cli")
    assert found is not None and found.submodule_search_locations
    assert '"samples/*.md", "texts/*.toml"]' in (ROOT / "pyproject.toml").read_text()


def test_a_number_in_a_message_is_said_with_its_word() -> None:
    """The one place where forms are chosen works through `say`."""
    said = {count: say("class.enrolled", count=count) for count in (1, 2)}
    assert said == {
        1: "1 pupil enrolled in the class register",
        2: "2 pupils enrolled in the class register",
    }
    language.use("ru")
    assert say("class.enrolled", count=5) == "в реестр класса зачислено 5 учеников"
