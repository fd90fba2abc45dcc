//! Metric descriptors and the text writer.

pub mod desc;
