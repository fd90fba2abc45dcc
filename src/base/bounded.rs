//! Everything that is bounded by count.
