"""Links that work on the repository's page work in the site, too.

The pages in docs/ link to files elsewhere in the repository (``../LOG.md``, ``../results/…``) by relative paths. This
hook puts what they lead to into the site: Markdown as a page, anything else as the file that it is. A link to a folder
leads to its README.md, or else its report.html. The strict build fails where a link leads to none of these.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[2]
DOCS = "docs"
_LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)#\s]+)(#[^)\s]*)?(?=\))")
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def on_files(files, config):
    """Add all that the pages link to, and what those pages link to, until nothing is missing."""
    waiting = [file.src_uri for file in files.documentation_pages()]
    while waiting:
        page = waiting.pop()
        for link, _ in _LINK.findall(_FENCE.sub("", _source(page).read_text(encoding="utf-8"))):
            target = _place(page, link)
            if target is None or files.get_file_from_path(target) is not None:
                continue
            files.append(File.generated(config, target, abs_src_path=str(ROOT / target)))
            if target.endswith(".md"):
                waiting.append(target)
    return files


def on_page_markdown(markdown, page, config, files):
    """Write every link of a page as one within the site."""
    here = page.file.src_uri

    def within(match):
        target = _place(here, match[1])
        return match[0] if target is None else posixpath.relpath(target, posixpath.dirname(here)) + (match[2] or "")

    parts = re.split(f"({_FENCE.pattern})", markdown, flags=re.MULTILINE | re.DOTALL)
    return "".join(part if part.startswith("```") else _LINK.sub(within, part) for part in parts)


def _source(page: str) -> Path:
    """The file of a page, whose address in the site lacks ``docs/``."""
    return ROOT / DOCS / page if (ROOT / DOCS / page).is_file() else ROOT / page


def _place(page: str, link: str) -> str | None:
    """The address in the site of what ``link`` leads to from ``page``; None if nothing is there."""
    target = (_source(page).parent / link).resolve()
    if target.is_dir():
        target = next((target / name for name in ("README.md", "report.html") if (target / name).is_file()), target)
    if not target.is_file() or not target.is_relative_to(ROOT):
        return None
    within = target.relative_to(ROOT)
    return (within.relative_to(DOCS) if within.parts[0] == DOCS else within).as_posix()
