"""Sentence templates, loaded and checked: a name, words that identify the attribute, then the value."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources

from moefacts.errors import UserError
from moefacts.synthetic_data.pools import ATTRIBUTES, MONTHS, Pools

_TAG = re.compile(r"\[([^\]]*)\]")
_SHAPE = re.compile(r"(?:(?P<prefix>[^\[\]]*[^ \[\]]) )?\[name\](?P<middle>[^\[\]]+) \[\w+\](?P<suffix>[^\[\]]*)")
_WORD = re.compile(r"[^\s.,]+?(?='s\b|[\s.,]|$)")
Templates = dict[str, tuple["Template", ...]]


@dataclass(frozen=True)
class Template:
    """The fixed text around a name and a value; every part includes the space before it, but none after."""

    prefix: str
    middle: str
    suffix: str

    def fill(self, name: str, value: str) -> str:
        """The sentence, with a leading space that separates it from the one before."""
        return f"{self.prefix} {name}{self.middle} {value}{self.suffix}"


def parse_template(line: str, attribute: str) -> Template:
    """Split one line of a template file into its parts.

    Raises:
        ValueError: a tag is missing, repeated, unknown or out of order, or the text breaks a rule of spacing.
    """
    tags = _TAG.findall(line)
    if unknown := [tag for tag in tags if tag not in ("name", attribute)]:
        raise ValueError(f"tag [{unknown[0]}] is unknown; only [name] and [{attribute}] are allowed")
    for tag in ("name", attribute):
        if tags.count(tag) != 1:
            raise ValueError(f"tag [{tag}] occurs {tags.count(tag)} times; it must occur once")
    if tags[0] != "name":
        raise ValueError(f"[{attribute}] comes before [name]; the name must come first")
    match = _SHAPE.fullmatch(line)
    if match is None or "  " in line or line != line.strip():
        raise ValueError("tags must be separated by words and single spaces, as in '[name] was born in [birthplace].'")
    if not match["suffix"].endswith(".") or line.count(".") != 1:
        raise ValueError("a template is one sentence; it must end with its only full stop")
    if not _words(match["middle"]) and not _words(match["prefix"] or ""):
        raise ValueError("there is no word before the value to identify the attribute")
    return Template(f" {match['prefix']}" if match["prefix"] else "", match["middle"], match["suffix"])


def _words(text: str) -> list[str]:
    return [word for word in _WORD.findall(text) if word != "'s"]


def _phrases(text: str) -> Iterator[str]:
    words = _words(text)
    for start in range(len(words)):
        for end in range(start + 1, min(start + 6, len(words)) + 1):
            yield " ".join(words[start:end])


def parse_templates(sources: dict[str, str], pools: Pools) -> Templates:
    """Check the template files and split them into templates.

    Args:
        sources: attribute -> text of its file, with one template per line.
        pools: names and values that template text must not contain.

    Raises:
        UserError: a line breaks a rule; the message names file and line.
    """
    forbidden = {*pools.first_names, *pools.middle_names, *pools.last_names, *MONTHS}
    forbidden.update(value for attribute in ATTRIBUTES[1:] for value in pools.values(attribute))
    seen: dict[tuple[str, str], str] = {}
    templates: Templates = {}
    for attribute, text in sources.items():
        parsed = []
        for number, line in enumerate(text.splitlines(), start=1):
            where = f"{attribute}.txt line {number}"
            try:
                template = parse_template(line, attribute)
            except ValueError as error:
                raise UserError(f"{where}: {error}") from None
            for part in (template.prefix, template.middle, template.suffix):
                if found := next((phrase for phrase in _phrases(part) if phrase in forbidden), None):
                    raise UserError(f"{where}: the text contains '{found}', which is a name or a value in a pool")
                if any(character.isdigit() for character in part):
                    raise UserError(f"{where}: the text contains a digit; digits are reserved for dates")
            before_value = (template.prefix, template.middle)
            if before_value in seen:
                raise UserError(f"{where}: the text before the value is the same as in {seen[before_value]}")
            seen[before_value] = where
            parsed.append(template)
        templates[attribute] = tuple(parsed)
    return templates


def load_templates(pools: Pools) -> Templates:
    """The templates shipped with the package, checked against ``pools``; the same number for every attribute."""
    folder = resources.files(__package__).joinpath("templates")
    sources = {attribute: folder.joinpath(f"{attribute}.txt").read_text(encoding="utf-8") for attribute in ATTRIBUTES}
    templates = parse_templates(sources, pools)
    counts = {attribute: len(templates[attribute]) for attribute in ATTRIBUTES}
    if len(set(counts.values())) != 1:
        raise UserError(f"every attribute needs the same number of templates; found {counts}")
    return templates
