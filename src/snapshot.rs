//! The result of one tick: every series of the page, in page order, and what is stuck, in words. Built by the slices,
//! rendered once, kept by nobody.

pub mod history;
pub mod stall;

use crate::base::bounded::label;
use crate::exposition::desc::Desc;
use crate::track::histogram::Histogram;
use stall::Report;

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Of a counter or gauge.
    Number(f64),
    /// Of a histogram.
    Histogram(Histogram),
}

/// One series.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Label values, in the order of the family's label names.
    pub labels: Vec<String>,
    /// The value.
    pub value: Value,
}

/// One family with its series.
#[derive(Debug, Clone)]
pub struct Family {
    /// What it is.
    pub desc: &'static Desc,
    /// Its series, in the order in which they were set.
    pub series: Vec<Series>,
}

/// Most notices of one tick.
pub const NOTICES_MAX: usize = 16;
/// Longest notice, bytes.
const NOTICE_MAX: usize = 512;

/// All families of one tick.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    families: Vec<Family>,
    notices: Vec<String>,
    /// Series past their family's bound, and notices past theirs.
    pub dropped: u64,
    /// What is stuck, in words; the slice `suspect` fills it.
    pub report: Report,
}

impl Snapshot {
    /// The families, in the order in which they were first set.
    pub fn families(&self) -> &[Family] {
        &self.families
    }

    /// What whoever reads any page must know first, one line each: what it is, and what to do.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// Adds a notice, cut to one line of bounded length.
    pub fn notice(&mut self, text: &str) {
        if self.notices.len() < NOTICES_MAX {
            self.notices.push(label(text.as_bytes(), NOTICE_MAX));
        } else {
            self.dropped = self.dropped.saturating_add(1);
        }
    }

    /// Sets a counter or gauge.
    pub fn set(&mut self, desc: &'static Desc, labels: &[&str], value: f64) {
        self.push(desc, labels, Value::Number(value));
    }

    /// Sets a whole number.
    pub fn count(&mut self, desc: &'static Desc, labels: &[&str], value: u64) {
        self.set(desc, labels, value as f64);
    }

    /// Sets a histogram.
    pub fn histogram(&mut self, desc: &'static Desc, labels: &[&str], value: &Histogram) {
        self.push(desc, labels, Value::Histogram(value.clone()));
    }

    /// Adds another snapshot's families behind the own ones.
    pub fn append(&mut self, other: Self) {
        self.dropped = self.dropped.saturating_add(other.dropped);
        self.families.extend(other.families);
        if !other.report.schema.is_empty() {
            self.report = other.report;
        }
        other.notices.iter().for_each(|notice| self.notice(notice));
    }

    fn push(&mut self, desc: &'static Desc, labels: &[&str], value: Value) {
        debug_assert_eq!(labels.len(), desc.labels.len(), "{}", desc.name);
        let place = self.families.iter().position(|family| std::ptr::eq(family.desc, desc));
        let place = place.unwrap_or_else(|| {
            self.families.push(Family { desc, series: Vec::new() });
            self.families.len().saturating_sub(1)
        });
        let Some(family) = self.families.get_mut(place) else { return };
        if family.series.len() >= desc.max_series {
            self.dropped = self.dropped.saturating_add(1);
            return;
        }
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        family.series.push(Series { labels, value });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exposition::desc::Kind;

    static ONE: Desc = Desc::labelled("one", Kind::Gauge, &["a"], 2, "One.");

    #[test]
    fn a_family_is_bounded_and_what_is_past_the_bound_is_counted() {
        let mut snapshot = Snapshot::default();
        for label in ["x", "y", "z"] {
            snapshot.count(&ONE, &[label], 1);
        }
        assert_eq!(snapshot.families()[0].series.len(), 2);
        assert_eq!(snapshot.dropped, 1);
    }

    #[test]
    fn notices_are_bounded_lines() {
        let mut snapshot = Snapshot::default();
        snapshot.notice(&format!("a\nb{}", "x".repeat(1000)));
        assert_eq!(snapshot.notices()[0].len(), 512);
        assert!(snapshot.notices()[0].starts_with("a\\x0abxx"), "{:?}", snapshot.notices());
        let mut other = Snapshot::default();
        (0..NOTICES_MAX).for_each(|number| other.notice(&number.to_string()));
        snapshot.append(other);
        assert_eq!((snapshot.notices().len(), snapshot.dropped), (NOTICES_MAX, 1));
    }
}
