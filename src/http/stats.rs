//! What the port says about itself.
//!
//! Registered once, no vectors: a label value is a counter of its own, so the set of series is fixed at start.

use std::time::Duration;

use prometheus::{
    Encoder, Gauge, Histogram, HistogramOpts, IntCounter, IntGauge, Opts, Registry, TextEncoder,
};

use super::response::Code;
use crate::exposition::desc::{Desc, Kind};

const REQUESTS: Desc = Desc::labelled(
    "stall_exporter_http_requests_total",
    Kind::Counter,
    &["code"],
    Code::ALL.len(),
    "HTTP responses begun, by status code.",
);
const CONNECTIONS: Desc =
    Desc::plain("stall_exporter_http_connections", Kind::Gauge, "HTTP connections that are open.");
const EVICTIONS: Desc = Desc::plain(
    "stall_exporter_http_evictions_total",
    Kind::Counter,
    "Connections without a complete request that were closed to make room for a new one.",
);
const TURNED_AWAY: Desc = Desc::plain(
    "stall_exporter_http_turned_away_total",
    Kind::Counter,
    "New connections that were closed at once because all others were being answered.",
);
const ACCEPT_ERRORS: Desc = Desc::plain(
    "stall_exporter_http_accept_errors_total",
    Kind::Counter,
    "Failed attempts to accept a connection, for example for want of file descriptors.",
);
const TIMEOUTS: Desc = Desc::labelled(
    "stall_exporter_http_timeouts_total",
    Kind::Counter,
    &["kind"],
    Timeout::ALL.len(),
    "Connections ended at a deadline: request head not complete, response not taken, or idle.",
);
const SCRAPE_DURATION: Desc = Desc::plain(
    "stall_exporter_http_scrape_duration_seconds",
    Kind::Histogram(&[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0]),
    "Time from a complete request for /metrics to the page that answers it.",
);
const STALE_SCRAPES: Desc = Desc::plain(
    "stall_exporter_http_stale_scrapes_total",
    Kind::Counter,
    "Scrapes answered at their deadline with a page older than the request.",
);
const PAGE_AGE: Desc = Desc::plain(
    "stall_exporter_page_age_seconds",
    Kind::Gauge,
    "Age of the page served last: time since the tick behind it began.",
);
const PANICS: Desc = Desc::plain(
    "stall_exporter_http_panics_total",
    Kind::Counter,
    "Panics caught in the HTTP thread; each is a bug and cost at least one connection.",
);

/// Every family of this room.
pub const METRICS: &[Desc] = &[
    REQUESTS,
    CONNECTIONS,
    EVICTIONS,
    TURNED_AWAY,
    ACCEPT_ERRORS,
    TIMEOUTS,
    SCRAPE_DURATION,
    STALE_SCRAPES,
    PAGE_AGE,
    PANICS,
];

/// Which deadline ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Timeout {
    /// The request's head was not complete.
    Head,
    /// The response was not taken.
    Write,
    /// No further request came.
    Idle,
}

impl Timeout {
    const ALL: [Self; 3] = [Self::Head, Self::Write, Self::Idle];

    const fn label(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::Write => "write",
            Self::Idle => "idle",
        }
    }
}

/// The counters. One per process: two would print the same families.
#[derive(Debug)]
pub struct Stats {
    registry: Registry,
    requests: Vec<(Code, IntCounter)>,
    timeouts: Vec<(Timeout, IntCounter)>,
    scrape_duration: Histogram,
    page_age: Gauge,
    pub(super) connections: IntGauge,
    pub(super) evictions: IntCounter,
    pub(super) turned_away: IntCounter,
    pub(super) accept_errors: IntCounter,
    pub(super) stale_scrapes: IntCounter,
    pub(super) panics: IntCounter,
}

impl Stats {
    /// All counters at zero.
    ///
    /// # Errors
    /// None in practice: names and labels are constants of this file, and a test registers them.
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let requests = Code::ALL
            .into_iter()
            .map(|code| {
                Ok((code, counter(&registry, opts(&REQUESTS).const_label("code", code.to_string()))?))
            })
            .collect::<prometheus::Result<_>>()?;
        let timeouts = Timeout::ALL
            .into_iter()
            .map(|kind| Ok((kind, counter(&registry, opts(&TIMEOUTS).const_label("kind", kind.label()))?)))
            .collect::<prometheus::Result<_>>()?;
        let scrape_duration = histogram(&SCRAPE_DURATION)?;
        registry.register(Box::new(scrape_duration.clone()))?;
        let page_age = Gauge::with_opts(opts(&PAGE_AGE))?;
        registry.register(Box::new(page_age.clone()))?;
        let connections = IntGauge::with_opts(opts(&CONNECTIONS))?;
        registry.register(Box::new(connections.clone()))?;
        Ok(Self {
            requests,
            timeouts,
            scrape_duration,
            page_age,
            connections,
            evictions: counter(&registry, opts(&EVICTIONS))?,
            turned_away: counter(&registry, opts(&TURNED_AWAY))?,
            accept_errors: counter(&registry, opts(&ACCEPT_ERRORS))?,
            stale_scrapes: counter(&registry, opts(&STALE_SCRAPES))?,
            panics: counter(&registry, opts(&PANICS))?,
            registry,
        })
    }

    /// Appends all families of [`METRICS`] in the text format 0.0.4.
    pub fn append(&self, out: &mut Vec<u8>) {
        let before = out.len();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), out) {
            // Half a family would spoil the whole page for the reader.
            out.truncate(before);
            log::debug!("own HTTP metrics left out of the page: {error}");
        }
    }

    pub(super) fn responded(&self, code: Code) {
        if let Some((_, counter)) = self.requests.iter().find(|(of, _)| *of == code) {
            counter.inc();
        }
    }

    pub(super) fn timed_out(&self, kind: Timeout) {
        if let Some((_, counter)) = self.timeouts.iter().find(|(of, _)| *of == kind) {
            counter.inc();
        }
    }

    /// A scrape is answered `took` after it was asked, with a page of this age.
    pub(super) fn scraped(&self, took: Duration, page_age: Duration) {
        self.scrape_duration.observe(took.as_secs_f64());
        self.page_age.set(page_age.as_secs_f64());
    }
}

fn opts(desc: &Desc) -> Opts {
    Opts::new(desc.name, desc.help)
}

fn counter(registry: &Registry, opts: Opts) -> prometheus::Result<IntCounter> {
    let counter = IntCounter::with_opts(opts)?;
    registry.register(Box::new(counter.clone()))?;
    Ok(counter)
}

fn histogram(desc: &Desc) -> prometheus::Result<Histogram> {
    let opts = HistogramOpts::from(opts(desc));
    Histogram::with_opts(match desc.kind {
        Kind::Histogram(bounds) => opts.buckets(bounds.to_vec()),
        Kind::Counter | Kind::Gauge => opts,
    })
}

#[cfg(test)]
impl Stats {
    pub(super) fn timeouts(&self, kind: Timeout) -> u64 {
        self.timeouts.iter().find(|(of, _)| *of == kind).unwrap().1.get()
    }

    pub(super) fn scrapes(&self) -> u64 {
        self.scrape_duration.get_sample_count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_says_what_the_table_says() {
        let stats = Stats::new().unwrap();
        let families = stats.registry.gather();
        assert_eq!(families.len(), METRICS.len());
        for desc in METRICS {
            let family = families.iter().find(|family| family.name() == desc.name).unwrap();
            assert_eq!(family.help(), desc.help);
            assert_eq!(family.get_metric().len(), desc.max_series, "{}", desc.name);
            for metric in family.get_metric() {
                let labels: Vec<_> = metric.get_label().iter().map(|label| label.name()).collect();
                assert_eq!(labels, desc.labels, "{}", desc.name);
            }
        }
        let mut text = Vec::new();
        stats.append(&mut text);
        let text = String::from_utf8(text).unwrap();
        for desc in METRICS {
            assert!(text.contains(&format!("# HELP {} {}\n", desc.name, desc.help)));
            assert!(text.contains(&format!("# TYPE {} {}\n", desc.name, desc.kind.word())));
        }
    }

    #[test]
    fn names_end_in_total_exactly_when_they_count() {
        for desc in METRICS {
            assert_eq!(desc.name.ends_with("_total"), desc.kind == Kind::Counter, "{}", desc.name);
        }
    }

    #[test]
    fn every_code_and_every_deadline_has_its_counter() {
        let stats = Stats::new().unwrap();
        for code in Code::ALL {
            stats.responded(code);
        }
        assert!(stats.requests.iter().all(|(_, counter)| counter.get() == 1));
        for kind in Timeout::ALL {
            stats.timed_out(kind);
            assert_eq!(stats.timeouts(kind), 1);
        }
    }
}
