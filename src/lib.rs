//! stall_exporter: says what is stuck on a Linux host, since when and on what, and never gets stuck itself.
pub mod base;
pub mod config;
pub mod exposition;
pub mod http;
pub mod runtime;
