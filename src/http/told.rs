//! What is stuck, rendered when somebody asks: once for each page and form, whoever and how many ask.

use std::io;
use std::sync::{Arc, Weak};

use super::gzip;
use super::response::{Answer, Chunk, Code};
use crate::base::clock::Mono;
use crate::exposition::stalls::{html, json, span};
use crate::runtime::board::Page;
use crate::snapshot::stall::Report;

/// A page older than this says so. The engine makes one a second.
const OLD_SECONDS: u64 = 3;

/// The form in which a report is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Face {
    /// For people.
    Html,
    /// For programs.
    Json,
}

impl Face {
    const fn content_type(self) -> &'static str {
        match self {
            Self::Html => "text/html; charset=utf-8",
            Self::Json => "application/json",
        }
    }
}

/// The answer with this body. A report is of one moment, so nobody keeps it.
pub fn answer(face: Face, body: Arc<Vec<u8>>, refresh: Option<u16>) -> Answer {
    let answer = Answer::new(Code::Ok, face.content_type(), vec![Chunk::Shared(body)])
        .with("Cache-Control", "no-store")
        .with("X-Content-Type-Options", "nosniff")
        // Names of the host's processes stand on the page; should one ever be taken for markup, it can load nothing.
        .with("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'");
    match refresh {
        Some(seconds) => answer.with("Refresh", seconds.to_string()),
        None => answer,
    }
}

/// The bodies made of the newest page.
#[derive(Debug, Default)]
pub struct Cache {
    // Weak: the cache must not keep a replaced page alive, and a weak handle keeps its address unique.
    of: Weak<Page>,
    age: u64,
    bodies: Vec<Body>,
}

#[derive(Debug)]
struct Body {
    face: Face,
    gzip: bool,
    bytes: Arc<Vec<u8>>,
}

impl Cache {
    /// The body in this form, compressed or not, as it is `now`.
    ///
    /// # Errors
    /// None in practice: those of writing to memory.
    pub fn body(&mut self, page: &Arc<Page>, now: Mono, face: Face, gzip: bool) -> io::Result<Arc<Vec<u8>>> {
        let age = Some(now.since(page.built).as_secs()).filter(|age| *age >= OLD_SECONDS).unwrap_or(0);
        if !std::ptr::eq(self.of.as_ptr(), Arc::as_ptr(page)) || self.age != age {
            *self = Self { of: Arc::downgrade(page), age, bodies: Vec::new() };
        }
        if let Some(body) = self.bodies.iter().find(|body| (body.face, body.gzip) == (face, gzip)) {
            return Ok(Arc::clone(&body.bytes));
        }
        let bytes = match (gzip, face) {
            (true, _) => gzip::member(&self.body(page, now, face, false)?)?,
            (false, Face::Html) => html::page(&aged(&page.report, age)),
            (false, Face::Json) => json::encode(&aged(&page.report, age))?,
        };
        let bytes = Arc::new(bytes);
        self.bodies.push(Body { face, gzip, bytes: Arc::clone(&bytes) });
        Ok(bytes)
    }

    /// Lets the bodies go when their page was replaced.
    pub fn sweep(&mut self, newest: &Arc<Page>) {
        if !std::ptr::eq(self.of.as_ptr(), Arc::as_ptr(newest)) {
            *self = Self::default();
        }
    }
}

/// The report as one reads it `age` seconds later.
fn aged(report: &Report, age: u64) -> Report {
    let mut report = report.clone();
    if age > 0 {
        let seconds = age as f64;
        report.walk_age_seconds = report.walk_age_seconds.map(|walk| walk + seconds);
        let notice =
            format!("All of this is {} old: the exporter has not come to a newer look.", span(seconds));
        report.notices.insert(0, notice);
    }
    report
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_page_is_rendered_once_for_everybody() {
        let page = Arc::new(Page::default());
        let mut cache = Cache::default();
        let mut body = |seconds, gzip| {
            let now = Mono::default().plus(Duration::from_secs(seconds));
            cache.body(&page, now, Face::Json, gzip).unwrap()
        };
        let first = body(0, false);
        assert!(Arc::ptr_eq(&first, &body(2, false)));
        assert!(!Arc::ptr_eq(&first, &body(0, true)) && Arc::ptr_eq(&body(0, true), &body(1, true)));
        let late = body(7, false);
        let said = json::decode(&late).map(|report| report.notices);
        assert!(late != first, "{said:?}");
        assert!(String::from_utf8_lossy(&late).contains("All of this is 7.0 s old"));
        cache.sweep(&page);
        assert_eq!(Arc::strong_count(&late), 2);
        cache.sweep(&Arc::new(Page::default()));
        assert_eq!(Arc::strong_count(&late), 1, "it is let go with its page");
    }
}
