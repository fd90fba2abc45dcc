//! A histogram with fixed bounds.

/// Counts of observations up to each bound.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    bounds: &'static [f64],
    counts: Vec<u64>,
    sum: f64,
    count: u64,
}

impl Histogram {
    /// Empty, with these ascending upper bounds.
    pub fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, counts: vec![0; bounds.len()], sum: 0.0, count: 0 }
    }

    /// Books one observation.
    pub fn observe(&mut self, value: f64) {
        self.observe_times(value, 1);
    }

    /// Books the same observation several times.
    pub fn observe_times(&mut self, value: f64, times: u64) {
        if times == 0 {
            return;
        }
        let bucket = self.bounds.iter().position(|bound| value <= *bound);
        if let Some(count) = bucket.and_then(|bucket| self.counts.get_mut(bucket)) {
            *count = count.saturating_add(times);
        }
        self.sum += value * times as f64;
        self.count = self.count.saturating_add(times);
    }

    /// Bounds with cumulative counts, as the exposition wants them, without `+Inf`.
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        self.bounds.iter().zip(&self.counts).scan(0_u64, |below, (bound, count)| {
            *below = below.saturating_add(*count);
            Some((*bound, *below))
        })
    }

    /// Sum of all observations.
    pub const fn sum(&self) -> f64 {
        self.sum
    }

    /// Number of all observations.
    pub const fn count(&self) -> u64 {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative_and_the_overflow_counts_in_the_total_only() {
        let mut histogram = Histogram::new(&[1.0, 5.0]);
        for value in [0.5, 1.0, 3.0, 99.0] {
            histogram.observe(value);
        }
        assert_eq!(histogram.cumulative().collect::<Vec<_>>(), [(1.0, 2), (5.0, 3)]);
        assert_eq!((histogram.count(), histogram.sum()), (4, 103.5));
    }
}
