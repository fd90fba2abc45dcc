//! Every parser on any bytes: no panic, what must hold holds, and no more memory than the target's row allows.
//!
//! Here: the corpus as it is, cut, repeated to the longest input, and mutated; a few seconds each. The same targets
//! under libFuzzer, which follows the branches, for as long as one likes: `tests/fuzz/run`. What either finds is put
//! into `tests/fixtures/fuzz/TARGET/` and stays there.
#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests read files, and fail by panic"
)]

mod frames;
mod heap;
#[path = "../support/markup.rs"]
mod markup;
#[path = "../support/page.rs"]
#[allow(dead_code, reason = "the other tests use the rest")]
mod page;
mod targets;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};

use stall_exporter::runtime::wire::{self, FRAME_MAX};

use targets::{BYTES_MAX, TARGETS, Target};

/// Time for the mutations of one target; a slow machine makes fewer.
const MUTATING: Duration = Duration::from_secs(2);
const MUTATIONS_MIN: u32 = 100;

fn corpus_of(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/fuzz").join(name)
}

/// The files of a target's corpus, with their names.
fn corpus(name: &str) -> Vec<(String, Vec<u8>)> {
    let directory = corpus_of(name);
    let entries =
        std::fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut files: Vec<_> = entries
        .map(|entry| {
            let entry = entry.expect("an entry of the corpus");
            let bytes = std::fs::read(entry.path()).expect("a file of the corpus");
            (entry.file_name().to_string_lossy().into_owned(), bytes)
        })
        .collect();
    files.sort();
    files
}

thread_local! {
    static TRYING: Cell<bool> = const { Cell::new(false) };
}

/// What is wrong with one input, or nothing.
fn fault(target: &Target, bytes: &[u8]) -> Option<String> {
    // While an input is tried a panic is a result, not a message: shrinking makes hundreds of them.
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let tell = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !TRYING.get() {
                tell(panic)
            }
        }));
    });
    TRYING.set(true);
    let tried = catch_unwind(AssertUnwindSafe(|| target.check(bytes)));
    TRYING.set(false);
    let panic = tried.err()?;
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).or(Some(String::new()))
}

/// The corpus, and the longest inputs that can be made of it: as a whole again and again, and each byte for ever.
fn replay(target: &Target) -> Vec<String> {
    let mut faults = Vec::new();
    let mut check = |what: String, bytes: &[u8]| {
        faults.extend(fault(target, bytes).map(|fault| format!("{}: {what}: {fault}", target.name)));
    };
    for (name, bytes) in corpus(target.name) {
        for end in (0..bytes.len()).step_by(bytes.len() / 32 + 1) {
            check(format!("{name}, the first {end} bytes"), &bytes[..end]);
        }
        if !bytes.is_empty() {
            let long: Vec<u8> = bytes.iter().copied().cycle().take(BYTES_MAX).collect();
            check(format!("{name}, again and again"), &long);
        }
        check(name, &bytes);
    }
    for byte in [0, 1, 7, b'\n', b' ', b'"', b'(', b'0', b'9', b'[', b'\\', b'a', b'=', 0x80, 0xff] {
        check(format!("{byte:#x} for ever"), &vec![byte; BYTES_MAX]);
    }
    faults
}

/// One change to an input.
#[derive(Debug, Clone)]
enum Change {
    Set(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, Index),
    /// A part of it once more.
    Copy(Index, Index, Index),
}

fn change() -> impl Strategy<Value = Change> {
    let tokens =
        [&b"\n"[..], b"\0", b"\xff\xff\xff\xff\x0f", b"18446744073709551616", b"-1", b"\"\"\"", b"\xc3"];
    let token = prop_oneof![
        proptest::collection::vec(any::<u8>(), 1..12),
        select(tokens.map(<[u8]>::to_vec).to_vec())
    ];
    let at = any::<Index>;
    prop_oneof![
        (at(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        (at(), token).prop_map(|(at, token)| Change::Insert(at, token)),
        (at(), at()).prop_map(|(from, to)| Change::Remove(from, to)),
        (at(), at(), at()).prop_map(|(from, to, at)| Change::Copy(from, to, at)),
    ]
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    let place = |at: &Index| at.index(bytes.len() + 1);
    let range = |from: &Index, to: &Index| place(from).min(place(to))..place(from).max(place(to));
    match change {
        Change::Set(at, byte) => {
            let at = place(at);
            bytes.get_mut(at).into_iter().for_each(|old| *old = *byte);
        }
        Change::Insert(at, token) => {
            let at = place(at);
            bytes.splice(at..at, token.iter().copied());
        }
        Change::Remove(from, to) => drop(bytes.drain(range(from, to))),
        Change::Copy(from, to, at) => {
            let (at, part) = (place(at), bytes[range(from, to)].to_vec());
            bytes.splice(at..at, part);
        }
    }
}

/// The first fault, and the shortest input that has it.
fn mutate(target: &Target) -> Option<String> {
    let seeds: Vec<Vec<u8>> = corpus(target.name).into_iter().map(|(_, bytes)| bytes).collect();
    let mutated =
        (select(seeds), proptest::collection::vec(change(), 1..8)).prop_map(|(mut bytes, changes)| {
            changes.iter().for_each(|change| apply(&mut bytes, change));
            bytes
        });
    let inputs = prop_oneof![4 => mutated, 1 => proptest::collection::vec(any::<u8>(), 0..2000)];
    let config = Config {
        cases: 64,
        failure_persistence: None,
        max_shrink_iters: 10_000,
        verbose: 0,
        ..Config::default()
    };
    let mut runner = TestRunner::new(config);
    let begun = Instant::now();
    let mut runs = 0;
    while begun.elapsed() < MUTATING || runs < MUTATIONS_MIN {
        runs += 64;
        let result = runner.run(&inputs, |bytes| match fault(target, &bytes) {
            Some(fault) => Err(TestCaseError::fail(fault)),
            None => Ok(()),
        });
        if let Err(TestError::Fail(why, bytes)) = result {
            let (name, place) = (target.name, corpus_of(target.name));
            return Some(format!("{name}: {why}; put into {}: {}", place.display(), bytes.escape_ascii()));
        }
    }
    None
}

/// Every target, side by side.
fn silent<Faults: IntoIterator<Item = String> + Send>(attempt: fn(&Target) -> Faults) {
    let faults: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = TARGETS.iter().map(|target| scope.spawn(move || attempt(target))).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("a fault is a result")).collect()
    });
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_corpus_holds() {
    silent(replay);
}

#[test]
fn what_is_like_the_corpus_holds() {
    silent(mutate);
}

#[test]
fn every_target_has_a_corpus_and_every_corpus_a_target() {
    let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    for (index, name) in names.iter().enumerate() {
        assert!(!names[..index].contains(name), "{name} stands twice");
        assert!(!corpus(name).is_empty(), "{name}");
    }
    for entry in std::fs::read_dir(corpus_of("")).expect("the corpus") {
        let name = entry.expect("an entry").file_name().to_string_lossy().into_owned();
        assert!(names.contains(&name.as_str()), "tests/fixtures/fuzz/{name} belongs to no target");
    }
}

/// A seed that is not decoded any more is no better than noise.
#[test]
fn the_frames_of_the_corpus_are_of_today() {
    for (target, name, bytes) in frames::seeds() {
        let path = corpus_of(target).join(name);
        if std::env::var_os("UPDATE_CORPUS").is_some() {
            std::fs::write(&path, &bytes).expect("the corpus can be written");
        }
        let there = std::fs::read(&path).unwrap_or_default();
        assert!(there == bytes, "{}: not today's; UPDATE_CORPUS=1 cargo test --test fuzz", path.display());
    }
}

/// A frame that no seed shows is fuzzed by luck alone.
#[test]
fn every_kind_of_frame_is_a_seed() {
    let shown: BTreeSet<u8> = frames::bodies().iter().map(|body| body[0]).collect();
    // Zeros are a frame of every kind that there is.
    let kinds = (0..=0x7f).filter(|kind| wire::decode(&[&[*kind][..], &[0; 4096]].concat()).is_ok());
    assert_eq!(shown, kinds.collect());
}

/// Every number of every frame may be the length of a list, and what it promises may be there: as many empty items
/// as a frame has bytes.
#[test]
fn no_frame_takes_much_more_memory_than_its_bytes() {
    let mut body = vec![0; FRAME_MAX];
    let mut most = 0;
    for seed in frames::bodies() {
        for at in 0..seed.len() {
            // 16 000 000, and the longest that is taken.
            for length in [&[0x80, 0xc8, 0xd0, 0x07][..], &[0x80, 0x80, 0x04]] {
                let head = [&seed[..at], length].concat();
                body[..head.len()].copy_from_slice(&head);
                let held = heap::peak(|| drop(wire::decode(&body)));
                assert!(held <= 2 * FRAME_MAX, "{held} bytes; {length:?} at {at} of {seed:?}");
                most = most.max(held);
                body[..head.len()].fill(0);
            }
        }
    }

    assert!(most > FRAME_MAX / 2, "{most} bytes: no list was reached");
}

/// What this program would say of a parser with each of the faults that it looks for.
#[test]
fn faults_are_seen() {
    let of = |heap_max, run| fault(&Target { name: "bad", heap_max, run }, b"four").unwrap_or_default();
    assert_eq!(of(1000, |bytes| drop(vec![bytes[0]; 1001])), "bad held 1001 bytes, more than 1000");
    assert_eq!(of(1000, |bytes| drop(vec![bytes[0]; 1000])), "");
    // Never touched, as a length that lies would have it; and held in parts.
    assert!(of(1000, |bytes| drop(Vec::<u64>::with_capacity(bytes.len() << 20))).contains("33554432 bytes"));
    assert!(of(1000, |_| drop([vec![1_u8; 600], vec![2_u8; 600]])).contains("1200 bytes"));
    assert_eq!(of(1000, |_| (0..10_u8).for_each(|byte| drop(vec![byte; 600]))), "", "one after the other");
    assert!(of(1000, |bytes| assert!(bytes[bytes.len()] > 0)).contains("out of bounds"));
}
