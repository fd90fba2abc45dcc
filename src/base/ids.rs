//! Maps by thread id. The ids are small numbers that the kernel hands out, so one multiplication spreads them well
//! enough, at a fraction of the cost of a hash that resists chosen text.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A map by thread or process id.
pub type ByTid<V> = HashMap<crate::base::units::Tid, V, BuildHasherDefault<Spread>>;

/// The golden ratio in 64 bits: an odd number whose multiples fill the upper bits evenly.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The hasher behind [`ByTid`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        // The map takes its bucket from the low bits and its tag from the high ones; both must differ.
        self.0.rotate_left(26)
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }

    fn write_u32(&mut self, id: u32) {
        self.0 = (self.0 ^ u64::from(id)).wrapping_mul(GOLDEN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::hash::{BuildHasher, BuildHasherDefault};

    #[test]
    fn neighbouring_ids_fall_into_different_buckets() {
        let build = BuildHasherDefault::<Spread>::default();
        for stride in [1, 2, 8, 1024] {
            let low: HashSet<u64> = (0..1024_u32).map(|id| build.hash_one(id * stride) % 4096).collect();
            assert!(low.len() > 700, "stride {stride}: {} of 1024", low.len());
            let tags: HashSet<u64> = (0..1024_u32).map(|id| build.hash_one(id * stride) >> 57).collect();
            assert!(tags.len() > 100, "stride {stride}: {} tags", tags.len());
        }
    }
}
