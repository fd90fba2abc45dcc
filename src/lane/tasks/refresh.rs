//! When all letters are read again at once. A sleeper that was woken and does not get a CPU stands as still as one that
//! sleeps; the host's running count tells that there is one somewhere.

/// Most walks between two refreshes that found nothing.
const PATIENCE_MAX: u32 = 16;

/// Decides from walk to walk.
#[derive(Debug, Default)]
pub struct Refresh {
    now: bool,
    /// Runnable threads that the walk before did not explain.
    unexplained: u64,
    /// Walks to let pass.
    rest: u32,
    /// How many were let pass the last time.
    patience: u32,
}

impl Refresh {
    /// Read every letter in this walk.
    pub const fn due(&self) -> bool {
        self.now
    }

    /// After a walk: `running` threads by the kernel's count, `explained` by rows in R. A single surplus is the noise
    /// of two numbers that are not of the same instant; one that stays over two walks is looked for. A search that
    /// left it unexplained was vain, and the next one waits twice as long: a busy host must not pay for it in every
    /// walk.
    pub fn after(&mut self, running: u64, explained: u64) {
        let surplus = running.saturating_sub(explained);
        let stays = surplus > 0 && self.unexplained > 0;
        if self.now {
            self.patience =
                if surplus > 0 { self.patience.saturating_mul(2).clamp(1, PATIENCE_MAX) } else { 0 };
            self.rest = self.patience;
        }
        self.unexplained = surplus;
        self.now = stays && self.rest == 0 && !self.now;
        self.rest = self.rest.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_surplus_that_stays_is_looked_for_and_found() {
        let mut refresh = Refresh::default();
        refresh.after(5, 2);
        assert!(!refresh.due(), "once is noise");
        refresh.after(5, 2);
        assert!(refresh.due());
        refresh.after(5, 5);
        assert!(!refresh.due(), "found");
    }

    #[test]
    fn vain_searches_become_rare_but_do_not_end() {
        let mut refresh = Refresh::default();
        let mut searches = Vec::new();
        for walk in 0..100 {
            refresh.after(9, 1);
            if refresh.due() {
                searches.push(walk);
            }
        }
        let gaps: Vec<i32> = searches.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(gaps.is_sorted() && gaps.len() >= 5, "{searches:?}");
        assert_eq!(gaps.last(), Some(&(PATIENCE_MAX as i32 + 1)), "{searches:?}");
    }
}
