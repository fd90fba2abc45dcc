//! A Rust file as the rules see it: code, comments and string literals told apart, test code marked.
//!
//! A scanner, not a parser: it knows where comments, strings and test items begin and end, and how a `use` tree
//! unfolds. It reads files that rustfmt and the compiler have accepted, so it need not judge them.

use std::ops::Range;

/// One file of the tree.
#[derive(Debug)]
pub struct File {
    /// Path below the root of the repository, `src/base/clock.rs`.
    pub path: String,
    /// The file as it is.
    pub text: String,
    /// Comments and the insides of literals blanked out; every byte stands where it stood.
    pub code: String,
    /// The insides of literals blanked out, comments kept.
    pub prose: String,
    /// The insides of string literals, with their offsets.
    pub strings: Vec<(usize, String)>,
    /// Items under `#[cfg(test)]`, or everything for a file of tests.
    tests: Vec<Range<usize>>,
}

impl File {
    /// Takes a file apart.
    pub fn new(path: &str, text: &str) -> Self {
        let Scan { code, prose, strings } = Scan::of(text);
        let is_tests = !path.starts_with("src/") || path.ends_with("/tests.rs") || path.contains("/tests/");
        let everything = 0..text.len();
        let tests = if is_tests { vec![everything] } else { test_items(&code) };
        Self { path: path.to_owned(), text: text.to_owned(), code, prose, strings, tests }
    }

    /// The number of the line that holds this byte.
    pub fn line(&self, at: usize) -> usize {
        self.text.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1
    }

    /// Whether this byte is test code.
    pub fn is_test(&self, at: usize) -> bool {
        self.tests.iter().any(|range| range.contains(&at))
    }

    /// How many lines are not test code.
    pub fn lines_without_tests(&self) -> usize {
        let mut at = 0;
        let mut count = 0;
        for line in self.text.split_inclusive('\n') {
            count += usize::from(!self.is_test(at));
            at += line.len();
        }
        count
    }

    /// Every path that code outside tests names: each leaf of the `use` trees, and each `a::b` elsewhere.
    /// `*` and `{…}` leaves end in what stands before them.
    pub fn paths(&self) -> Vec<(usize, Vec<String>)> {
        let mut found = Vec::new();
        let mut at = 0;
        while let Some((start, end)) = next_ident(&self.code, at) {
            at = end;
            if self.is_test(start) || self.code[..start].ends_with("::") {
                continue;
            }
            if &self.code[start..end] == "use" && !self.code[..start].ends_with('#') {
                let stop = self.code[end..].find(';').map_or(self.code.len(), |offset| end + offset);
                unfold(&self.code, end..stop, &mut Vec::new(), &mut found);
                at = stop;
            } else if self.code[end..].starts_with("::") {
                let (path, stop) = straight_path(&self.code, start);
                found.push((start, path));
                at = stop;
            }
        }
        found
    }
}

/// Offsets of `word` in `text` where it is a word of its own.
pub fn words<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    text.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        let before = text[..at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        let first = word.chars().next();
        let last = word.chars().next_back();
        let runs_on = joins(first) && joins(before) || joins(last) && joins(after);
        !runs_on
    })
}

fn joins(char: Option<char>) -> bool {
    char.is_some_and(|char| char.is_alphanumeric() || char == '_')
}

/// The next identifier from `at` on: start and end. Numbers are skipped whole.
fn next_ident(code: &str, at: usize) -> Option<(usize, usize)> {
    let start = at + code[at..].find(|c: char| joins(Some(c)))?;
    let end = code[start..].find(|c: char| !joins(Some(c))).map_or(code.len(), |length| start + length);
    if code[start..].starts_with(|c: char| c.is_ascii_digit()) {
        next_ident(code, end)
    } else {
        Some((start, end))
    }
}

/// `a::b::c` from its first identifier; stops before generics, groups and everything else.
fn straight_path(code: &str, start: usize) -> (Vec<String>, usize) {
    let mut path = Vec::new();
    let mut at = start;
    while let Some((from, to)) = next_ident(code, at).filter(|&(from, _)| from == at) {
        path.push(code[from..to].to_owned());
        at = to;
        if !code[at..].starts_with("::") {
            break;
        }
        at += 2;
    }
    (path, at)
}

/// Unfolds `a::{b, c::{d, e}}` into its leaves.
fn unfold(code: &str, range: Range<usize>, prefix: &mut Vec<String>, found: &mut Vec<(usize, Vec<String>)>) {
    for branch in split_commas(code, range) {
        let text = code[branch.clone()].trim_end();
        let start = branch.start + (text.len() - text.trim_start().len());
        let start = if code[start..].starts_with("::") { start + 2 } else { start };
        if text.trim().is_empty() {
            continue;
        }
        let (path, stop) = straight_path(code, start);
        let depth = prefix.len();
        // `self` at the end of a path names the path before it.
        prefix.extend(path.into_iter().filter(|part| depth == 0 || part != "self"));
        match code[stop..branch.end].find('{') {
            Some(open) => {
                let close = matching(code, stop + open).min(branch.end);
                unfold(code, stop + open + 1..close, prefix, found);
            }
            None => found.push((start, prefix.clone())),
        }
        prefix.truncate(depth);
    }
}

fn split_commas(code: &str, range: Range<usize>) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let mut depth = 0_usize;
    let mut start = range.start;
    for at in range.clone() {
        match code.as_bytes()[at] {
            b'{' => depth += 1,
            b'}' => depth = depth.saturating_sub(1),
            b',' if depth == 0 => {
                parts.push(start..at);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(start..range.end);
    parts
}

/// The offset of the bracket that closes the one at `open`; the end of the code when there is none.
fn matching(code: &str, open: usize) -> usize {
    let mut depth = 0_usize;
    for (offset, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'{' | b'(' | b'[' => depth += 1,
            b'}' | b')' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return offset;
        }
    }
    code.len()
}

/// The items under `#[cfg(test)]`, attribute included: up to the `;` or the closing brace that ends the item.
fn test_items(code: &str) -> Vec<Range<usize>> {
    let mut items: Vec<Range<usize>> = Vec::new();
    for (start, attribute) in code.match_indices("#[cfg(test)]") {
        let mut at = start + attribute.len();
        while let Some(offset) = code[at..].find(['{', '(', '[', ';']) {
            at += offset;
            match code.as_bytes()[at] {
                b';' => break,
                b'{' => {
                    at = matching(code, at);
                    break;
                }
                _ => at = matching(code, at) + 1,
            }
        }
        items.push(start..(at + 1).min(code.len()));
    }
    items
}

/// The three views of a file. All have the length of the text, with blanks where something was taken out.
#[derive(Default)]
struct Scan {
    code: String,
    prose: String,
    strings: Vec<(usize, String)>,
}

impl Scan {
    fn of(text: &str) -> Self {
        let mut scan = Self::default();
        let mut at = 0;
        while at < text.len() {
            let rest = &text[at..];
            let after_ident = joins(text[..at].chars().next_back());
            let length = if rest.starts_with("//") {
                scan.comment(rest, rest.find('\n').unwrap_or(rest.len()))
            } else if rest.starts_with("/*") {
                scan.comment(rest, block_comment(rest))
            } else if let Some((open, close)) = string(rest).filter(|_| !after_ident || rest.starts_with('"'))
            {
                scan.literal(rest, open, close, at)
            } else if let Some(length) = char_literal(rest) {
                scan.keep(&rest[..1]);
                scan.blank(&rest[1..length - 1]);
                scan.keep(&rest[length - 1..length]);
                length
            } else {
                let length = rest.chars().next().map_or(1, char::len_utf8);
                scan.keep(&rest[..length]);
                length
            };
            at += length;
        }
        scan
    }

    fn keep(&mut self, part: &str) {
        self.code.push_str(part);
        self.prose.push_str(part);
    }

    fn blank(&mut self, part: &str) {
        let blanks = blanks(part);
        self.code.push_str(&blanks);
        self.prose.push_str(&blanks);
    }

    fn comment(&mut self, rest: &str, length: usize) -> usize {
        self.code.push_str(&blanks(&rest[..length]));
        self.prose.push_str(&rest[..length]);
        length
    }

    /// A string literal whose inside goes from `open` to `close`.
    fn literal(&mut self, rest: &str, open: usize, close: usize, at: usize) -> usize {
        let hashes = rest[..open].matches('#').count();
        let end = (close + 1 + hashes).min(rest.len());
        self.keep(&rest[..open]);
        self.blank(&rest[open..close]);
        self.keep(&rest[close..end]);
        self.strings.push((at, rest[open..close].to_owned()));
        end
    }
}

/// Blanks of the same length in bytes; line ends stay.
fn blanks(part: &str) -> String {
    part.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }).collect()
}

fn block_comment(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        let step = if rest.as_bytes()[at..].starts_with(b"/*") {
            depth += 1;
            2
        } else if rest.as_bytes()[at..].starts_with(b"*/") {
            depth -= 1;
            2
        } else {
            1
        };
        at += step;
        if depth == 0 {
            break;
        }
    }
    at.min(rest.len())
}

/// Start and end of the inside of the string literal that begins here, with any of the prefixes b, c, r, br, cr.
fn string(rest: &str) -> Option<(usize, usize)> {
    let prefix = rest.find(|c: char| !matches!(c, 'b' | 'c' | 'r'))?;
    if prefix > 2 {
        return None;
    }
    let raw = rest[..prefix].ends_with('r');
    let hashes = rest[prefix..].bytes().take_while(|byte| *byte == b'#').count();
    if (hashes > 0 && !raw) || !rest[prefix + hashes..].starts_with('"') {
        return None;
    }
    let open = prefix + hashes + 1;
    if raw {
        let closing = format!("\"{}", "#".repeat(hashes));
        return Some((open, rest[open..].find(&closing).map_or(rest.len(), |offset| open + offset)));
    }
    let mut escaped = false;
    let close = rest[open..].bytes().position(|byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    });
    Some((open, close.map_or(rest.len(), |offset| open + offset)))
}

/// The length of the char literal that begins here; a lifetime is none.
fn char_literal(rest: &str) -> Option<usize> {
    let inside = rest.strip_prefix('\'')?;
    let mut chars = inside.char_indices();
    let (_, first) = chars.next()?;
    if first == '\\' {
        // The escaped character first: it may be a quote.
        let (at, escaped) = chars.next()?;
        let from = at + escaped.len_utf8();
        return inside[from..].find('\'').map(|offset| from + offset + 2);
    }
    let (at, second) = chars.next()?;
    (second == '\'').then_some(at + 2)
}
