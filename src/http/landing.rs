//! The page at `/`, for a person who typed the address.

use crate::exposition::style::sheet;

/// HTML5, no script, nothing loaded; readable in light and dark.
pub const PAGE: &str = concat!(
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
    r##"dt { font-weight: 600; }
dd { margin: 0 0 .75rem; }
</style>
</head>
<body>
<main>
<h1>stall_exporter</h1>
<p>What is stuck on this host, since when, and on what.</p>
<dl>
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

#[cfg(test)]
mod tests {
    use super::PAGE;

    #[test]
    fn every_element_is_closed() {
        let mut open = Vec::new();
        for tag in PAGE.split('<').skip(1).filter(|tag| !tag.starts_with('!')) {
            let name: &str = tag.split([' ', '>']).next().unwrap();
            match name.strip_prefix('/') {
                Some(name) => assert_eq!(open.pop(), Some(name)),
                None if name == "meta" => {}
                None => open.push(name),
            }
        }
        assert!(open.is_empty(), "{open:?}");
    }
}
