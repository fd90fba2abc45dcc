//! What is stuck, told to people and to programs: a [`Report`](crate::snapshot::stall::Report) in, text out.
//!
//! * [`html`]: the page `/stalls`, for a phone, a desk and a terminal browser.
//! * [`text`]: the same on a terminal, for `stall_exporter stalls`.
//! * [`json`]: `/stalls.json`, which the command reads.
//! * `words`: durations, headline and sureness, the same on all of them.

pub mod html;
pub mod json;
pub mod text;
mod words;

pub use words::span;
