"""Run uv with pip's package index, and with the certificates that this machine trusts.

    python infra/package_index.py ARGUMENTS OF UV...

pip reads its files, its variables and, from version 24.2 on, the system's certificates; uv reads
none of them. Behind a company's mirror or certificate authority pip works and uv does not. uv's own
variables stay if they are set."""

import ast
import math
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

# pip's options, and uv's variables for them.
VARIABLES = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
    "client-cert": "SSL_CLIENT_CERT",
    "proxy": "HTTPS_PROXY",
    "default-timeout": "UV_HTTP_TIMEOUT",
    "timeout": "UV_HTTP_TIMEOUT",
}
# Older names of uv's own variables, which count as set too.
OWN_NAMES = {
    "UV_DEFAULT_INDEX": ("UV_INDEX_URL",),
    "UV_INDEX": ("UV_EXTRA_INDEX_URL",),
    "UV_SYSTEM_CERTS": ("UV_NATIVE_TLS",),
}
# The last section wins, as in pip.
SECTIONS = ("global", "install", ":env:")


def pip_options(listing: str) -> dict[str, str]:
    """The output of ``pip config list``, by option, as `pip install` understands it."""
    by_section: dict[str, dict[str, str]] = {section: {} for section in SECTIONS}
    for line in listing.splitlines():
        name, equals, value = line.partition("=")
        section, _, option = name.rpartition(".")
        if equals and section in by_section:
            by_section[section][option] = str(ast.literal_eval(value)).strip()
    return {
        option: value
        for section in SECTIONS
        for option, value in by_section[section].items()
        if value
    }


def uv_variables(options: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    """The variables to add to ``environment`` for uv; uv's own variables in it stay."""
    variables = {
        VARIABLES[name]: " ".join(value.split())
        for name, value in options.items()
        if name in VARIABLES
    }
    if "UV_FIND_LINKS" in variables:
        variables["UV_FIND_LINKS"] = variables["UV_FIND_LINKS"].replace(" ", ",")
    if "UV_HTTP_TIMEOUT" in variables:
        variables["UV_HTTP_TIMEOUT"] = str(
            math.ceil(float(variables["UV_HTTP_TIMEOUT"]))
        )  # pip accepts 7.5, but uv only whole seconds
    if "UV_INDEX" in variables:
        # pip takes the best version from all its indexes; by default uv uses only the first index
        # that has the package.
        variables["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    if "HTTPS_PROXY" in variables:
        variables["HTTP_PROXY"] = variables["HTTPS_PROXY"]
    variables["UV_SYSTEM_CERTS"] = "true"
    bundles = [
        environment.get(name, "")
        for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
    ]
    if any(bundles):
        variables.setdefault(
            "SSL_CERT_FILE", next(filter(None, bundles))
        )  # pip honours the last two as well
    synonyms = {
        name: (name, *OWN_NAMES.get(name, ())) for name in variables if name.startswith("UV_")
    }
    return {
        name: value
        for name, value in variables.items()
        if not any(environment.get(synonym) for synonym in synonyms.get(name, ()))
    }


def with_flags(arguments: Sequence[str], options: Mapping[str, str]) -> list[str]:
    """uv's arguments, with ``no-index``, which has no variable."""
    is_offline = options.get("no-index", "").lower() in ("1", "yes", "on", "true", "t", "y")
    return [
        *arguments[:2],
        *(["--no-index"] if is_offline and arguments[0] == "pip" else []),
        *arguments[2:],
    ]


def main() -> None:
    """This process becomes uv."""
    listing = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    options, uv = pip_options(listing), str(Path(sys.executable).with_name("uv"))
    variables = uv_variables(options, os.environ)
    os.execve(uv, [uv, *with_flags(sys.argv[1:], options)], {**os.environ, **variables})  # noqa: S606


if __name__ == "__main__":
    main()
