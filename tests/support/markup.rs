//! The elements of the page `/stalls`.

use std::fmt::Write as _;

/// The tags of a page in their order, indented by depth, with their classes and without their text. Panics when one is
/// not closed, or closed in the wrong place.
pub fn outline(page: &str) -> String {
    let (_, body) = page.split_once("</style>").unwrap_or_else(|| panic!("no style"));
    let mut open = vec!["html", "head"];
    let mut outline = String::new();
    for piece in body.split('<').skip(1) {
        let (tag, _text) = piece.split_once('>').unwrap_or_else(|| panic!("<{piece}"));
        let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        if let Some(name) = name.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "in\n{outline}");
            continue;
        }
        let quotes = attributes.matches('"').count();
        assert_eq!(quotes, 2 * attributes.matches("=\"").count(), "{tag}");
        let class = attributes.split_once("class=\"").and_then(|(_, rest)| rest.split('"').next());
        let class = class.map(|class| format!(" .{class}")).unwrap_or_default();
        // Writing into a string cannot fail.
        let _infallible = writeln!(outline, "{}{name}{class}", "  ".repeat(open.len()));
        open.push(name);
    }
    assert_eq!(open, [""; 0], "all are closed");
    outline
}
