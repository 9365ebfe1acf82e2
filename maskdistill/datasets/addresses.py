"""Addresses of objects on other machines, and what of them may be shown and written down.

A query may hold a signature that opens the object to whoever reads it, and so may a name before the host. Neither is
ever written into a run or a message: what stands there is ``public``.
"""

import hashlib
import re
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

SCHEMES = ["https", "http", "s3", "gs"]
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://", re.ASCII)
# Parts of a query that say who may read, and not what: AWS, Google, Azure, CloudFront, tokens.
_SIGNATURE = re.compile(
    r"(x-(amz|goog|oss|cos)-.*|awsaccesskeyid|googleaccessid|signature|expires|policy|key-pair-id|hmac|jwt|auth.*"
    r"|.*token.*|s[eprstv]|sig|spr|sip|skoid|sktid|skt|ske|sks|skv|pass.*)",
    re.IGNORECASE,
)
_DIGEST_LENGTH = 12


def is_address(text: str) -> bool:
    """Whether a text names an object on another machine, of a kind that can be read."""
    found = _ADDRESS.match(text)
    if found is None or found[1].lower() not in SCHEMES:
        return False
    try:
        return bool(urlsplit(text).path or urlsplit(text).netloc)
    except ValueError:  # brackets that hold no number of a host
        return False


def public(address: str) -> str:
    """An address without what may be secret; of the rest of its query a digest stays, so that objects differ."""
    parts = urlsplit(address)
    host = parts.netloc.rpartition("@")[2]
    digest = parts.fragment
    given = parse_qsl(parts.query, keep_blank_values=True)
    if what := sorted(item for item in given if not _SIGNATURE.fullmatch(item[0])):
        digest = _short_digest(f"{urlencode(what)}#{digest}")
    return urlunsplit((parts.scheme.lower(), host, parts.path, "", digest))


def versioned(address: str, version: str) -> str:
    """The address of an object as it is now: what is kept of it is not taken for what it is later."""
    return f"{urlsplit(address)._replace(fragment='').geturl()}#{_short_digest(version)}"


def _short_digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=_DIGEST_LENGTH // 2).hexdigest()


def is_public(address: str) -> bool:
    """Whether an address holds nothing that is not written down."""
    return public(address) == address


def shown_path(address: str) -> Path:
    """How an object is named where files are named: its host and path, below its scheme."""
    parts = urlsplit(public(address))
    path = unquote(parts.path).replace("\0", "")
    names = [part for part in path.split("/") if part not in ("", ".", "..")]
    if parts.fragment and names:
        stem, dot, suffix = names[-1].rpartition(".")
        names[-1] = f"{stem}@{parts.fragment}{dot}{suffix}" if stem else f"{names[-1]}@{parts.fragment}"
    return Path(f"{parts.scheme}:", parts.netloc, *names)


def suffix_of_address(address: str) -> str:
    """What follows the last dot of the object's name, with it, in lower case."""
    return shown_path(address).suffix.lower()


def join(base: str, name: str) -> str | None:
    """The address of an object that a list names relative to where it lies; None if that leads elsewhere."""
    parts = urlsplit(base)
    names = parts.path.split("/")[:-1]
    if name.startswith(("/", "\\")) or "\0" in name:
        return None
    for part in name.split("/"):
        if part == "..":
            if len(names) <= 1:
                return None
            names.pop()
        elif part not in ("", "."):
            names.append(quote(part) if parts.scheme in ("https", "http") else part)
    return urlunsplit((parts.scheme, parts.netloc, "/".join(names), "", ""))


def without_secrets(text: str) -> str:
    """A text, such as a command, with every address in it as ``public``."""
    return re.sub(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"]+", _public_match, text, flags=re.ASCII)


def _public_match(found: re.Match[str]) -> str:
    try:
        return public(found[0])
    except ValueError:
        return found[0].partition("?")[0]
