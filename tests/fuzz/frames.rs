//! A frame of each kind and a message of each kind, as seeds: their encoding follows the types, so the files of the
//! corpus that hold them are written from here (`UPDATE_CORPUS=1 cargo test --test fuzz`).

use std::time::Duration;

use stall_exporter::base::clock::Mono;
use stall_exporter::base::kthread::{Kind, Kthread};
use stall_exporter::base::units::State;
use stall_exporter::runtime::wire::{self, LanePlan, Order, Report};
use stall_exporter::sample::{
    Detail, Frame, GroupUsage, Hint, KthreadSample, KthreadSamples, Lane, Look, Looks, Mark, Missed,
    OwnGroup, QuotaRow, Quotas, QuotasMissed, Row, ServiceTasks, Step, Sweep,
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

/// One of each kind.
pub fn frames() -> Vec<Frame> {
    let mark = Mark { slices: 7, run_ns: 123_456 };
    let rows = vec![
        row(State::Uninterruptible, Hint::None),
        row(State::Running, Hint::None),
        row(State::Unknown, Hint::WorkItem),
        row(State::Uninterruptible, Hint::CoreDump),
    ];
    let usage = GroupUsage { periods: 10, throttled_periods: 4, throttled_ns: 5000, usage_ns: Some(9) };
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
        Frame::Own(OwnGroup { known: true, quota_cores: Some(0.5), throttled_periods: Some(3) }),
        Frame::Quotas(Quotas {
            at: at(100),
            distance: Duration::from_secs(1),
            whole: true,
            rows: vec![QuotaRow { group: "/a/b".to_owned(), quota_cores: 0.07, usage }],
            ended: vec!["/gone".to_owned()],
            missed: QuotasMissed::default(),
        }),
        Frame::Kthreads(KthreadSamples {
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
    ]
}

fn encoded(frame: &Frame) -> Vec<u8> {
    let mut bytes = Vec::new();
    wire::encode(frame, &mut bytes).expect("a small frame");
    bytes
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
    let plan = Lane::ALL.map(|lane| LanePlan { lane, not_before: at(3), avoid: vec![4242, 1] }).to_vec();
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
