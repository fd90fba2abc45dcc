//! The page at `/`, for a person who typed the address.

use std::borrow::Cow;

use super::response::Chunk;
use crate::exposition::stalls::html::Text;
use crate::exposition::style::sheet;

/// HTML5, no script, nothing loaded; readable in light and dark.
const HEAD: &str = concat!(
    r##"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>stall_exporter</title>
<style>
"##,
    sheet!(),
    r##"[role=alert] { border-left: .25rem solid; padding-left: .75rem; color: var(--warn); }
dt { font-weight: 600; }
dd { margin: 0 0 .75rem; }
</style>
</head>
<body>
<main>
<h1>stall_exporter</h1>
<p>What is stuck on this host, since when, and on what.</p>
"##
);
const TAIL: &str = concat!(
    r##"<dl>
<dt><a href="/stalls">/stalls</a></dt><dd>what is stuck, who probably holds it, and what to do</dd>
<dt><a href="/stalls.json">/stalls.json</a></dt><dd>the same for programs</dd>
<dt><a href="/metrics">/metrics</a></dt><dd>for Prometheus</dd>
<dt><a href="/-/healthy">/-/healthy</a></dt><dd>whether the exporter answers</dd>
<dt><a href="/-/ready">/-/ready</a></dt><dd>whether it has data, and if not, why</dd>
</dl>
</main>
<footer>version "##,
    env!("CARGO_PKG_VERSION"),
    "</footer>\n</body>\n</html>\n"
);

/// The page with these notices.
pub fn page(notices: &[String]) -> Vec<Chunk> {
    let notices: String =
        notices.iter().map(|notice| format!("<p role=\"alert\">{}</p>\n", Text(notice))).collect();
    [Cow::Borrowed(HEAD), Cow::Owned(notices), Cow::Borrowed(TAIL)].map(Chunk::Text).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(notices: &[&str]) -> String {
        let notices: Vec<String> = notices.iter().map(|notice| (*notice).to_owned()).collect();
        let chunks = page(&notices);
        chunks.iter().map(|chunk| std::str::from_utf8(chunk.as_ref()).unwrap()).collect()
    }

    #[test]
    fn every_element_is_closed() {
        let page = text(&["remove it", "<b> & \"c\""]);
        let mut open = Vec::new();
        for tag in page.split('<').skip(1).filter(|tag| !tag.starts_with('!')) {
            let name: &str = tag.split([' ', '>']).next().unwrap();
            match name.strip_prefix('/') {
                Some(name) => assert_eq!(open.pop(), Some(name)),
                None if name == "meta" => {}
                None => open.push(name),
            }
        }
        assert!(open.is_empty(), "{open:?}");
    }

    #[test]
    fn notices_stand_above_the_links_and_are_text() {
        let page = text(&["<b> & \"c\""]);
        let notice = page.find("<p role=\"alert\">&lt;b&gt; &amp; &quot;c&quot;</p>").unwrap();
        assert!(notice < page.find("<dl>").unwrap());
        assert!(!text(&[]).contains("<p role"));
    }
}
