//! What the lane chooses, and what it reads of a tree of ordinary files. The kernel's own stacks are in the end-to-end
//! tests.

use std::cell::RefCell;
use std::fs;

use super::*;
use crate::base::clock;
use crate::config::Roots;
use crate::lane::handover::{Why, Worth};
use crate::sample::Mark;
use crate::source::paths::RowId;
use crate::source::{Host, Stamp};

const MARK: Mark = Mark { slices: 3, run_ns: 7 };

fn wish(tid: Tid) -> Wanted {
    Wanted { pid: tid, tid, mark: MARK, why: Why::Blocked, worth: Worth::Plain }
}

fn at(seconds: u64) -> Mono {
    Mono::from_nanos(seconds * 1_000_000_000)
}

fn tids(due: &[Wanted]) -> Vec<Tid> {
    due.iter().map(|wish| wish.tid).collect()
}

// ---- what it chooses

fn cases() -> Cases {
    Cases::new(Duration::from_secs(10), vec![66], vec![])
}

/// As the lane does it: the first of those due that is in no crowd, if there is one.
fn take(cases: &mut Cases, channel: &str, now: Mono) -> Option<Tid> {
    for wish in cases.due(now) {
        if !cases.crowded(&wish, || Some(channel.to_owned())) {
            cases.done(&wish, Outcome::Taken, now);
            return Some(wish.tid);
        }
    }
    None
}

#[test]
fn what_an_earlier_probe_knew_is_due_at_once_and_what_it_took_is_not_taken_again() {
    let known = |tid, taken| Known { tid, mark: wish(tid).mark, since: at(1), taken };
    let other = Known { mark: Mark { slices: 4, ..MARK }, ..known(9, false) };
    let told =
        vec![known(7, false), known(8, true), known(10, true), known(11, true), known(66, true), other];
    let mut cases = Cases::new(Duration::from_secs(10), vec![66], told);
    let wishes = || [7, 8, 9, 10, 11, 66].map(wish).to_vec();
    cases.meet(wishes(), at(20));
    assert_eq!(tids(&cases.due(at(20))), [7], "8 has its stack, and 9 is in another wait than it was");
    assert_eq!(tids(&cases.due(at(30))), [7, 9]);
    while let Some(unnamed) = cases.unnamed() {
        assert_ne!(unnamed.tid, 66, "an earlier probe hung there");
        cases.name(unnamed.tid, Some("a".to_owned()));
    }
    cases.meet(wishes(), at(31));
    assert_eq!(take(&mut cases, "a", at(31)), None, "three stacks of the channel are enough");
    assert_eq!(cases.skipped.crowd, 2);
}

#[test]
fn a_wait_is_due_once_it_is_old_and_once_only() {
    let mut cases = cases();
    cases.meet(vec![wish(7)], at(1));
    assert!(cases.due(at(10)).is_empty());
    assert_eq!(take(&mut cases, "a", at(11)), Some(7));
    cases.meet(vec![wish(7)], at(12));
    assert_eq!(take(&mut cases, "a", at(900)), None);
    // Another wait of the same thread is met for the first time.
    cases.meet(vec![Wanted { mark: Mark { slices: 4, ..MARK }, ..wish(7) }], at(901));
    assert_eq!(take(&mut cases, "a", at(902)), None);
    assert_eq!(take(&mut cases, "a", at(911)), Some(7));
    assert_eq!(cases.skipped, Skipped::default());
}

#[test]
fn init_comes_first_then_services_then_the_longest() {
    let mut cases = cases();
    let first = |tid| Wanted { worth: Worth::First, ..wish(tid) };
    let nothing = Wanted { worth: Worth::Nothing, ..wish(8) };
    cases.meet(vec![wish(5)], at(0));
    cases.meet(vec![wish(5), wish(4), first(9)], at(1));
    cases.meet(vec![wish(5), wish(4), first(9), first(3), first(1), nothing], at(2));
    assert_eq!(tids(&cases.due(at(20))), [1, 9, 3, 5, 4]);
    let crowd = (1000..2000).rev().map(wish).chain([first(9), first(1)]);
    cases.meet(crowd.collect(), at(3));
    let due = tids(&cases.due(at(20)));
    assert_eq!((due.len(), &due[..3]), (64, &[1, 9, 1000][..]), "a part of a crowd, and not without them");
}

#[test]
fn of_a_crowd_in_one_channel_a_few_are_taken_and_the_rest_is_counted_once() {
    let mut cases = cases();
    let mut wishes: Vec<Wanted> = (100..150).map(wish).collect();
    wishes.extend((1..=20).map(|tid| Wanted { worth: Worth::First, ..wish(tid) }));
    cases.meet(wishes.clone(), at(0));
    let mut taken = Vec::new();
    for now in 10..100 {
        cases.meet(wishes.clone(), at(now));
        taken.extend(take(&mut cases, "rtnl_lock", at(now)));
    }
    assert_eq!(taken, (1..=16).collect::<Vec<Tid>>(), "services have more places, and theirs count for all");
    assert_eq!(cases.skipped, Skipped { crowd: 54, ..Skipped::default() });
    // Whose wait ends makes room for another.
    wishes.retain(|wish| wish.tid > 2);
    cases.meet(wishes.clone(), at(100));
    assert_eq!(take(&mut cases, "rtnl_lock", at(100)), Some(17));
    cases.meet(wishes, at(101));
    assert_eq!(take(&mut cases, "rtnl_lock", at(101)), Some(18));
}

#[test]
fn another_channel_and_an_unknown_one_are_no_crowd() {
    let mut cases = cases();
    let wishes: Vec<Wanted> = (100..120).map(wish).collect();
    let mut taken = 0;
    for now in 0..100 {
        cases.meet(wishes.clone(), at(now));
        for wish in cases.due(at(now)) {
            let channel = match wish.tid {
                119 => Some("io_schedule".to_owned()),
                110.. => None,
                _ => Some("rtnl_lock".to_owned()),
            };
            if !cases.crowded(&wish, || channel) {
                cases.done(&wish, Outcome::Taken, at(now));
                taken += 1;
                break;
            }
        }
    }
    assert_eq!((taken, cases.skipped.crowd), (3 + 9 + 1, 7));
}

#[test]
fn what_failed_is_tried_again_ever_more_rarely() {
    let mut cases = cases();
    let mut tries = Vec::new();
    for now in 0..2000 {
        cases.meet(vec![wish(7), wish(66)], at(now));
        for wish in cases.due(at(now)) {
            tries.push(now);
            let outcome = [Outcome::Moved, Outcome::Denied, Outcome::Failed][tries.len() % 3];
            cases.done(&wish, outcome, at(now));
        }
    }
    let gaps: Vec<u64> = tries.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(gaps[..8], [5, 10, 20, 40, 80, 160, 300, 300]);
    let Skipped { moved, denied, failed, avoided, .. } = cases.skipped;
    assert_eq!(moved + denied + failed, tries.len() as u64);
    assert!(moved > 0 && denied > 0 && failed > 0);
    assert_eq!(avoided, 1, "a thread at which an earlier probe hung is never due");
}

#[test]
fn a_wait_that_ends_before_its_turn_is_counted() {
    let mut cases = cases();
    cases.meet(vec![wish(7), wish(8)], at(0));
    assert_eq!(take(&mut cases, "a", at(10)), Some(7));
    cases.meet(vec![], at(11));
    assert_eq!(cases.skipped, Skipped { rate: 1, ..Skipped::default() });
    cases.meet(vec![wish(9)], at(12));
    cases.due(at(13));
    cases.meet(vec![], at(14));
    assert_eq!(cases.skipped.rate, 1, "a short wait was never to have one");
}

// ---- what it reads

/// Notes which rows are entered.
#[derive(Default)]
struct Entered(RefCell<Vec<String>>);

impl Stamp for Entered {
    fn enter(&self, row: RowId, subject: u32) {
        self.0.borrow_mut().push(format!("{} {subject}", row.row().pattern));
    }
}

struct Scene {
    dir: tempfile::TempDir,
    handover: Arc<Handover>,
    lane: EvidenceLane,
    entered: Entered,
}

impl Scene {
    fn new(config: &Config, avoid: Vec<Tid>) -> Self {
        let (dir, handover) = (tempfile::tempdir().unwrap(), Arc::new(Handover::default()));
        let lane = EvidenceLane::new(config, Arc::clone(&handover), 1.0, avoid, Vec::new(), clock::now());
        let scene = Self { dir, handover, lane, entered: Entered::default() };
        scene.thread(1);
        scene
    }

    /// A thread with a mark and a wait channel, and without a stack.
    fn thread(&self, tid: Tid) {
        self.write(tid, "schedstat", b"7 0 3\n");
        self.write(tid, "wchan", format!("wchan_{tid}").as_bytes());
    }

    fn write(&self, tid: Tid, file: &str, text: &[u8]) {
        let dir = self.dir.path().join(tid.to_string());
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join(file), text).unwrap();
    }

    /// A turn, as if the pace allowed another stack.
    fn turn(&mut self, wanted: &[Tid]) -> Vec<Frame> {
        self.handover.want(wanted.iter().copied().map(wish).collect());
        let procfs = self.dir.path().to_owned();
        let host =
            Host::open(&Roots { procfs, sysfs: "/sys".into(), cgroupfs: "/sys/fs/cgroup".into() }).unwrap();
        let mut frames = Vec::new();
        let mut send = |frame: &Frame| frames.push(frame.clone());
        let reader = Reader::for_probe(&host, &self.entered);
        self.lane.turn(&mut Tools { reader, send: &mut send, pause: &|_| {} });
        frames
    }

    fn entered(&self, file: &str) -> usize {
        self.entered.0.borrow().iter().filter(|entry| entry.contains(file)).count()
    }
}

/// Every wait is old enough, and the pace is the fastest.
fn eager() -> Config {
    let mut config = Config::defaults();
    config.evidence = crate::config::Evidence { after: Duration::ZERO, per_minute: 60 };
    config
}

fn only_skipped(frames: &[Frame]) -> Skipped {
    let [Frame::Evidence(skipped)] = frames else { panic!("{frames:?}") };
    *skipped
}

#[test]
fn a_stack_is_read_once_and_bounded() {
    let mut scene = Scene::new(&eager(), vec![]);
    scene.thread(7);
    let line = |number: usize| format!("[<0>] {}+0x{number:x}/0x99\n", "f".repeat(300));
    scene.write(7, "stack", (0..40).map(line).collect::<String>().as_bytes());
    let frames = scene.turn(&[7]);
    let [Frame::Stack(stack), Frame::Evidence(Skipped { crowd: 0, .. })] = frames.as_slice() else {
        panic!("{frames:?}")
    };
    assert_eq!((stack.tid, stack.mark, stack.frames.len()), (7, MARK, FRAMES_MAX));
    assert!(stack.frames.iter().all(|frame| frame.len() == LABEL_MAX && frame.starts_with("fff")));
    scene.lane.next = Mono::default();
    assert!(scene.turn(&[7]).is_empty(), "once, and no sign of life so soon");
    assert_eq!(scene.entered("stack"), 2, "one open, one read");
}

#[test]
fn one_stack_a_turn_and_no_sooner_than_the_pace_allows() {
    let mut config = eager();
    config.evidence.per_minute = 1;
    let mut scene = Scene::new(&config, vec![]);
    for tid in [7, 8] {
        scene.thread(tid);
        scene.write(tid, "stack", b"[<0>] f+0x1/0x2\n");
    }
    assert_eq!(scene.turn(&[7, 8]).len(), 2);
    let left = scene.lane.next.since(clock::now());
    assert!(left > Duration::from_secs(50) && left <= Duration::from_secs(60), "{left:?}");
    assert!(scene.turn(&[7, 8]).is_empty());
    scene.lane.next = Mono::default();
    assert!(matches!(scene.turn(&[7, 8]).as_slice(), [Frame::Stack(Stack { tid: 8, .. })]));
}

#[test]
fn after_a_hang_the_first_stack_waits_and_the_thread_is_left_alone() {
    let mut scene = Scene::new(&eager(), vec![7]);
    scene.thread(7);
    assert_eq!(only_skipped(&scene.turn(&[7])), Skipped { avoided: 1, ..Skipped::default() });
    assert!(scene.lane.next.since(clock::now()) > AFTER_HANG / 2);
    scene.lane.next = Mono::default();
    assert!(scene.turn(&[7]).is_empty());
    assert_eq!(scene.entered(" 7"), 0, "no file of it was opened");
}

#[test]
fn without_stacks_the_lane_says_so_once_and_rests() {
    let mut scene = Scene::new(&eager(), vec![]);
    scene.thread(7);
    scene.thread(8);
    let frames = scene.turn(&[7]);
    let [Frame::Failed { lane: Lane::Evidence, why }, Frame::Evidence(skipped)] = frames.as_slice() else {
        panic!("{frames:?}")
    };
    assert!(why.contains("/stack: this kernel has none") && why.contains("--no-collector.evidence"), "{why}");
    assert_eq!(*skipped, Skipped { failed: 1, ..Skipped::default() });
    scene.lane.next = Mono::default();
    assert!(scene.turn(&[7, 8]).is_empty() && scene.turn(&[]).is_empty(), "in a rest nobody is kept waiting");
    assert!(scene.lane.rest.since(clock::now()) > REST / 2);
    scene.lane.rest = Mono::default();
    scene.lane.cases = Cases::new(Duration::ZERO, vec![], vec![]);
    assert_eq!(only_skipped(&scene.turn(&[7, 8])).failed, 1, "the other one, without a word");
}

#[test]
fn what_is_no_stack_or_of_another_wait_is_none() {
    let mut scene = Scene::new(&eager(), vec![]);
    for text in [&b""[..], b"\n", b"running\n", b"\xff\x00[<"] {
        scene.lane.cases = Cases::new(Duration::ZERO, vec![], vec![]);
        scene.lane.next = Mono::default();
        scene.thread(7);
        scene.write(7, "stack", text);
        assert_eq!(only_skipped(&scene.turn(&[7])).failed, 1, "{text:?}");
    }
    scene.write(7, "stack", b"[<0>] f+0x1/0x2\n");
    scene.write(7, "schedstat", b"8 0 4\n");
    scene.lane.cases = Cases::new(Duration::ZERO, vec![], vec![]);
    scene.lane.next = Mono::default();
    let before = scene.entered("stack");
    assert_eq!(only_skipped(&scene.turn(&[7])).moved, 1);
    assert_eq!(scene.entered("/stack"), before, "no lock is taken for a thread that has moved on");
}

#[test]
fn switched_off_it_reads_nothing_and_lives() {
    let mut config = eager();
    config.disabled = vec!["evidence".to_owned()];
    let mut scene = Scene::new(&config, vec![]);
    scene.thread(7);
    scene.write(7, "stack", b"[<0>] f+0x1/0x2\n");
    assert_eq!(only_skipped(&scene.turn(&[7])), Skipped::default());
    assert!(scene.entered.0.borrow().is_empty());
}
