//! What a metric is, as a constant: name, help, kind, labels and the most series it may ever have.

/// The kind of a family, as the TYPE line says it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Only goes up; its name ends in `_total`.
    Counter,
    /// Goes both ways.
    Gauge,
    /// Cumulative buckets with these upper bounds (ascending, `+Inf` is added by the writer).
    Histogram(&'static [f64]),
}

impl Kind {
    /// The word of the TYPE line.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

/// One metric family.
#[derive(Debug)]
pub struct Desc {
    /// Family name, prefix `stall_`, base units.
    pub name: &'static str,
    /// One sentence, printed in the HELP line and in README's table.
    pub help: &'static str,
    /// Counter, gauge or histogram.
    pub kind: Kind,
    /// Label names, in the order in which values are given.
    pub labels: &'static [&'static str],
    /// The most label sets this family may have on one page; more are dropped and counted.
    pub max_series: usize,
}

impl Desc {
    /// A family without labels: one series.
    pub const fn plain(name: &'static str, kind: Kind, help: &'static str) -> Self {
        Self { name, help, kind, labels: &[], max_series: 1 }
    }

    /// A family with labels and the bound on its series.
    pub const fn labelled(
        name: &'static str,
        kind: Kind,
        labels: &'static [&'static str],
        max_series: usize,
        help: &'static str,
    ) -> Self {
        Self { name, help, kind, labels, max_series }
    }
}
