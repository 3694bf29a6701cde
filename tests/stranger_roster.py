"""The stranger's verifier, section 7 of docs/FORMAT.md: roster versions, their form, and who must sign them.

It imports nothing of ledger, node or cli: see ``tests/stranger.py``.
"""

from __future__ import annotations

import base64
import datetime
import json
import re
from typing import Any

from tests.stranger_bytes import NAME, Bad, H, is_int, is_text, need, parse_note, signers, words

ROLES = words(
    "class_teacher subject_teacher clerk deputy_head coach course_teacher examiner break_glass desk "
    "registrar root guardian pupil auditor"
)
PURPOSES = words(
    "teaching portfolio certification transfer_of_school olympiad_registration admission scholarship "
    "sport_registration inspection"
)
FORBIDDEN = words(
    "name surname patronymic fio birth birthday age sex gender snils passport address phone telephone email "
    "contact contacts messenger photo image video biometrics health diagnosis medical military religion "
    "nationality ethnicity behaviour conduct psychology income meals relative relatives parent parents "
    "mother father sibling teacher teachers comment comments remark message rating rank ranking percentile "
    "score average mean derived prediction clickstream click ip minute second timestamp salt secret password"
)
PUBLIC = ("log.reconcile", "roster.adopt", "agency.card", "staff.grant", "staff.revoke", "erasure")
LINE, HEX32, DAY = r"[^\x00-\x1f\x7f]{1,300}", "[0-9a-f]{64}", "[0-9]{4}-[0-9]{2}-[0-9]{2}"
TERMS = ("basis", "act", "article", "office", "retention_months", "unit_bound", "writers")
RANGE = "[0-9]-[0-9]|[a-z]-[a-z]|[A-Z]-[A-Z]|[а-я]-[а-я]|[А-Я]-[А-Я]|[0-9A-Za-zЁё._/]"
REPEAT = r"(?:\?|\{[0-9]{1,2}(?:,[0-9]{1,2})?\})?"
TOKEN = re.compile(rf"(?:[0-9A-Za-z/_-]|\\\.|\[(?:{RANGE})+-?\]){REPEAT}|\(\?:|\)\??|\|")
TOP = words("ledger version before agencies recovery_key sunset ends statute")
KIND = " ".join(TERMS) + " identity readers period_from past_dates explanation schema"


def q(n: int) -> int:
    return 2 * n // 3 + 1


def members(value: Any, required: str, optional: str = "") -> dict[str, Any]:
    need(type(value) is dict and len(value) <= 64 and set(required.split()) <= set(value))
    need(set(value) <= set(required.split()) | set(optional.split()))
    return value  # type: ignore[no-any-return]


def distinct(value: Any, known: Any = None) -> list[Any]:
    need(type(value) is list and len(value) <= 64)
    need(all(one not in value[:at] for at, one in enumerate(value)))
    need(known is None or all(type(one) is str and one in known for one in value))
    return value  # type: ignore[no-any-return]


def parse_roster(raw: bytes) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        need(len(dict(pairs)) == len(pairs))
        return dict(pairs)

    def refuse(_: str) -> None:
        raise Bad

    def whole(text: str) -> int:
        need(text != "-0")
        return int(text)

    need(len(raw) <= 4 * 2**20)
    try:
        hooks = {"parse_int": whole, "parse_float": refuse, "parse_constant": refuse}
        v = json.loads(raw.decode(), object_pairs_hook=unique, **hooks)
        json.dumps(v, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise Bad from None
    need(type(v) is dict and set(v) == set(TOP))
    need(is_text(v["ledger"], NAME) and is_int(v["version"], 1, 10**6))
    need(v["before"] is None if v["version"] == 1 else is_text(v["before"], HEX32))
    need(type(v["agencies"]) is list and 1 <= len(v["agencies"]) <= 1000)
    for one in v["agencies"]:
        need(type(one) is dict and set(one) == {"id", "root_key"})
        need(is_text(one["id"], NAME) and is_text(one["root_key"], HEX32))
    roots = {one["id"]: bytes.fromhex(one["root_key"]) for one in v["agencies"]}
    need(len(v["agencies"]) == len(roots) == len(set(roots.values())))
    need(is_text(v["recovery_key"], HEX32) if len(roots) < 3 else v["recovery_key"] is None)
    recovery = bytes.fromhex(v["recovery_key"]) if v["recovery_key"] else None
    need(recovery not in roots.values() and (v["sunset"] is None or is_int(v["sunset"], 0, 4_000_000)))
    need(type(v["ends"]) is dict and (v["version"] > 1 or not v["ends"]))
    for agency, end in v["ends"].items():
        need(is_text(agency, NAME) and type(end) is dict and set(end) == {"era", "size", "root", "next_era"})
        need(is_int(end["era"], 1, 9998) and is_int(end["size"], 0, 2**62) and is_text(end["root"], HEX32))
        need(is_int(end["next_era"], end["era"] + 1, 9999))
    check_statute(v["statute"])
    keys = {f"{v['ledger']}/{name}/root": key for name, key in roots.items()}
    if recovery:
        keys[f"{v['ledger']}/recovery"] = recovery
    return v | {"hash": H(raw), "roots": roots, "keys": keys, "recovery": recovery}


def check_statute(value: Any) -> None:
    top = members(value, "schema_dialect acts roles purposes kinds")
    need(top["schema_dialect"] == "https://json-schema.org/draft/2020-12/schema")
    need(all(type(top[key]) is dict and len(top[key]) <= 64 for key in ("acts", "kinds")))
    for name, act in top["acts"].items():
        members(act, "title number date", "sha256 ended_on")
        need(is_text(name, "[a-z0-9]([a-z0-9.-]{0,38}[a-z0-9])?"))
        need(is_text(act["title"], LINE) and is_text(act["number"], LINE))
        need(is_text(act.get("sha256", "0" * 64), HEX32))
        for day in (act["date"], act.get("ended_on", "2000-01-01")):
            need(is_text(day, DAY))
            try:
                datetime.date.fromisoformat(day)
            except ValueError:
                raise Bad from None
    roles, purposes = distinct(top["roles"], ROLES), distinct(top["purposes"], PURPOSES)
    for name, kind in top["kinds"].items():
        need(name not in PUBLIC and name != "padding")
        check_name(name)
        members(kind, KIND, "variant")
        check_form(kind["schema"], 0)
        check_terms(kind, top["acts"], roles, purposes)
        need({"guardian", "pupil"} <= {role for role, _ in pairs(kind["readers"], roles, purposes)})
        parts = kind["schema"]["properties"]
        dates = [one for one, part in parts.items() if part.get("format") == "date"]
        distinct(kind["identity"], parts)
        distinct(kind["past_dates"], dates)
        sources = dates + ["school_year"] * ("school_year" in parts)
        need(kind["period_from"] is None or kind["period_from"] in sources)
        members(kind["explanation"], "ru en")
        need(all(is_text(text, r"[^\x00-\x1f\x7f]{20,600}") for text in kind["explanation"].values()))
        need(re.search("[а-я]", kind["explanation"]["ru"]))
        if "variant" in kind:
            variant = members(kind["variant"], "field values " + " ".join(TERMS))
            need(type(variant["field"]) is str and variant["field"] in kind["schema"]["required"])
            distinct(variant["values"], parts[variant["field"]].get("enum", ()))
            check_terms(variant, top["acts"], roles, purposes)
        for field, known in (("kinds", top["kinds"]), ("purpose", purposes), ("role", roles)):
            part = parts.get(field, {})
            need(all(word in known for word in part.get("items", part).get("enum", ())))


def check_terms(terms: dict[str, Any], acts: Any, roles: Any, purposes: Any) -> None:
    need(terms["basis"] in ("law", "notice", "consent") and type(terms["act"]) is str)
    need(terms["act"] in acts and "ended_on" not in acts[terms["act"]])
    need(is_text(terms["article"], LINE) and is_text(terms["office"], "[a-z][a-z0-9_]{0,39}"))
    need(is_int(terms["retention_months"], 1, 1200) and type(terms["unit_bound"]) is bool)
    writers = {role for role, _ in pairs(terms["writers"], roles, purposes)}
    need(not writers & {"guardian", "pupil", "auditor", "registrar", "root"})


def pairs(value: Any, roles: Any, purposes: Any) -> list[list[str]]:
    for one in distinct(value):
        need(type(one) is list and len(one) == 2 and one[0] in roles and one[1] in purposes)
    return value  # type: ignore[no-any-return]


def check_name(name: str) -> None:
    need(is_text(name, "[a-z][a-z0-9_]{0,39}") and not FORBIDDEN & set(name.split("_")))


def check_form(form: Any, depth: int) -> None:
    """Depth 0: a kind's schema, 1 a field, 2 an item, 3 a property of an item."""
    need(type(form) is dict)
    kind = form.get("type", "enum")
    need(depth > 0 or kind == "object")
    need("description" not in form or is_text(form["description"], LINE))
    if "type" not in form:
        need(distinct(members(form, "enum", "description")["enum"]))
        need(all(is_text(word, "[a-z0-9][a-z0-9_.-]{0,39}") for word in form["enum"]))
    elif kind == "string":
        members(form, "type pattern maxLength description", "format")
        need(is_int(form["maxLength"], 1, 64) and form.get("format", "date") == "date")
        need(is_pattern(form["pattern"]))
    elif kind == "integer":
        members(form, "type minimum maximum", "description")
        need(is_int(form["minimum"], 0, 2**53 - 1) and is_int(form["maximum"], form["minimum"], 2**53 - 1))
    elif kind == "array" and depth == 1:
        members(form, "type items minItems maxItems uniqueItems", "description")
        need(is_int(form["minItems"], 0, 64) and is_int(form["maxItems"], form["minItems"], 64))
        need(type(form["uniqueItems"]) is bool)
        check_form(form["items"], 2)
    else:
        need(kind == "object" and depth in (0, 2))
        members(form, "type additionalProperties properties required", "" if depth else "allOf")
        need(form["additionalProperties"] is False)
        need(type(form["properties"]) is dict and len(form["properties"]) <= 64)
        for name, part in form["properties"].items():
            check_name(name)
            check_form(part, depth + 1)
        distinct(form["required"], form["properties"])
        conditions = form.get("allOf", [])
        need(type(conditions) is list and len(conditions) <= 64)
        for one in conditions:
            check_condition(one, form)


def check_condition(one: Any, schema: dict[str, Any]) -> None:
    members(one, "if then")
    tested = members(one["if"], "properties required")["properties"]
    need(type(tested) is dict and len(tested) == 1 and one["if"]["required"] == list(tested))
    ((field, test),) = tested.items()
    need(field in schema["required"])
    distinct(members(test, "enum")["enum"], schema["properties"][field].get("enum", ()))
    then = members(one["then"], "properties")["properties"]
    need(type(then) is dict and len(then) <= 64 and set(then) <= set(schema["properties"]))
    for part in then.values():
        check_form(part, 1)


def is_pattern(text: Any) -> bool:
    if type(text) is not str or len(text) > 200 or len(text) < 2 or text[0] != "^" or text[-1] != "$":
        return False
    at, depth = 1, 0
    while at < len(text) - 1:
        token = TOKEN.match(text, at, len(text) - 1)
        if token is None or (depth == 0 and token[0] in (")", ")?", "|")):
            return False
        depth += (token[0] == "(?:") - (token[0] in (")", ")?"))
        ascending = all(low <= high for low, high in re.findall(r"([^\[])-([^\]])", token[0]))
        repeats = re.search(r"\{([0-9]+),([0-9]+)\}", token[0])
        if not ascending or (repeats and int(repeats[1]) > int(repeats[2])):
            return False
        at = token.end()
    return depth == 0


def signed_by(by: dict[str, Any], of: dict[str, Any], raw: bytes) -> set[str]:
    note = parse_note(raw)
    need(note[0] == f"{of['ledger']}/roster\n{of['version']}\n{base64.b64encode(of['hash']).decode()}\n")
    return signers(note, by["keys"])


def check_chain(versions: list[dict[str, Any]], new: dict[str, Any]) -> None:
    old = versions[-1]
    need(new["version"] == old["version"] + 1 and new["before"] == old["hash"].hex())
    need(new["ledger"] == old["ledger"])
    need(set(new["ends"]) == {name for name, key in old["roots"].items() if new["roots"].get(name) != key})
    former = {name for one in versions for name in one["roots"]}
    need(not (former - set(old["roots"])) & set(new["roots"]))


def check_quorum(old: dict[str, Any], new: dict[str, Any], raw: bytes) -> None:
    signed = signed_by(old, new, raw)
    n, voters = len(old["roots"]), set(old["keys"])
    changed = [name for name, key in old["roots"].items() if new["roots"].get(name) != key]
    same = [ordered(one["statute"]) + json.dumps(one["sunset"]) for one in (old, new)]
    both = {old["recovery"], new["recovery"]}
    is_rest_same = same[0] == same[1] and (None in both or len(both) == 1)
    if len(changed) == 1 and set(new["roots"]) <= set(old["roots"]) and is_rest_same and n > 1:
        voters.remove(f"{old['ledger']}/{changed[0]}/root")
    needed = min(len(voters), n) if old["recovery"] else q(len(voters))
    need(len(signed & voters) >= needed)


def ordered(statute: dict[str, Any]) -> str:
    """Equal texts for equal statutes: keys sorted, but the order of the fields kept."""
    fields = {name: list(kind["schema"]["properties"]) for name, kind in statute["kinds"].items()}
    return json.dumps([statute, fields], sort_keys=True)
