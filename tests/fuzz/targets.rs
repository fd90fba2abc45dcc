//! What is fuzzed: one row per parser. The same rows serve `cargo test` (`main.rs`, seconds) and libFuzzer
//! (`tests/fuzz/run`, as long as one likes).
//!
//! A new parser is a function here that takes any bytes, a row in [`TARGETS`], and a file or two of what the kernel
//! really prints in `tests/fixtures/fuzz/NAME/`. A function says what must hold by asserting it; that nothing panics
//! and that nothing allocates past the row's limit is asserted for it.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::Write as _;
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::time::Duration;

use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, socketpair};
use rustix::pipe::{PipeFlags, pipe_with};

use stall_exporter::base::bounded;
use stall_exporter::base::clock::Mono;
use stall_exporter::base::kthread::Kthread;
use stall_exporter::cli::{self, fetch};
use stall_exporter::collector::{self, World};
use stall_exporter::config::settings::SETTINGS;
use stall_exporter::config::value::Typed;
use stall_exporter::config::{Config, Flags, duration, file, validate};
use stall_exporter::exposition::desc::{Desc, Kind};
use stall_exporter::exposition::render::render;
use stall_exporter::exposition::stalls::text::{self, Terminal};
use stall_exporter::exposition::stalls::{html, json};
use stall_exporter::health::Health;
use stall_exporter::http::request::{self, Parsed};
use stall_exporter::runtime::wire::{self, Intake, Order, Report, WireError};
use stall_exporter::sample::Frame;
use stall_exporter::snapshot::Snapshot;
use stall_exporter::source::paths::RowId;
use stall_exporter::source::{block, cgroup, cold, pressure, task};
use stall_exporter::track::Tracks;
use stall_exporter::track::histogram::Histogram;

use crate::heap;
use crate::markup::outline;
use crate::page::Page;

/// Longest input.
pub const BYTES_MAX: usize = 64 * 1024;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// One parser.
pub struct Target {
    /// Its name, and that of the directory with its corpus.
    pub name: &'static str,
    /// The most bytes that it may hold at once beyond its input, for any input up to [`BYTES_MAX`].
    pub heap_max: usize,
    /// Takes any bytes; panics when something does not hold.
    pub run: fn(&[u8]),
}

/// All of them. Parsers that give slices of their input allocate nothing.
pub const TARGETS: &[Target] = &[
    Target { name: "task", heap_max: 0, run: task_files },
    Target { name: "cgroup", heap_max: 0, run: cgroup_files },
    Target { name: "disk", heap_max: 0, run: disk_files },
    Target { name: "pressure", heap_max: 0, run: pressure_files },
    // A reference for each line, twice while their vector grows.
    Target { name: "stack", heap_max: 512 * KIB, run: stack },
    // The crate copies the line before it looks at it.
    Target { name: "stat", heap_max: 512 * KIB, run: stat },
    Target { name: "kthread", heap_max: 16, run: kthread },
    Target { name: "row", heap_max: 0, run: row },
    // A row takes up to 24 times the room of its shortest encoding (an empty string), twice while its vector grows.
    Target { name: "frame", heap_max: 6 * MIB, run: frame },
    Target { name: "stream", heap_max: 6 * MIB, run: stream },
    Target { name: "message", heap_max: 64 * KIB, run: message },
    Target { name: "request", heap_max: 128 * KIB, run: head },
    Target { name: "config", heap_max: 48 * MIB, run: config },
    Target { name: "duration", heap_max: KIB, run: length },
    Target { name: "setting", heap_max: MIB, run: setting },
    Target { name: "cli", heap_max: 24 * MIB, run: command_line },
    Target { name: "label", heap_max: 2 * MIB, run: label },
    Target { name: "page", heap_max: 24 * MIB, run: page },
    // An empty stall is three bytes of JSON and hundreds in memory, on the page and in its outline.
    Target { name: "stalls", heap_max: 64 * MIB, run: stalls },
    Target { name: "answer", heap_max: 2 * MIB, run: answer },
];

impl Target {
    /// Runs it on one input. What allocates is checked afterwards, so that the report names the input.
    pub fn check(&self, bytes: &[u8]) {
        let bytes = &bytes[..bytes.len().min(BYTES_MAX)];
        let held = heap::peak(|| (self.run)(bytes));
        assert!(held <= self.heap_max, "{} held {held} bytes, more than {}", self.name, self.heap_max);
    }
}

/// No line break and no other control character: what is to be one line is one.
fn assert_one_line(text: &str) {
    let shown = text.get(..200).unwrap_or(text);
    assert!(!text.chars().any(char::is_control), "not one line: {shown:?}");
}

/// What is wrong with flags or configuration is told in one line, whatever was typed.
fn assert_told_in_one_line(fault: &str) {
    let line = cli::print::error_line(fault);
    assert!(line.len() <= 4096, "{} bytes", line.len());
    assert_one_line(line.strip_suffix('\n').expect("a whole line"));
}

fn task_files(text: &[u8]) {
    let _numbers =
        (task::schedstat(text), task::parent(text), task::sched_prio(text), task::loadavg_running(text));
    let _more = (task::sched_voluntary(text), task::sysctl(text));
    if let Some((name, work)) = task::stat_name(text) {
        assert!(name.len() + work.map_or(0, <[u8]>::len) < text.len() && work != Some(b""));
    }
    if let Some(status) = task::status(text) {
        assert!(status.name.len() < text.len() && !status.name.contains(&b'\n'));
    }
    if let Some(comm) = task::sched_comm(text) {
        assert!(text.starts_with(comm));
    }
    if let Some(symbol) = task::wchan(text) {
        assert!(symbol.is_ascii() && !symbol.is_empty() && symbol != "0");
        assert_one_line(symbol);
    }
}

fn cgroup_files(text: &[u8]) {
    let _numbers = (cgroup::cpu_stat(text), cgroup::usage(text), cgroup::throttled_local(text));
    let _more = (cgroup::cpuacct_usage(text), cgroup::cfs_limited(text), cgroup::procs(text).count());
    let _dying = cgroup::dying(text);
    assert!(cgroup::own_groups(text).all(|(controllers, path)| controllers.len() + path.len() < text.len()));
    let quotas =
        [cgroup::cpu_max(text), cgroup::cfs_quota(text, b"100000\n"), cgroup::cfs_quota(b"1\n", text)];
    assert!(quotas.into_iter().flatten().all(|cores| cores.is_finite() && cores >= 0.0), "{quotas:?}");
    if let Some(cgroup::Quota::Cores(cores)) = cgroup::max_quota(text) {
        assert_eq!(Some(cores), cgroup::cpu_max(text));
    }
}

/// Lines as they stand in diskstats, and the files of a device-mapper device.
fn disk_files(text: &[u8]) {
    for line in text.split(|byte| *byte == b'\n') {
        if let Some(disk) = block::disk(line) {
            assert!((1..=48).contains(&disk.name.len()) && disk.inflight <= u64::from(u32::MAX >> 1));
        }
    }
    if let Some(number) = block::dm_number(text) {
        let mut name = [0; 16];
        let mut rest = &mut name[..];
        write!(rest, "dm-{number}").expect("a short name");
        let left = rest.len();
        assert_eq!(&name[..16 - left], text, "its number names another device");
    }
    let _suspended = block::suspended(text);
}

fn pressure_files(text: &[u8]) {
    if let Some(read) = pressure::pressure(text) {
        assert!(read.waiting_us.is_some() || read.stalled_us.is_some());
    }
}

fn stack(text: &[u8]) {
    for frame in task::stack(text).into_iter().flatten() {
        assert!(!frame.is_empty() && !frame.contains(&b'\n'));
    }
}

fn stat(text: &[u8]) {
    let _stat = cold::stat(text);
}

fn kthread(comm: &[u8]) {
    if let Some(thread) = Kthread::named(comm) {
        assert!(comm.starts_with(thread.kind.name().as_bytes()));
        assert!(comm.ends_with(thread.cpu_label().as_bytes()) || thread.cpu.is_none());
    }
}

/// The number of a path's row, as it stands in memory that a probe shares with front.
fn row(bytes: &[u8]) {
    for pair in bytes.as_chunks::<2>().0 {
        let number = u16::from_le_bytes(*pair);
        if let Some(row) = RowId::from_number(number) {
            assert_eq!(row.number(), number);
            assert!(!row.row().pattern.is_empty());
        }
    }
}

/// One frame whose length is true, down to the page that it makes.
fn frame(body: &[u8]) {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes();
    through_a_pipe(&[&length, body].concat(), BYTES_MAX);
}

/// Any stream, in pieces of any size.
fn stream(bytes: &[u8]) {
    let Some((size, bytes)) = bytes.split_first() else { return };
    through_a_pipe(bytes, usize::from(*size) * 64 + 1);
}

fn through_a_pipe(bytes: &[u8], piece: usize) {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).expect("a pipe");
    let (mut intake, mut tracks) = (Intake::new(read), Tracks::new(64));
    // A pipe takes 64 KiB, the head of a frame comes on top.
    for piece in bytes.chunks(piece.clamp(bytes.len() / 256 + 1, 32 * KIB)) {
        assert_eq!(rustix::io::write(&write, piece).expect("room in the pipe"), piece.len());
        intake.fill().expect("bytes are there");
        loop {
            match intake.frame() {
                Ok(Some(frame)) => observe(frame, &mut tracks),
                Ok(None) => break,
                Err(error) => return assert_one_line(&error.to_string()),
            }
        }
    }
    drop(write);
    while intake.fill().is_ok() {}
    assert!(matches!(intake.fill(), Err(WireError::Closed)), "a stream has an end");
}

/// A frame that was understood is told again in the same bytes, and whatever it says makes a page.
fn observe(frame: Frame, tracks: &mut Tracks) {
    let (mut once, mut again) = (Vec::new(), Vec::new());
    wire::encode(&frame, &mut once).expect("what came in goes out");
    let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).expect("a pipe");
    // What is longer than a pipe is told by its pieces elsewhere.
    if once.len() <= BYTES_MAX {
        assert_eq!(rustix::io::write(&write, &once).expect("room in the pipe"), once.len());
        let mut intake = Intake::new(read);
        intake.fill().expect("bytes are there");
        let told = intake.frame().expect("our own bytes").expect("all of them");
        wire::encode(&told, &mut again).expect("a frame");
        assert_eq!(once, again, "a frame changes when it is told again");
    }
    tracks.observe(frame);
    let (config, health) = (Config::defaults(), Health::default());
    for now in [Mono::from_nanos(0), Mono::from_nanos(1 << 40), Mono::from_nanos(u64::MAX)] {
        let mut snapshot = Snapshot::default();
        let world = World { now, config: &config, tracks, health: &health };
        collector::ALL.iter().for_each(|slice| (slice.show)(&world, &mut snapshot));
        let mut text = Vec::new();
        render(&snapshot, &mut text);
        let text = String::from_utf8(text).expect("a page is UTF-8");
        Page::parse(&text).unwrap_or_else(|fault| panic!("the page is malformed: {fault}\n{text}"));
    }
}

fn message(bytes: &[u8]) {
    let (left, right) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).expect("a pair");
    let send = || {
        let sent = rustix::net::send(&left, bytes, SendFlags::DONTWAIT).expect("room in the socket");
        assert_eq!(sent, bytes.len());
    };
    send();
    if let Ok((order, fd)) = wire::receive::<Order>(right.as_fd()) {
        assert!(fd.is_none());
        wire::send(left.as_fd(), &order, None).expect("room in the socket");
        assert_eq!(wire::receive::<Order>(right.as_fd()).expect("our own").0, order);
    }
    send();
    if let Ok((report, _)) = wire::receive::<Report>(right.as_fd()) {
        wire::send(left.as_fd(), &report, None).expect("room in the socket");
        assert_eq!(wire::receive::<Report>(right.as_fd()).expect("our own").0, report);
    }
}

fn head(bytes: &[u8]) {
    let parsed = request::parse(bytes);
    if let Parsed::Complete(request, length) = &parsed {
        assert!(*length <= bytes.len() && !request.path.is_empty() && !request.path.contains(['?', '#']));
        assert!(request.scrape_timeout.is_none_or(|timeout| timeout > Duration::ZERO));
        assert_eq!(request::parse(&bytes[..*length]), parsed, "what follows a head changes it");
    }
    if let Parsed::Refused(_, why) = parsed {
        assert_one_line(why);
    }
}

fn config(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    checked(file::parse(Path::new("f.toml"), &text), &Flags::default());
}

/// Faults are one line each; what is accepted is printed in a form that is accepted again.
fn checked(document: file::Document, flags: &Flags) {
    match validate::check(document, flags) {
        Err(faults) => {
            assert!(!faults.is_empty());
            faults.iter().for_each(|fault| assert_told_in_one_line(&fault.to_string()));
        }
        Ok(mut config) => {
            for setting in SETTINGS {
                let shown = setting.show(&mut config);
                let slot = (setting.slot)(&mut config);
                // A list is typed item by item.
                if !slot.is_list() && !shown.is_empty() {
                    assert_eq!(slot.take(&Typed::Word(shown)), Ok(()), "{}", setting.flag);
                }
            }
        }
    }
}

fn length(bytes: &[u8]) {
    // A text that long is a mistake at any length; shorter ones find the arithmetic.
    let Ok(text) = std::str::from_utf8(&bytes[..bytes.len().min(100)]) else { return };
    match duration::parse(text) {
        Ok(read) => assert_eq!(duration::parse(&duration::show(read)), Ok(read)),
        Err(why) => assert_one_line(&why.to_string()),
    }
}

/// One setting's value, as it comes from the command line.
fn setting(bytes: &[u8]) {
    let Some((which, bytes)) = bytes.split_first() else { return };
    let setting = &SETTINGS[usize::from(*which) % SETTINGS.len()];
    let word = String::from_utf8_lossy(bytes).into_owned();
    let mut config = Config::defaults();
    match (setting.slot)(&mut config).take(&Typed::Word(word)) {
        Ok(()) => checked(file::Document::default(), &Flags::default()),
        Err(refusal) => assert!(!refusal.what.is_empty() && !refusal.todo.is_empty()),
    }
}

/// Words of a command line, a zero byte between two.
fn command_line(bytes: &[u8]) {
    // Nobody types more; the help of a faulty line alone takes a millisecond for each.
    let words = bytes.split(|byte| *byte == 0).take(32).map(|word| OsString::from_vec(word.to_vec()));
    match cli::parse([OsString::from("stall_exporter")].into_iter().chain(words)) {
        Ok(asked) => {
            // The file that it names is not opened: it may be any file of this machine.
            checked(file::Document::default(), &Flags { file: None, ..asked.flags });
        }
        Err(cli::Stop::Usage(line)) => assert_told_in_one_line(&line),
        Err(cli::Stop::Text(text)) => assert!(!text.is_empty()),
    }
}

fn label(bytes: &[u8]) {
    let Some((most, name)) = bytes.split_first() else { return };
    // Shorter than the hash at its end no label can be.
    let most = usize::from(*most).max(20);
    let text = bounded::label(name, most);
    assert!(text.len() <= most, "{} bytes", text.len());
    assert_one_line(&text);
    assert_eq!(bounded::label(text.as_bytes(), most), text, "a label is a label of itself");
    assert!(name.is_empty() || !text.is_empty());
    let as_file = OsString::from_vec(name.to_vec());
    assert_eq!(bounded::label(as_file.as_bytes(), most), text);
}

/// What somebody answers to `stall_exporter stalls`, as JSON and on the page and the terminals that it makes.
fn stalls(bytes: &[u8]) {
    let report = match json::decode(bytes) {
        Ok(report) => report,
        Err(why) => return assert_told_in_one_line(&why.to_string()),
    };
    if let Ok(text) = std::str::from_utf8(bytes) {
        let printed = json::printable(text);
        assert_harmless(&printed.replace('\t', " "));
        assert_eq!(json::decode(printed.as_bytes()), Ok(report.clone()), "printing changes it");
    }
    let told = json::encode(&report).expect("a report that was read");
    let told = String::from_utf8(told).expect("JSON is UTF-8");
    assert_one_line(told.strip_suffix('\n').expect("a whole line"));
    json::decode(told.as_bytes()).expect("our own");
    let page = String::from_utf8(html::page(&report)).expect("a page is UTF-8");
    assert_harmless(&page);
    assert!(page.ends_with("</html>\n"));
    outline(&page);
    for width in [0, 72, 300] {
        let plain = text::table(&report, Terminal { width, colour: false });
        assert_harmless(&plain);
        let mut coloured = text::table(&report, Terminal { width, colour: true });
        for code in ["\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[1;31m", "\x1b[1;32m", "\x1b[1;33m"] {
            coloured = coloured.replace(code, "");
        }
        assert!(coloured == plain, "colours and nothing else");
    }
}

/// Lines of text: nothing in them moves a cursor or turns the direction of writing.
fn assert_harmless(text: &str) {
    let harmful = |c: char| {
        (c.is_control() && c != '\n') || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}')
    };
    if let Some(at) = text.find(harmful) {
        let from = text.floor_char_boundary(at.saturating_sub(100));
        panic!("harmful after {:?}", &text[from..text.ceil_char_boundary(at + 1)]);
    }
}

/// What comes back from an address at which an exporter is looked for.
fn answer(bytes: &[u8]) {
    let whole = fetch::is_whole(bytes);
    match fetch::body(bytes) {
        Ok(body) => assert!(body.len() < bytes.len() && (!whole || fetch::is_whole(&[bytes, b"x"].concat()))),
        Err(why) => {
            assert_one_line(&why);
            assert!(!(whole && why.contains("cut short")), "{why}");
        }
    }
}

const BOUNDS: &[f64] = &[-1.0, 0.5, 2.5, 1e9];
static GAUGE: Desc = Desc::labelled("g", Kind::Gauge, &["raw", "cut"], 4096, "A gauge\nof \\ any value.");
static HISTOGRAM: Desc = Desc::labelled("h_seconds", Kind::Histogram(BOUNDS), &["cut"], 4096, "A histogram.");

/// Any label values and any numbers: lines of eight bytes of number and a name up to the next zero byte.
fn page(bytes: &[u8]) {
    let mut snapshot = Snapshot::default();
    let (mut names, mut set) = (BTreeSet::new(), Vec::new());
    for line in bytes.split(|byte| *byte == 0).take(1000) {
        let (number, name) = line.split_at(line.len().min(8));
        let mut eight = [0; 8];
        eight[..number.len()].copy_from_slice(number);
        let value = f64::from_le_bytes(eight);
        // A bare carriage return is legal and never ours: the strict reader refuses it.
        let raw = String::from_utf8_lossy(name).replace('\r', "\n");
        let cut = bounded::label(name, bounded::LABEL_MAX);
        if !names.insert(raw.clone()) {
            continue;
        }
        snapshot.set(&GAUGE, &[&raw, &cut], value);
        let mut histogram = Histogram::new(BOUNDS);
        [value, value / 2.0, 1.0].into_iter().for_each(|value| histogram.observe(value));
        snapshot.histogram(&HISTOGRAM, &[&raw], &histogram);
        set.push((raw, cut, value));
    }
    let mut text = Vec::new();
    render(&snapshot, &mut text);
    let text = String::from_utf8(text).expect("a page is UTF-8");
    let page = Page::parse(&text).unwrap_or_else(|fault| panic!("the page is malformed: {fault}\n{text}"));
    assert_eq!(page.samples("g").count(), set.len());
    for (sample, (raw, cut, value)) in page.samples("g").zip(&set) {
        assert_eq!((sample.label("raw"), sample.label("cut")), (Some(raw.as_str()), Some(cut.as_str())));
        assert!(
            sample.value == *value || (sample.value.is_nan() && value.is_nan()),
            "{} {value}",
            sample.value
        );
    }
}
