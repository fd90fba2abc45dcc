//! What every page says first: that the exporter itself can be stopped.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::harness::Case;
use crate::scene::{LATE, start};
use crate::support::cgroup::{Group, ROOT};
use crate::support::exporter::Exporter;
use crate::support::page::{Page, lint};
use crate::support::wait_for;

pub const CASES: &[Case] = &[
    Case::together("notices::a_quota_on_ourselves_is_told_everywhere", limited),
    Case::together("notices::without_one_nothing_is_said", unlimited),
];

const LIMITED: &str = "stall_exporter_quota_limited";
/// A turn of the lane, and what is late.
const TURN: Duration = Duration::from_millis(5000 + (LATE * 1000.0) as u64);

/// A group below another. Removed when dropped, once those in it have ended.
struct Below(PathBuf);

impl Drop for Below {
    fn drop(&mut self) {
        let removed = (0..500).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            fs::remove_dir(&self.0).is_ok()
        });
        assert!(removed || std::thread::panicking(), "{} is not empty", self.0.display());
    }
}

fn limited() {
    let above = Group::new("cpu");
    above.set("cpu.cfs_quota_us", "50000");
    let below = Below(Path::new(ROOT).join(above.name()).join("exporter"));
    fs::create_dir(&below.0).expect("a group");
    let mut command = Command::new("sh");
    command.args(["-c", "echo $$ >\"$0\" && exec \"$@\""]).arg(below.0.join("cgroup.procs"));
    command.arg(env!("CARGO_BIN_EXE_stall_exporter")).args(["--web.listen-address", "127.0.0.1:0"]);
    // Where the kernel cannot be asked safely.
    command.args(["--self.cgroup", &format!("{}/exporter", above.name().trim_start_matches("cpu/"))]);
    let exporter = Exporter::start_command(command);
    let page = || exporter.get("/metrics", &[]).text();
    wait_for(TURN, "the quota of the group above is known", || {
        exporter.get("/-/ready", &[]).status == 200 && exporter.scrape().value(LIMITED, &[]) == Some(1.0)
    });
    let text = page();
    let first = text.lines().next().expect("a page");
    for word in ["# stall_exporter: ", "a CPU quota of 0.5 cores", "remove CPUQuota="] {
        assert!(first.contains(word), "{word:?} in {first:?}");
    }
    assert_eq!(lint(&text), "", "promtool has something to say to the page");
    let notices = Page::parse(&text).expect("well formed").notices;
    assert_eq!(notices.len(), 1, "{notices:?}");
    let landing = || exporter.get("/", &[]).text();
    assert!(landing().contains(&format!("<p role=\"alert\">{}</p>", notices[0])), "{}", landing());
    above.set("cpu.cfs_quota_us", "-1");
    wait_for(TURN, "what is no longer so is not said", || {
        Page::parse(&page()).is_ok_and(|page| page.notices.is_empty())
    });
    assert!(!landing().contains("role=\"alert\""));
    let warned: Vec<_> = exporter.log().into_iter().filter(|line| line.contains("CPU quota")).collect();
    assert_eq!(warned.len(), 1, "once: {warned:?}");
    assert!(warned[0].contains("level=warn"), "{warned:?}");
    println!("observed: {first}");
    drop(exporter);
    drop(below);
}

fn unlimited() {
    let exporter = start(&[]);
    wait_for(TURN, "our own groups are known", || exporter.scrape().value(LIMITED, &[]) == Some(0.0));
    let text = exporter.get("/metrics", &[]).text();
    assert!(text.starts_with("# HELP "), "{}", text.lines().next().unwrap_or_default());
    assert!(!exporter.get("/", &[]).text().contains("role=\"alert\""));
    assert!(!exporter.log().iter().any(|line| line.contains("CPU quota")));
}
