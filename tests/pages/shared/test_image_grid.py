import json

from streamlit.testing.v1 import AppTest


def grid_page():
    import streamlit as st

    from app.components.image_grid import Tile, image_grid, paged

    def opened(mask_id):
        st.session_state["opened"] = mask_id

    ids = paged(range(100), key="pages", per_page=40)
    st.session_state["ids"] = ids
    tiles = [Tile(id, f"data:{id}" if id else "", badge=str(id)) for id in ids]
    image_grid(tiles, key="grid", marked=[2, 90], on_open=opened, on_mark=lambda ids: None)


def data_of(app):
    """What the browser is sent for the grid."""
    return json.loads(app.get("bidi_component")[0].proto.json)


def test_pictures_are_sent_once_and_only_what_is_on_the_page_is_selected():
    app = AppTest.from_function(grid_page).run()
    data = data_of(app)
    assert app.session_state["ids"] == list(range(40))
    assert len(data["pictures"]) == 39  # the first has none
    assert data["selected"] == [2]
    first, second = data["groups"][0]["tiles"][:2]
    assert first == {"id": 0, "badge": "0"}
    assert second == {"id": 1, "src": second["src"], "badge": "1"}
    again = data_of(app.run())
    assert again["pictures"] == {}
    assert again["groups"] == data["groups"]


def groups_page():
    import streamlit as st

    from app.components.image_grid import Tile, TileGroup, grouped_images

    groups = [TileGroup([Tile(7, "data:a"), Tile(None, "data:b")], title="one", id=4), TileGroup([Tile(7, "data:a")])]
    grouped_images(groups, key="groups", layout="rows", on_open=st.write, button="Photos")


def test_a_picture_of_two_groups_is_sent_once_and_one_without_a_mask_has_no_id():
    data = data_of(AppTest.from_function(groups_page).run())
    first, second = data["groups"]
    assert len(data["pictures"]) == 2
    assert first["tiles"][0] == second["tiles"][0]
    assert ["id" in tile for tile in first["tiles"]] == [True, False]
    assert (first["id"], first["title"], "title" in second) == (4, "one", False)
