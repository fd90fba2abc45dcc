//! stall_exporter: says what is stuck on a Linux host, since when and on what, and never gets stuck itself.
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
