"""What a component's files become on their way to the browser."""

from app.components._register import _read


def test_comments_and_indents_are_left_out_and_all_else_stays(tmp_path):
    script, style = tmp_path / "part.js", tmp_path / "part.css"
    script.write_text('// a comment\nconst a = {\n  link: "http://here", // why\n\n  // another\n};\n')
    style.write_text(":host { display: block; }\n")
    assert _read([script, style], ".js") == 'const a = {\nlink: "http://here", // why\n};\n'
    assert _read([script, style], ".css") == ":host { display: block; }\n"
