"""From a letter to its subject, text and HTML. HTML is escaped; a name that a letter lacks is an error."""

from dataclasses import dataclass
from functools import lru_cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from app.mailing import wording
from app.mailing.letters import TOPIC_NAMES, Letter
from app.plurals import counted
from app.settings import Settings

MAX_SUBJECT_CHARS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """The same letter three times; the subject is one line."""

    subject: str
    text: str
    html: str


def render(letter: Letter, settings: Settings, *, unsubscribe_url: str | None = None) -> Rendered:
    """Links lead to the settings' `public_url`. Raises jinja2.TemplateError for a fault in a template."""
    names = {
        "letter": letter,
        "url": lambda path: public_link(settings, path),
        "unsubscribe_url": unsubscribe_url,
        "topic_name": TOPIC_NAMES[letter.topic] if letter.topic else None,
    }
    plain = templates().get_template(f"{letter.template}.txt")
    subject = wording.one_line("".join(plain.blocks["subject"](plain.new_context(names))))
    subject = subject[:MAX_SUBJECT_CHARS]
    html = templates().get_template(f"{letter.template}.html").render(**names, subject=subject)
    return Rendered(subject=subject, text=plain.render(**names).strip() + "\n", html=html)


def public_link(settings: Settings, path: str) -> str:
    """The path at the address by which people reach the product."""
    return settings.public_url.rstrip("/") + path


@lru_cache(maxsize=1)
def templates() -> Environment:
    """The process's templates, compiled when they are first used."""
    made = Environment(
        loader=PackageLoader("app.mailing"),
        autoescape=lambda name: name is not None and name.endswith(".html"),  # noqa: S701 - text has no markup
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for filter_ in (wording.number, wording.money, wording.moment, counted):
        made.filters[filter_.__name__] = filter_
    return made
