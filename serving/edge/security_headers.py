"""The headers that restrict what a browser may do with an answer. Names and values as in
https://owasp.org/www-project-secure-headers/.

``Strict-Transport-Security`` is missing: it belongs to the server that ends TLS in front of the
service."""

import base64
import hashlib
from html.parser import HTMLParser

Headers = list[tuple[str, str]]

_EVERYWHERE: Headers = [
    ("X-Content-Type-Options", "nosniff"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
]

API_HEADERS: Headers = [
    *_EVERYWHERE,
    ("Cache-Control", "no-store"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
]

_DOCUMENT: Headers = [
    *_EVERYWHERE,
    ("Referrer-Policy", "no-referrer"),
    ("X-Frame-Options", "DENY"),
]

# A drift report holds scripts that others wrote, about data that others sent. It has an origin of
# its own: it can neither read the service nor call it, and "default-src 'none'" lets it load
# nothing and send nothing.
REPORT_HEADERS: Headers = [
    *_DOCUMENT,
    ("Cache-Control", "private, no-store"),
    (
        "Content-Security-Policy",
        "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'; style-src "
        "'unsafe-inline'; img-src data: blob:; "
        "font-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
]


def page_headers(html: str) -> Headers:
    """Headers for a page of ours: only the scripts and styles within ``html`` run, identified by
    their SHA-256.

    Raises ``ValueError`` if the page has content that these headers forbid: an external script, an
    ``on...`` or ``style`` attribute."""
    inline = _Inline()
    inline.feed(html)
    inline.close()
    if inline.refused:
        raise ValueError(
            f"The page's own policy would block {', '.join(inline.refused)}: put it into its "
            "<script> or <style>."
        )
    policy = [
        "default-src 'none'",
        _sources("script-src", inline.blocks["script"]),
        _sources("style-src", inline.blocks["style"]),
        "connect-src 'self'",
        "img-src 'self' data:",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    ]
    return [
        *_DOCUMENT,
        ("Cross-Origin-Opener-Policy", "same-origin"),
        ("Cache-Control", "no-cache"),
        ("Content-Security-Policy", "; ".join(policy)),
    ]


def _sources(directive: str, blocks: list[str]) -> str:
    digests = [
        base64.b64encode(hashlib.sha256(block.encode()).digest()).decode() for block in blocks
    ]
    return " ".join([directive, *([f"'sha256-{digest}'" for digest in digests] or ["'none'"])])


class _Inline(HTMLParser):
    """Collects the exact content of each ``<script>`` and ``<style>``."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.blocks: dict[str, list[str]] = {"script": [], "style": []}
        self.refused: list[str] = []
        self._open: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.refused += [
            f"<{tag} {name}>" for name, _ in attrs if name.startswith("on") or name == "style"
        ]
        self.refused += [
            f"<{tag} {name}>" for name, _ in attrs if tag == "script" and name == "src"
        ]
        if tag in self.blocks:
            self._open = tag
            self.blocks[tag].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == self._open:
            self._open = None

    def handle_data(self, data: str) -> None:
        if self._open:
            self.blocks[self._open][-1] += data
