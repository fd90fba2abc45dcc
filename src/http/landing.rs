//! The page at `/`, for a person who typed the address.

use std::borrow::Cow;

use super::response::Chunk;

/// HTML5, no script, nothing loaded; readable in light and dark.
const HEAD: &str = r##"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>stall_exporter</title>
<style>
:root { --ink: #1b1f24; --paper: #ffffff; --link: #0b57d0; --faint: #57606a; --warn: #9a3412; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e8eb; --paper: #14171a; --link: #8ab4f8; --faint: #9aa4ae; --warn: #fdba74; }
}
body { margin: 3rem auto; padding: 0 1rem; max-width: 40rem; color: var(--ink); background: var(--paper);
  font: 1rem/1.5 system-ui, sans-serif; }
a { color: var(--link); }
[role=alert] { border-left: .25rem solid; padding-left: .75rem; color: var(--warn); }
dt { font-weight: 600; }
dd { margin: 0 0 .75rem; }
footer { margin-top: 2rem; color: var(--faint); font-size: .875rem; }
</style>
</head>
<body>
<main>
<h1>stall_exporter</h1>
<p>What is stuck on this host, since when, and on what.</p>
"##;
const TAIL: &str = concat!(
    r##"<dl>
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
        notices.iter().map(|notice| format!("<p role=\"alert\">{}</p>\n", escape(notice))).collect();
    [Cow::Borrowed(HEAD), Cow::Owned(notices), Cow::Borrowed(TAIL)].map(Chunk::Text).into()
}

/// Text as it is shown, whatever is in it.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
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
