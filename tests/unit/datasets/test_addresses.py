"""Addresses: which are read, how they are shown, and that nothing secret in them is."""

from pathlib import Path

import pytest

from maskdistill.datasets.addresses import is_address, is_public, join, public, shown_path, without_secrets

SIGNED = "https://user:word@host.org/b/a%20b.jpg?X-Amz-Signature=SECRET&X-Amz-Date=2&X-Amz-Credential=C"


def test_which_texts_are_addresses():
    assert all(map(is_address, ("https://h/a.jpg", "HTTP://h/a", "s3://bucket/a", "gs://bucket/a")))
    others = ("ftp://h/a", "https:/h/a", "photos/", "/https://x", "C://x", "", "https://[::1/a", "memory://a")
    assert not any(map(is_address, others))


def test_signatures_and_passwords_are_not_public():
    assert public(SIGNED) == "https://host.org/b/a%20b.jpg"
    assert not is_public(SIGNED)
    assert is_public(public(SIGNED))


@pytest.mark.parametrize(
    "query",
    [
        "Signature=S&Expires=1&AWSAccessKeyId=S&x-amz-security-token=S",
        "X-Goog-Signature=S&X-Goog-Credential=S",
        "sv=2020&sig=S&se=2030&sp=r&sr=b&st=1&spr=https",
        "access_token=S",
        "Policy=S&Key-Pair-Id=S",
    ],
)
def test_another_signature_is_the_same_object(query):
    assert public(f"https://h/a.jpg?{query}") == "https://h/a.jpg"
    assert public(f"https://h/a.jpg?id=7&{query}") == public("https://h/a.jpg?id=7") != public("https://h/a.jpg?id=8")


def test_rest_of_a_query_tells_objects_apart_and_is_not_readable():
    text = public("https://h/image?name=secret")
    assert "secret" not in text
    assert public(text) == text
    assert shown_path("https://h/image.jpg?id=7") != shown_path("https://h/image.jpg?id=8")
    assert shown_path("https://h/image.jpg?id=7").suffix == ".jpg"


def test_shown_path_leads_nowhere():
    assert shown_path("https://h/../../etc/x.png") == Path("https:/h/etc/x.png")
    assert shown_path("s3://bucket/a/b.png") == Path("s3:/bucket/a/b.png")
    assert shown_path("https://h/%2e%2e/%00x.png") == Path("https:/h/x.png")


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("a.jpg", "https://h/lists/a.jpg"),
        ("b/a b.jpg", "https://h/lists/b/a%20b.jpg"),
        ("../a.jpg", "https://h/a.jpg"),
        ("../../a.jpg", None),
        ("/etc/a.jpg", None),
        ("a\0.jpg", None),
    ],
)
def test_names_in_a_list_start_where_it_lies(name, found):
    assert join("https://h/lists/photos.txt?sig=S", name) == found


def test_texts_without_secrets():
    text = without_secrets(f"maskdistill run --data '{SIGNED}' --run R # https://[::1/x?sig=SECRET")
    assert text.startswith("maskdistill run --data 'https://host.org/b/a%20b.jpg' --run R")
    assert "SECRET" not in text
    assert "word" not in text
