//! One target of `tests/fuzz/targets.rs` under libFuzzer: that which `STALL_FUZZ_TARGET` names.
#![no_main]
#![allow(dead_code, reason = "the tests use the rest")]

#[path = "../heap.rs"]
mod heap;
#[path = "../../support/markup.rs"]
mod markup;
#[path = "../../support/page.rs"]
mod page;
#[path = "../targets.rs"]
mod targets;

use std::sync::OnceLock;

use targets::{TARGETS, Target};

static CHOSEN: OnceLock<&Target> = OnceLock::new();

/// In place of libFuzzer's own hook, which ends the program also at panics that are caught; those that are not end it
/// after this one. Those of the procfs crate are caught (`source/cold.rs`), and there are thousands of them.
fn tell_panics() {
    std::panic::set_hook(Box::new(|panic| {
        if panic.location().is_none_or(|place| !place.file().contains("/procfs")) {
            eprintln!("{panic}");
        }
    }));
}

libfuzzer_sys::fuzz_target!(
    init: {
        tell_panics();
        let name = std::env::var("STALL_FUZZ_TARGET").expect("STALL_FUZZ_TARGET names a target");
        let target = TARGETS.iter().find(|target| target.name == name).expect("a target of TARGETS");
        CHOSEN.get_or_init(|| target);
    },
    |bytes: &[u8]| CHOSEN.get().expect("init has run").check(bytes)
);
