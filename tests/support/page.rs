//! A strict reader of the text exposition format 0.0.4.
//!
//! Stricter than Prometheus: what a scraper forgives (a family without TYPE, a comment, a timestamp, an empty family)
//! is an error here, because our writer has no reason to write it. Only notices, which come before all else, are
//! comments. Written apart from the writer on purpose, so that no misunderstanding of the format can be in both.

use std::collections::HashSet;
use std::io::Write;
use std::process::{Command, Stdio};

/// One page of `/metrics`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Page {
    /// What the comments at the top say.
    pub notices: Vec<String>,
    /// The families in the order of the page.
    pub families: Vec<Family>,
}

/// One metric family with its samples.
#[derive(Debug, Clone, PartialEq)]
pub struct Family {
    /// The name of the TYPE line.
    pub name: String,
    /// The text of the HELP line, unescaped.
    pub help: String,
    /// `counter`, `gauge`, `histogram`, `summary` or `untyped`.
    pub kind: String,
    /// At least one.
    pub samples: Vec<Sample>,
}

/// One line with a value.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The name of the line: the family's, or with `_bucket`, `_sum`, `_count` after it.
    pub name: String,
    /// Labels in the order of the line, values unescaped.
    pub labels: Vec<(String, String)>,
    /// The value.
    pub value: f64,
}

impl Sample {
    /// The value of one label.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Whether every one of these labels is there with this value; others may be there too.
    pub fn has(&self, labels: &[(&str, &str)]) -> bool {
        labels.iter().all(|(key, value)| self.label(key) == Some(value))
    }

    /// The labels as a set, one of them left out: what makes two lines one series.
    fn identity(&self, without: &str) -> Vec<(&str, &str)> {
        let pairs = self.labels.iter().filter(|(key, _)| key != without);
        let mut pairs: Vec<_> = pairs.map(|(key, value)| (key.as_str(), value.as_str())).collect();
        pairs.sort_unstable();
        pairs
    }
}

impl Page {
    /// Reads a page.
    ///
    /// # Errors
    /// The first fault, with the number of its line.
    pub fn parse(text: &str) -> Result<Self, String> {
        if !text.is_empty() && !text.ends_with('\n') {
            return Err("the last line has no end: the page is cut".to_owned());
        }
        let mut reader = Reader::default();
        for (index, line) in text.split_terminator('\n').enumerate() {
            reader.line(line).map_err(|fault| format!("line {}: {fault}: {line:?}", index + 1))?;
        }
        reader.end()
    }

    /// The value of the series with exactly these labels, in any order.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        self.samples(name)
            .find(|sample| sample.labels.len() == labels.len() && sample.has(labels))
            .map(|s| s.value)
    }

    /// [`Page::value`] of a series that must be there.
    pub fn expect(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.value(name, labels).unwrap_or_else(|| {
            let there: Vec<_> = self.samples(name).collect();
            panic!("no series {name} {labels:?} on the page; of that name there are {there:#?}")
        })
    }

    /// The sum over all series of that name which have these labels among theirs; 0 when there is none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.samples(name).filter(|sample| sample.has(labels)).map(|sample| sample.value).sum()
    }

    /// All lines of that name (`x_bucket` is a name of its own).
    pub fn samples<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Sample> {
        self.families.iter().flat_map(|family| &family.samples).filter(move |sample| sample.name == name)
    }

    /// The family of that name.
    pub fn family(&self, name: &str) -> Option<&Family> {
        self.families.iter().find(|family| family.name == name)
    }

    /// The names of the families, in the order of the page.
    pub fn names(&self) -> Vec<&str> {
        self.families.iter().map(|family| family.name.as_str()).collect()
    }

    /// How many lines have a value.
    pub fn series(&self) -> usize {
        self.families.iter().map(|family| family.samples.len()).sum()
    }
}

/// What `promtool check metrics` says to a page; it says nothing to a good one.
pub fn lint(page: &str) -> String {
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = command.spawn().expect("promtool is there");
    // It reads all before it says anything, so nobody waits for the other.
    promtool.stdin.take().expect("piped").write_all(page.as_bytes()).expect("promtool reads");
    let output = promtool.wait_with_output().expect("our own child");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    if output.status.success() { said } else { format!("{}: {said}", output.status) }
}

/// A page being read: the last family is the open one.
#[derive(Default)]
struct Reader {
    page: Page,
    /// A HELP line whose TYPE line is still to come.
    help: Option<(String, String)>,
    series: HashSet<String>,
}

impl Reader {
    fn line(&mut self, line: &str) -> Result<(), String> {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            return self.help_line(rest);
        }
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            return self.type_line(rest);
        }
        if let (Some(notice), true, None) =
            (line.strip_prefix("# stall_exporter: "), self.page.families.is_empty(), &self.help)
        {
            self.page.notices.push(notice.to_owned());
            return Ok(());
        }
        if line.starts_with('#') {
            return Err("a comment that is neither HELP nor TYPE".to_owned());
        }
        if let Some((name, _)) = &self.help {
            return Err(format!("HELP of {name} is not followed by its TYPE"));
        }
        let sample = read_sample(line)?;
        let family = self.page.families.last_mut().ok_or("a sample before any TYPE")?;
        if !belongs(&sample, family) {
            return Err(format!("{} is no part of {} {}", sample.name, family.kind, family.name));
        }
        if !self.series.insert(format!("{}{:?}", sample.name, sample.identity(""))) {
            return Err("the series is on the page already".to_owned());
        }
        if family.kind == "counter" && (sample.value < 0.0 || !sample.value.is_finite()) {
            return Err("a counter is a finite number, not below zero".to_owned());
        }
        family.samples.push(sample);
        Ok(())
    }

    fn help_line(&mut self, rest: &str) -> Result<(), String> {
        if let Some((name, _)) = &self.help {
            return Err(format!("HELP of {name} is not followed by its TYPE"));
        }
        let (name, help) = rest.split_once(' ').ok_or("HELP without text")?;
        if help.trim().is_empty() {
            return Err("HELP without text".to_owned());
        }
        let help = unescape(help, false)?;
        self.help = Some((name.to_owned(), help));
        Ok(())
    }

    fn type_line(&mut self, rest: &str) -> Result<(), String> {
        let (name, kind) = rest.split_once(' ').ok_or("TYPE without a kind")?;
        if !is_name(name, true) {
            return Err(format!("not a metric name: {name:?}"));
        }
        if !["counter", "gauge", "histogram", "summary", "untyped"].contains(&kind) {
            return Err(format!("not a kind: {kind:?}"));
        }
        let help = match self.help.take() {
            Some((of, help)) if of == name => help,
            Some((of, _)) => return Err(format!("HELP of {of} stands before TYPE of {name}")),
            None => return Err(format!("TYPE of {name} has no HELP before it")),
        };
        if self.page.family(name).is_some() {
            return Err(format!("{name} has a TYPE already: its lines must stand together"));
        }
        self.close_family()?;
        let (name, kind) = (name.to_owned(), kind.to_owned());
        self.page.families.push(Family { name, help, kind, samples: Vec::new() });
        Ok(())
    }

    fn close_family(&self) -> Result<(), String> {
        match self.page.families.last() {
            Some(family) if family.samples.is_empty() => Err(format!("{} has no sample", family.name)),
            Some(family) if family.kind == "histogram" => check_histogram(family),
            _ => Ok(()),
        }
    }

    fn end(self) -> Result<Page, String> {
        if let Some((name, _)) = self.help {
            return Err(format!("HELP of {name} is not followed by its TYPE"));
        }
        self.close_family()?;
        Ok(self.page)
    }
}

/// Whether a line may stand under a TYPE: the name alone, or the parts of a histogram or summary.
fn belongs(sample: &Sample, family: &Family) -> bool {
    let part = sample.name.strip_prefix(family.name.as_str());
    match (family.kind.as_str(), part) {
        ("histogram", Some("_bucket")) => sample.label("le").is_some(),
        ("summary", Some("")) => sample.label("quantile").is_some(),
        ("histogram" | "summary", Some("_sum" | "_count")) => true,
        ("histogram" | "summary", _) => false,
        (_, part) => part == Some(""),
    }
}

/// Buckets ascend and end in `+Inf`, counts never fall, the last is `_count`, and there is a `_sum`.
fn check_histogram(family: &Family) -> Result<(), String> {
    let part = |suffix: &str| {
        let name = format!("{}{suffix}", family.name);
        family.samples.iter().filter(move |sample| sample.name == name)
    };
    let identities: HashSet<_> = family.samples.iter().map(|sample| sample.identity("le")).collect();
    for labels in identities {
        let fault = |what: &str| Err(format!("histogram {} {labels:?}: {what}", family.name));
        let of_set = |sample: &&Sample| sample.identity("le") == labels;
        let (mut bound, mut count) = (f64::NEG_INFINITY, 0.0);
        for bucket in part("_bucket").filter(of_set) {
            let le = read_value(bucket.label("le").unwrap_or_default())?;
            // Not `le <= bound`: NaN must be refused as well.
            if le.partial_cmp(&bound) != Some(std::cmp::Ordering::Greater) {
                return fault("bounds do not ascend");
            }
            if bucket.value < count {
                return fault("cumulative counts fall");
            }
            (bound, count) = (le, bucket.value);
        }
        if bound != f64::INFINITY {
            return fault("the last bucket is not +Inf");
        }
        if part("_count").find(of_set).map(|sample| sample.value) != Some(count) {
            return fault("_count is not the count of the +Inf bucket");
        }
        if part("_sum").find(of_set).is_none() {
            return fault("there is no _sum");
        }
    }
    Ok(())
}

fn read_sample(line: &str) -> Result<Sample, String> {
    let end = line.find(['{', ' ']).ok_or("neither labels nor a value")?;
    let (name, mut rest) = line.split_at(end);
    if !is_name(name, true) {
        return Err(format!("not a metric name: {name:?}"));
    }
    let mut labels: Vec<(String, String)> = Vec::new();
    if let Some(mut inner) = rest.strip_prefix('{') {
        loop {
            let (key, after) = inner.split_once("=\"").ok_or("a label without =\"")?;
            if !is_name(key, false) || key.starts_with("__") {
                return Err(format!("not a label name of ours: {key:?}"));
            }
            if labels.iter().any(|(other, _)| other == key) {
                return Err(format!("label {key} stands twice"));
            }
            let quote = closing_quote(after).ok_or("a label value without its closing quote")?;
            labels.push((key.to_owned(), unescape(&after[..quote], true)?));
            inner = &after[quote + 1..];
            match inner.strip_prefix(',') {
                Some(next) => inner = next,
                None => break,
            }
        }
        rest = inner.strip_prefix('}').ok_or("labels without their closing brace")?;
    }
    let value = rest.strip_prefix(' ').ok_or("no blank before the value")?;
    Ok(Sample { name: name.to_owned(), labels, value: read_value(value)? })
}

/// Go's notation, as Prometheus reads it; a timestamp or any other trailing word is refused.
fn read_value(text: &str) -> Result<f64, String> {
    match text {
        "NaN" => return Ok(f64::NAN),
        "+Inf" => return Ok(f64::INFINITY),
        "-Inf" => return Ok(f64::NEG_INFINITY),
        _ => {}
    }
    // Rust's own notation knows more words (`inf`, `infinity`) than the format does.
    let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'));
    text.parse().ok().filter(|_| digits).ok_or_else(|| format!("not a value: {text:?}"))
}

fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    })
}

/// `\\` and `\n`, in label values `\"` too; every other backslash is a fault.
fn unescape(text: &str, quoted: bool) -> Result<String, String> {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        plain.push(match char {
            '\\' => match chars.next() {
                Some('\\') => '\\',
                Some('n') => '\n',
                Some('"') if quoted => '"',
                other => return Err(format!("not an escape: \\{}", other.unwrap_or(' '))),
            },
            '\r' => return Err("a carriage return".to_owned()),
            other => other,
        });
    }
    Ok(plain)
}

/// `[a-zA-Z_][a-zA-Z0-9_]*`, in metric names with colons.
fn is_name(text: &str, colons: bool) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || (colons && byte == b':');
    !text.is_empty() && text.bytes().all(fits) && !text.starts_with(|c: char| c.is_ascii_digit())
}
