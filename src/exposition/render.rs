//! The text exposition format 0.0.4, written from a snapshot into a reused buffer.

use std::io::Write as _;

use crate::exposition::desc::{Desc, Kind};
use crate::snapshot::{Series, Snapshot, Value};

/// Writes the page. `out` is cleared first and keeps its capacity.
pub fn render(snapshot: &Snapshot, out: &mut Vec<u8>) {
    out.clear();
    // Comments of the format: a scraper leaves them out, a person at a terminal reads them first.
    for notice in snapshot.notices() {
        put(out, b"# stall_exporter: ");
        put(out, notice.as_bytes());
        put(out, b"\n");
    }
    for family in snapshot.families().iter().filter(|family| !family.series.is_empty()) {
        head(family.desc, out);
        for series in &family.series {
            match &series.value {
                Value::Number(value) => sample(family.desc, "", series, None, *value, out),
                Value::Histogram(histogram) => {
                    for (bound, count) in histogram.cumulative() {
                        sample(family.desc, "_bucket", series, Some(bound), count as f64, out);
                    }
                    let count = histogram.count() as f64;
                    sample(family.desc, "_bucket", series, Some(f64::INFINITY), count, out);
                    sample(family.desc, "_sum", series, None, histogram.sum(), out);
                    sample(family.desc, "_count", series, None, count, out);
                }
            }
        }
    }
}

fn head(desc: &Desc, out: &mut Vec<u8>) {
    put(out, b"# HELP ");
    put(out, desc.name.as_bytes());
    put(out, b" ");
    escape(desc.help, false, out);
    put(out, b"\n# TYPE ");
    put(out, desc.name.as_bytes());
    put(out, b" ");
    put(out, desc.kind.word().as_bytes());
    put(out, b"\n");
}

fn sample(desc: &Desc, suffix: &str, series: &Series, bound: Option<f64>, value: f64, out: &mut Vec<u8>) {
    debug_assert!(suffix.is_empty() || matches!(desc.kind, Kind::Histogram(_)));
    put(out, desc.name.as_bytes());
    put(out, suffix.as_bytes());
    let mut separator = b'{';
    for (name, text) in desc.labels.iter().zip(&series.labels) {
        out.push(std::mem::replace(&mut separator, b','));
        put(out, name.as_bytes());
        put(out, b"=\"");
        escape(text, true, out);
        put(out, b"\"");
    }
    if let Some(bound) = bound {
        out.push(std::mem::replace(&mut separator, b','));
        put(out, b"le=\"");
        number(bound, out);
        put(out, b"\"");
    }
    if separator == b',' {
        put(out, b"}");
    }
    put(out, b" ");
    number(value, out);
    put(out, b"\n");
}

/// Shortest text that reads back as the same number, without an exponent.
fn number(value: f64, out: &mut Vec<u8>) {
    if value.is_nan() {
        put(out, b"NaN");
    } else if value.is_infinite() {
        put(out, if value > 0.0 { b"+Inf" } else { b"-Inf" });
    } else {
        // Writing into a vector cannot fail.
        let _infallible = write!(out, "{value}");
    }
}

fn escape(text: &str, quotes: bool, out: &mut Vec<u8>) {
    for byte in text.bytes() {
        match byte {
            b'\\' => put(out, b"\\\\"),
            b'\n' => put(out, b"\\n"),
            b'"' if quotes => put(out, b"\\\""),
            other => out.push(other),
        }
    }
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::track::histogram::Histogram;
    use prometheus::proto::{Bucket, Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};
    use prometheus::{Encoder, TextEncoder};
    use proptest::prelude::*;

    const BOUNDS: &[f64] = &[0.5, 2.5];
    static COUNTER: Desc =
        Desc::labelled("x_total", Kind::Counter, &["a", "b"], 100, "Counts \\ things\nhere.");
    static GAUGE: Desc = Desc::plain("y", Kind::Gauge, "A gauge.");
    static HISTOGRAM: Desc = Desc::labelled("z_seconds", Kind::Histogram(BOUNDS), &["k"], 10, "A histogram.");

    fn text(snapshot: &Snapshot) -> String {
        let mut out = b"left over".to_vec();
        render(snapshot, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_page_is_this_text() {
        let mut snapshot = Snapshot::default();
        snapshot.count(&COUNTER, &["q\"u", "n\nl\\"], 3);
        snapshot.set(&GAUGE, &[], 0.25);
        let mut histogram = Histogram::new(BOUNDS);
        histogram.observe(1.0);
        snapshot.histogram(&HISTOGRAM, &["v"], &histogram);
        let expected = "# HELP x_total Counts \\\\ things\\nhere.\n# TYPE x_total counter\n\
            x_total{a=\"q\\\"u\",b=\"n\\nl\\\\\"} 3\n\
            # HELP y A gauge.\n# TYPE y gauge\ny 0.25\n\
            # HELP z_seconds A histogram.\n# TYPE z_seconds histogram\n\
            z_seconds_bucket{k=\"v\",le=\"0.5\"} 0\nz_seconds_bucket{k=\"v\",le=\"2.5\"} 1\n\
            z_seconds_bucket{k=\"v\",le=\"+Inf\"} 1\nz_seconds_sum{k=\"v\"} 1\nz_seconds_count{k=\"v\"} 1\n";
        assert_eq!(text(&snapshot), expected);
    }

    #[test]
    fn notices_come_first_as_comments() {
        let mut snapshot = Snapshot::default();
        snapshot.set(&GAUGE, &[], 1.0);
        snapshot.notice("HELP y is\nno help");
        let expected = "# stall_exporter: HELP y is\\x0ano help\n# HELP y A gauge.\n# TYPE y gauge\ny 1\n";
        assert_eq!(text(&snapshot), expected);
    }

    fn labels(desc: &Desc, values: &[String]) -> Vec<LabelPair> {
        let pair = |(name, value): (&&str, &String)| {
            let mut pair = LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value(value.clone());
            pair
        };
        desc.labels.iter().zip(values).map(pair).collect()
    }

    fn family(desc: &Desc, kind: MetricType, metrics: Vec<Metric>) -> MetricFamily {
        let mut family = MetricFamily::default();
        family.set_name(desc.name.to_owned());
        family.set_help(desc.help.to_owned());
        family.set_field_type(kind);
        family.set_metric(metrics);
        family
    }

    /// What the prometheus crate writes for the same values.
    fn oracle(counters: &[([String; 2], f64)], gauge: f64, observations: &[f64]) -> String {
        let counters = counters.iter().map(|(values, value)| {
            let mut counter = Counter::default();
            counter.set_value(*value);
            let mut metric = Metric::from_label(labels(&COUNTER, values));
            metric.set_counter(counter);
            metric
        });
        let mut number = Gauge::default();
        number.set_value(gauge);
        let mut plain = Metric::default();
        plain.set_gauge(number);
        let buckets = BOUNDS.iter().map(|bound| {
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound);
            let below = observations.iter().filter(|value| *value <= bound).count();
            bucket.set_cumulative_count(below as u64);
            bucket
        });
        let mut histogram = prometheus::proto::Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(observations.len() as u64);
        histogram.set_sample_sum(observations.iter().fold(0.0, |sum, value| sum + value));
        let mut with_buckets = Metric::from_label(labels(&HISTOGRAM, &["v".to_owned()]));
        with_buckets.set_histogram(histogram);
        let families = [
            family(&COUNTER, MetricType::COUNTER, counters.collect()),
            family(&GAUGE, MetricType::GAUGE, vec![plain]),
            family(&HISTOGRAM, MetricType::HISTOGRAM, vec![with_buckets]),
        ];
        let mut out = Vec::new();
        TextEncoder::new().encode(&families, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    proptest! {
        #[test]
        fn our_text_is_the_oracles(
            counters in proptest::collection::vec((any::<[String; 2]>(), 0.0..1e12_f64), 1..8),
            gauge in any::<f64>().prop_filter("the two write infinities differently", |value| !value.is_infinite()),
            observations in proptest::collection::vec(0.0..5.0_f64, 0..8),
        ) {
            let mut snapshot = Snapshot::default();
            for ([a, b], value) in &counters {
                snapshot.set(&COUNTER, &[a, b], *value);
            }
            snapshot.set(&GAUGE, &[], gauge);
            let mut histogram = Histogram::new(BOUNDS);
            observations.iter().for_each(|value| histogram.observe(*value));
            snapshot.histogram(&HISTOGRAM, &["v"], &histogram);
            prop_assert_eq!(text(&snapshot), oracle(&counters, gauge, &observations));
        }
    }
}
