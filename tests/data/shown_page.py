"""What a page shows, as tests read it."""

import json


def button(app, start):
    """The first button whose label begins so."""
    return next(item for item in app.button if item.label.startswith(start))


def labels(app):
    """Those of all buttons."""
    return [item.label for item in app.button]


def texts(app):
    """All that is said, as Markdown."""
    parts = (app.markdown, app.caption, app.info, app.success, app.warning, app.error, app.header, app.subheader)
    return "\n".join(item.value for part in parts for item in part)


def plain_texts(app):
    """The same without the signs that keep Markdown from reading into it."""
    return texts(app).replace("\\", "")


def detail_texts(app):
    """What is said of the mask that is open."""
    return " ".join(item.proto.body for item in app.get("html"))


def component(app, key):
    """What the browser was sent for the component of that key."""
    found = next(item.proto for item in app.get("bidi_component") if item.proto.id.endswith(f"-{key}"))
    return json.loads(found.json)
