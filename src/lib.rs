//! stall_exporter: says what is stuck on a Linux host, since when and on what, and never gets stuck itself.
//!
//! # The flow
//!
//! ```text
//! kernel file ─► source ─► lane ─► sample ─► track ─► collector ─► snapshot ─► exposition ─► http
//!                          └─ probe process ─┘ └──────────────── front: engine ─────────────┘
//! ```
//!
//! | to find out | read |
//! |---|---|
//! | which files can be read, and what each of them locks | `source/paths.rs` |
//! | how little is read, and when | `lane/` |
//! | when something is called stuck | `track/` |
//! | who is suspected of holding it up, and on what grounds | `track/suspect.rs`, `track/resource/table.rs` |
//! | what is said about it | `collector/`, one file a signal |
//! | who hangs instead of us, and what happens then | `runtime/supervisor.rs`, `runtime/warden.rs` |
//! | what the kernel refuses our processes | `runtime/sandbox/` |
//! | which processes and threads there are | `app.rs` |
//!
//! # What holds throughout
//!
//! * Front opens nothing after start, reads SAFE rows only and never waits for a probe.
//! * Only `source/` opens the kernel's files, and only by the name of a row; FORBIDDEN rows have no name.
//! * Trackers are pure: samples and `now` in, values out. Only `base/clock.rs` asks the time.
//! * A wait continues only while its mark is unchanged; its length is a lower bound; unknown is never blocked.
//! * Everything has a limit, and what a limit refuses is counted on the page.
//! * A panic is caught where it costs least: one frame, one slice, one lane, one connection.
//!
//! `tests/tidy.rs` and `clippy.toml` keep these rules; a new edge between rooms is an entry there.

pub mod app;
pub mod base;
pub mod cli;
pub mod collector;
pub mod config;
pub mod engine;
pub mod exposition;
pub mod health;
pub mod http;
pub mod lane;
pub mod runtime;
pub mod sample;
pub mod snapshot;
pub mod source;
pub mod track;
