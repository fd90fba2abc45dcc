//! stall_exporter: says what is stuck on a Linux host, since when and on what, and never gets stuck itself.
pub mod app;
pub mod base;
pub mod cli;
pub mod config;
pub mod exposition;
pub mod lane;
pub mod runtime;
pub mod sample;
pub mod source;
pub mod track;
