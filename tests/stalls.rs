//! The page of what is stuck, as people see it: its markup, its text, and its look in a real browser.
//!
//! How: the reports of `tests/fixtures/stalls`, one for each known incident, are rendered and judged; Chromium lays
//! them out on a phone and on a desk, in light and dark, and leaves pictures in `target/stalls` to look at.
#![expect(clippy::disallowed_methods, reason = "this test reads the fixtures and runs a browser")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "what only tests call is a test")]

#[path = "support/markup.rs"]
mod markup;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use stall_exporter::exposition::stalls::text::{self, Terminal};
use stall_exporter::exposition::stalls::{html, json};
use stall_exporter::snapshot::stall::{KnownWait, Past, Report, Stall, Suspect, Task, Wchan};

use markup::outline;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every fixture and its name, and a report whose every text is hostile.
fn reports() -> Vec<(String, Report)> {
    let mut found: Vec<(String, Report)> = fs::read_dir(root().join("tests/fixtures/stalls"))
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let report = json::decode(&fs::read(&path).unwrap());
            let report = report.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            (path.file_stem().unwrap().to_str().unwrap().to_owned(), report)
        })
        .collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(found.len(), 6, "five incidents and a host on which nothing is stuck");
    found.push(("hostile".to_owned(), named(&evil())));
    found
}

/// 300 bytes that break out of everything, without a place to break a line, and with the marks that the eye does not
/// see.
fn evil() -> String {
    let tricks =
        "</td><script>alert(1)</script><b a='\"&amp;\u{1b}[2J\u{1b}]0;x\u{7}\n\r\t\u{202e}\u{200b}\u{9b}";
    format!("{tricks}{}", "x".repeat(300 - tricks.len()))
}

/// A report with everything in it, whose every text is this.
fn named(name: &str) -> Report {
    let name = || name.to_owned();
    let task = |tid| Task {
        tid,
        pid: u32::MAX,
        comm: name(),
        seconds: 1e12,
        wchan: name(),
        cpu: Some(u32::MAX),
        cgroup: name(),
        services: vec![name(), name()],
        stack: vec![name(); 3],
    };
    let suspect = Suspect {
        comm: name(),
        pid: Some(1),
        tid: Some(u32::MAX),
        cgroup: name(),
        reason: name(),
        score: 0.5,
        because: vec![name(), name()],
    };
    let stall = Stall {
        kind: name(),
        key: name(),
        title: name(),
        seconds: f64::MAX,
        explain: name(),
        wchans: vec![Wchan { wchan: name(), tasks: u64::MAX }],
        suspects: vec![suspect.clone(), suspect],
        prove: vec![name(), name()],
        act: vec![name()],
        avoid: vec![name()],
        tasks: vec![task(1), task(2)],
        tasks_total: u64::MAX,
    };
    Report {
        schema: "stall_exporter/stalls/v1".to_owned(),
        version: name(),
        host: name(),
        kernel: name(),
        time: f64::MAX,
        walk_age_seconds: Some(-1.0),
        unjudged: false,
        notices: vec![name(), name()],
        stalls: vec![stall.clone(), stall],
        stalls_left_out: u64::MAX,
        known_waits: vec![KnownWait { kind: name(), tasks: 1, seconds: 0.0, explain: name() }],
        history: vec![Past {
            kind: name(),
            title: name(),
            began_seconds_ago: 1e9,
            ended_seconds_ago: None,
            seconds: 1e9,
            tasks_max: u64::MAX,
            suspect: name(),
        }],
    }
}

fn page(report: &Report) -> String {
    String::from_utf8(html::page(report)).unwrap()
}

/// Compares with `tests/golden/stalls/name`; `UPDATE_STALLS=1 cargo test --test stalls` writes it anew.
fn assert_golden(name: &str, text: &str) {
    let path = root().join("tests/golden/stalls").join(name);
    if std::env::var_os("UPDATE_STALLS").is_some() {
        fs::write(&path, text).unwrap();
    }
    let golden = fs::read_to_string(&path).unwrap_or_default();
    assert!(golden == text, "{} is another; this is it now:\n{text}", path.display());
}

/// What moves a cursor or is not seen, of what [`evil`] holds.
fn is_hidden(c: char) -> bool {
    (c.is_control() && c != '\n') || matches!(c, '\u{200b}' | '\u{202e}')
}

#[test]
fn every_element_is_closed_and_names_make_none() {
    for (name, report) in reports() {
        let page = page(&report);
        assert!(
            page.starts_with("<!DOCTYPE html>\n<html lang=\"en\">\n") && page.ends_with("</html>\n"),
            "{name}"
        );
        assert_eq!(page.matches(is_hidden).count(), 0, "{name}");
        for loaded in ["<script", "<img", "<link", "<iframe", " src=", "url(", "@import", "javascript:"] {
            assert!(!page.contains(loaded), "{loaded} in {name}");
        }
        outline(&page);
    }
    assert_eq!(outline(&page(&named(&evil()))), outline(&page(&named("x"))), "a name changed the page");
    assert_golden("everything.outline", &outline(&page(&named("x"))));
}

#[test]
fn the_page_is_read_in_the_order_of_its_source() {
    for (name, report) in reports().into_iter().filter(|(_, report)| !report.stalls.is_empty()) {
        let page = page(&report);
        let mut rest = page.split_once("<article").unwrap().1;
        let stall = &report.stalls[0];
        let parts = [
            ("</h2>", true),
            ("for at least", true),
            ("Probable holder", true),
            ("Prove it", !stall.prove.is_empty()),
            ("Do first", !stall.act.is_empty()),
            ("Do not", !stall.avoid.is_empty()),
            ("<details>", !stall.tasks.is_empty()),
            ("</article>", true),
        ];
        for (part, _) in parts.iter().filter(|(_, there)| *there) {
            rest = rest.split_once(part).unwrap_or_else(|| panic!("{part} is not in its place in {name}")).1;
        }
    }
}

#[test]
fn the_terminal_gets_text_and_nothing_else() {
    let plain = Terminal { width: 100, colour: false };
    for (name, report) in reports() {
        let text = text::table(&report, plain);
        assert_eq!(text.matches(is_hidden).count(), 0, "{name}");
        let narrow = text::table(&report, Terminal { width: 72, ..plain });
        let titles = report.stalls.iter().filter(|stall| stall.title.chars().count() < 60);
        for stall in titles.filter(|_| report.stalls.len() > 1) {
            assert_eq!(narrow.matches(&stall.title).count().min(2), 2, "in the table and below it: {narrow}");
        }
        if name != "hostile" {
            // A word that is longer than the line stands alone, as commands do.
            let wide = text.lines().filter(|line| line.chars().count() > 100 && !line.contains('/'));
            assert_eq!(wide.collect::<Vec<_>>(), [""; 0], "{name}");
            assert_golden(&format!("{name}.txt"), &text);
        }
        let mut coloured = text::table(&report, Terminal { colour: true, ..plain });
        assert!(coloured.contains('\u{1b}'));
        for code in ["0", "1", "2", "1;31", "1;32", "1;33"] {
            coloured = coloured.replace(&format!("\u{1b}[{code}m"), "");
        }
        assert_eq!(coloured, text, "colours and nothing else");
    }
}

/// `target/stalls/name`.
fn output(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("stalls");
    fs::create_dir_all(&directory).unwrap();
    directory.join(name)
}

/// Chromium without a window. The scheme is what the user prefers: light or dark.
fn chromium(scheme: &str, arguments: &[&str]) -> String {
    let profile = tempfile::tempdir().unwrap();
    let preferred = if scheme == "dark" { 0 } else { 1 };
    let output = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("--blink-settings=preferredColorScheme={preferred}"))
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("chromium: {error}; tests/run install"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A page that shows each report in a frame of each width, everything unfolded, and then says what it measured:
/// a line `name width overflow contrast` each, with the widest and the palest text found.
fn judge() -> String {
    let mut judge = "<!DOCTYPE html>\n<body>\n".to_owned();
    for (name, report) in reports() {
        let shown = page(&report).replace("<details>", "<details open>");
        let shown = shown.replace('&', "&amp;").replace('"', "&quot;");
        for width in [320, 390, 1280] {
            let frame = format!(
                "<iframe name={name} width={width} height=800 style=border:0 srcdoc=\"{shown}\"></iframe>"
            );
            judge.push_str(&frame);
        }
    }
    judge + include_str!("stalls/judge.html")
}

#[test]
fn a_browser_lays_it_out_on_a_phone_and_on_a_desk() {
    let file = output("judge.html");
    fs::write(&file, judge()).unwrap();
    for scheme in ["light", "dark"] {
        let said = chromium(
            scheme,
            &["--virtual-time-budget=10000", "--dump-dom", &format!("file://{}", file.display())],
        );
        let said = said.split_once("<pre id=\"said\">").unwrap().1.split("</pre>").next().unwrap();
        println!("{scheme}:\n{said}");
        assert_eq!(said.lines().count(), 7 * 3, "{said}");
        for line in said.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let [_name, background, overflow, contrast] = words[..] else { panic!("{line}") };
            assert_eq!(background, scheme, "{line}");
            assert!(overflow.parse::<f64>().unwrap() <= 0.0, "wider than the window: {scheme} {line}");
            assert!(contrast.parse::<f64>().unwrap() >= 4.5, "too pale (WCAG AA): {scheme} {line}");
        }
    }
}

#[test]
fn pictures_are_left_to_look_at() {
    for (name, report) in reports() {
        fs::write(output(&format!("{name}.html")), page(&report)).unwrap();
    }
    for (name, scheme, size) in [
        ("s0_throttled_holder", "light", "390,1800"),
        ("s0_throttled_holder", "dark", "390,1800"),
        ("s0_throttled_holder", "light", "1280,1400"),
        ("s0_throttled_holder", "dark", "1280,1400"),
        ("nothing", "dark", "390,844"),
    ] {
        let width = size.split(',').next().unwrap();
        let picture = output(&format!("{name}-{width}-{scheme}.png"));
        let shoot = format!("--screenshot={}", picture.display());
        let page = format!("file://{}", output(&format!("{name}.html")).display());
        chromium(scheme, &[&shoot, &format!("--window-size={size}"), &page]);
        let bytes = fs::read(&picture).unwrap();
        // The size stands behind the signature and the name of the first chunk (PNG, IHDR).
        assert!(bytes.starts_with(b"\x89PNG\r\n\x1a\n") && bytes.len() > 5_000, "{}", bytes.len());
        assert_eq!(bytes[16..20], width.parse::<u32>().unwrap().to_be_bytes(), "{name}");
    }
}
