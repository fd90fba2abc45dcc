//! A frame of each kind and a message of each kind, as seeds: their encoding follows the types, so the files of the
//! corpus that hold them are written from here (`UPDATE_CORPUS=1 cargo test --test fuzz`).

use std::time::Duration;

use stall_exporter::base::clock::Mono;
use stall_exporter::base::kthread::{Kind, Kthread};
use stall_exporter::base::units::{Resource, State};
use stall_exporter::runtime::wire::{self, LanePlan, Order, Report};
use stall_exporter::sample::evidence::{Known, Skipped, Stack};
use stall_exporter::sample::runnable::{Busy, Member};
use stall_exporter::sample::{
    Detail, DiskRow, Disks, Dying, Frame, GroupUsage, Hint, KthreadSample, KthreadSamples, Lane, Look, Looks,
    Mark, Missed, OwnGroup, PressureRow, Pressures, QuotaRow, Quotas, QuotasMissed, Row, ServiceTasks, Step,
    Sweep,
};

fn at(seconds: u64) -> Mono {
    Mono::from_nanos(seconds * 1_000_000_000)
}

fn row(state: State, hint: Hint) -> Row {
    Row {
        tid: 4242,
        pid: 4200,
        begin: at(100),
        end: at(101),
        state,
        mark: Mark { slices: 7, run_ns: 123_456 },
        comm: "nfsd \"x\"".to_owned(),
        hint,
        services: 5,
        services_whole: true,
    }
}

/// One of each kind at least.
fn frames() -> Vec<Frame> {
    [of_threads(), of_the_host()].concat()
}

fn of_threads() -> Vec<Frame> {
    let mark = Mark { slices: 7, run_ns: 123_456 };
    let rows = vec![
        row(State::Uninterruptible, Hint::None),
        row(State::Running, Hint::None),
        row(State::Unknown, Hint::WorkItem),
        row(State::Uninterruptible, Hint::CoreDump),
    ];
    let thread = Kthread { kind: Kind::Ksoftirqd, cpu: Some(1) };
    vec![
        Frame::Sweep(Sweep {
            begin: at(99),
            end: at(102),
            processes: 120,
            states: [2, 300, 4, 0, 0, 1, 0, 60, 0, 3],
            rows: rows.clone(),
            unread: vec![17],
            services: vec![ServiceTasks { all: 3, selected: 1 }],
            members_known: true,
            run_times: true,
            missed: Missed { vanished: 2, ..Missed::default() },
        }),
        Frame::Look(Look { rows, ended: vec![4242] }),
        Frame::Detail(vec![Detail {
            tid: 4242,
            mark,
            wchan: Some("rpc_wait_bit_killable".to_owned()),
            state: Some(State::Uninterruptible),
            start_ticks: Some(77),
            ..Detail::default()
        }]),
        Frame::Kthreads(KthreadSamples {
            at: at(100),
            whole: true,
            threads: vec![KthreadSample {
                tid: 15,
                thread,
                mark,
                wait_ns: 1_000_000,
                steps: vec![Step { slices: 1, wait_ns: 5_000 }],
                runnable: Some(Looks { first: at(99), last: at(100) }),
            }],
            left_out: 1,
        }),
        Frame::Failed { lane: Lane::Cgroups, why: "cannot be read".to_owned() },
        Frame::Detail(vec![busy()]),
        Frame::Members(vec![
            Member { pid: 4200, group: Some("/a/b".to_owned()) },
            Member { pid: 1, group: None },
        ]),
        Frame::Stack(Stack {
            tid: 4242,
            mark,
            frames: vec!["msleep+0x2d/0x40".to_owned(), "do_syscall_64+0x71/0x280".to_owned()],
        }),
    ]
}

fn of_the_host() -> Vec<Frame> {
    let usage = GroupUsage { periods: 10, throttled_periods: 4, throttled_ns: 5000, usage_ns: Some(9) };
    vec![
        Frame::Own(OwnGroup { known: true, quota_cores: Some(0.5), throttled_periods: Some(3) }),
        Frame::Quotas(Quotas {
            at: at(100),
            distance: Duration::from_secs(1),
            whole: true,
            rows: vec![QuotaRow { group: "/a/b".to_owned(), quota_cores: 0.07, usage }],
            ended: vec!["/gone".to_owned()],
            missed: QuotasMissed::default(),
        }),
        Frame::Dying(Dying { at: at(100), groups: Some(1700) }),
        Frame::Disks(Disks {
            begin: at(99),
            end: at(100),
            whole: true,
            rows: vec![disk("vda", None), disk("dm-0", Some(true))],
            unread: 1,
            over_devices: 2,
        }),
        Frame::Evidence(Skipped { crowd: 9, moved: 1, ..Skipped::default() }),
        Frame::Pressures(Pressures {
            at: at(100),
            groups: true,
            rows: vec![
                pressure("/a/b", Resource::Cpu, Some(6_250_866_203), None),
                pressure("/a/b", Resource::Memory, Some(214_407_263), Some(106_942_765)),
            ],
        }),
    ]
}

fn busy() -> Detail {
    let busy = Busy {
        pid: 4200,
        comm: "kworker/1:2".to_owned(),
        work: Some("events".to_owned()),
        begin: at(100),
        end: at(101),
        user_ticks: 12,
        voluntary: 345,
    };
    let mark = Mark { slices: 7, run_ns: 123_456 };
    Detail { tid: 4242, mark, cpu: Some(3), busy: Some(busy), start_ticks: Some(77), ..Detail::default() }
}

fn disk(device: &str, suspended: Option<bool>) -> DiskRow {
    DiskRow { device: device.to_owned(), inflight: 4, completed: 123_456, suspended }
}

fn pressure(
    group: &str,
    resource: Resource,
    waiting_us: Option<u64>,
    stalled_us: Option<u64>,
) -> PressureRow {
    PressureRow { group: group.to_owned(), resource, waiting_us, stalled_us }
}

fn encoded(frame: &Frame) -> Vec<u8> {
    let mut bytes = Vec::new();
    wire::encode(frame, &mut bytes).expect("a small frame");
    bytes
}

/// Those frames without their lengths.
pub fn bodies() -> Vec<Vec<u8>> {
    frames().iter().map(|frame| encoded(frame).split_off(4)).collect()
}

/// The seeds: target, name, bytes.
pub fn seeds() -> Vec<(&'static str, String, Vec<u8>)> {
    let mut seeds = Vec::new();
    // In pieces of 65 bytes.
    let mut all = vec![1];
    for (number, frame) in frames().iter().enumerate() {
        let bytes = encoded(frame);
        seeds.push(("frame", format!("seed-{number}"), bytes[4..].to_vec()));
        all.extend_from_slice(&bytes);
    }
    seeds.push(("stream", "seed-all".to_owned(), all));
    let mark = Mark { slices: 7, run_ns: 8 };
    let known = vec![Known { tid: 1, mark, since: at(2), taken: true }];
    let of = |lane| LanePlan { lane, not_before: at(3), avoid: vec![4242, 1], known: known.clone() };
    let plan = Lane::ALL.map(of).to_vec();
    let orders = [Order::Spawn { slot: 1, plan }, Order::Kill { slot: 8 }, Order::Ping(300)];
    let reports = [
        Report::Spawned { slot: 1, pid: 4242 },
        Report::NotSpawned { slot: 2, why: "no memory".to_owned() },
        Report::Ended { slot: 3, how: "signal 9".to_owned() },
        Report::Pong(300),
    ];
    let sent = orders.iter().map(as_sent).chain(reports.iter().map(as_sent));
    seeds.extend(sent.enumerate().map(|(number, bytes)| ("message", format!("seed-{number}"), bytes)));
    seeds
}

/// A message as it stands in its datagram.
fn as_sent(message: &impl serde::Serialize) -> Vec<u8> {
    postcard::to_stdvec(message).expect("a small message")
}
