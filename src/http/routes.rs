//! What is answered to what.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tiny_http::Method;

use super::Site;
use super::gzip::Cache;
use super::landing;
use super::request::Request;
use super::response::{Answer, Chunk, Code};
use super::told::{self, Face};
use crate::base::clock::Mono;
use crate::runtime::board::Page;

/// A page whose tick began less than this ago answers a scrape at once. Every wish costs the engine a whole tick, so
/// without this whoever scrapes in a loop decides how much CPU we use; with it that is twenty ticks a second at most
/// per scrape in flight. Nothing we tell is so exact that a twentieth of a second would show.
const FRESH: Duration = Duration::from_millis(50);

/// What a request leads to.
#[derive(Debug)]
pub enum Route {
    /// The answer is known.
    Now(Answer),
    /// A page is wanted, as fresh as the deadline allows.
    Scrape(Wanted),
}

/// What is made of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// `/metrics`.
    Metrics,
    /// `/stalls` or `/stalls.json`; a browser asks again after so many seconds.
    Stalls(Face, Option<u16>),
}

/// Decides about `request`.
pub fn route(request: &Request, page: &Page) -> Route {
    if !matches!(request.method, Method::Get | Method::Head) {
        let answer = Answer::line(Code::MethodNotAllowed, "only GET and HEAD are served here");
        return Route::Now(answer.with("Allow", "GET, HEAD"));
    }
    if request.body {
        return Route::Now(Answer::line(Code::BodyRefused, "a request has no body here"));
    }
    Route::Now(match request.path.as_str() {
        "/metrics" => return Route::Scrape(Wanted::Metrics),
        "/stalls" => return Route::Scrape(Wanted::Stalls(Face::Html, request.refresh)),
        "/stalls.json" => return Route::Scrape(Wanted::Stalls(Face::Json, None)),
        "/" => Answer::new(Code::Ok, "text/html; charset=utf-8", landing::page(&page.notices)),
        "/-/healthy" => Answer::line(Code::Ok, "healthy"),
        "/-/ready" => match &page.not_ready {
            None => Answer::line(Code::Ok, "ready"),
            Some(reason) => Answer::line(Code::Unavailable, format!("not ready: {reason}")),
        },
        _ => Answer::line(Code::NotFound, "no such page; / lists what there is"),
    })
}

/// Whether `page` answers a scrape that comes `now` without a wish for a newer one.
pub fn is_fresh(page: &Page, now: Mono) -> bool {
    !page.text.is_empty() && now.since(page.built) < FRESH
}

/// The answer to a request of a sort of which so many are being answered.
pub fn too_many(most: usize) -> Answer {
    let line = format!("{most} requests like this are being answered already");
    Answer::line(Code::Unavailable, line).with("Retry-After", "1")
}

/// A scrape that waits for a page.
#[derive(Debug, Clone, Copy)]
pub struct Scrape {
    /// What is made of it.
    pub wanted: Wanted,
    /// The board's ticket; zero, which every page answers, when none was needed.
    pub ticket: u64,
    /// When it was asked for.
    pub asked: Mono,
    /// When any page will do.
    pub deadline: Mono,
    /// The client takes gzip.
    pub gzip: bool,
}

impl Scrape {
    /// Whether `page` answers it.
    pub const fn is_answered_by(&self, page: &Page) -> bool {
        page.answers >= self.ticket
    }

    /// The answer made of `page`, whatever its age.
    ///
    /// # Errors
    /// None in practice: the encoder's own errors, over memory.
    pub fn answer(
        &self,
        page: &Arc<Page>,
        now: Mono,
        site: &Site<'_>,
        zipped: &mut Cache,
        told: &mut told::Cache,
    ) -> io::Result<Answer> {
        if page.text.is_empty() {
            let answer = Answer::line(Code::Unavailable, "no page has been built yet; /-/ready says why");
            return Ok(answer.with("Retry-After", "1"));
        }
        match self.wanted {
            Wanted::Metrics => self.metrics(page, now, site, zipped),
            Wanted::Stalls(face, refresh) => {
                let body = told.body(page, now, face, self.gzip)?;
                Ok(self.encoded(told::answer(face, body, refresh)))
            }
        }
    }

    /// The page and our own instrumentation.
    fn metrics(
        &self,
        page: &Arc<Page>,
        now: Mono,
        site: &Site<'_>,
        zipped: &mut Cache,
    ) -> io::Result<Answer> {
        if !self.is_answered_by(page) {
            site.stats.stale_scrapes.inc();
        }
        site.stats.scraped(now.since(self.asked), now.since(page.built));
        let mut own = Vec::with_capacity(8 * 1024);
        site.stats.append(&mut own);
        site.own.append(&mut own);
        let body = if self.gzip {
            let front = zipped.front(page)?;
            let end = front.finish(&own)?;
            vec![Chunk::Zipped(front), Chunk::Bytes(end)]
        } else {
            vec![Chunk::Page(Arc::clone(page)), Chunk::Bytes(own)]
        };
        Ok(self.encoded(Answer::new(Code::Ok, "text/plain; version=0.0.4; charset=utf-8", body)))
    }

    /// Says how the body is encoded.
    fn encoded(&self, answer: Answer) -> Answer {
        let answer = answer.with("Vary", "Accept-Encoding");
        if self.gzip { answer.with("Content-Encoding", "gzip") } else { answer }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_fresh_for_a_twentieth_of_a_second_after_its_tick_began() {
        let built = Mono::from_nanos(1_000_000_000);
        let page = Page { text: b"a 1\n".to_vec(), built, ..Page::default() };
        assert!(is_fresh(&page, built));
        assert!(is_fresh(&page, Mono::default()), "built after the turn of the loop began");
        assert!(is_fresh(&page, built.plus(Duration::from_micros(49_999))));
        assert!(!is_fresh(&page, built.plus(Duration::from_millis(50))));
        assert!(!is_fresh(&Page { built, ..Page::default() }, built), "no page at all is never fresh");
    }
}
