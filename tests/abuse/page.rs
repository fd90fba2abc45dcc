//! The page of a busy exporter, as others read it: Prometheus's own linter, a reader stricter than Prometheus, and our
//! own table of metrics.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use crate::support::exporter::Exporter;
use crate::support::fault::Fault;
use crate::support::page::{Family, Page, Sample, lint};
use crate::support::proc_tree::ProcTree;
use crate::support::{wait_for, wait_until};

const SOON: Duration = Duration::from_secs(30);

/// A row of `stall_exporter metrics`.
#[derive(Debug)]
struct Known {
    kind: String,
    labels: Vec<String>,
    most: usize,
}

fn known() -> BTreeMap<String, Known> {
    let output = Exporter::run(&["metrics"]);
    assert!(output.status.success(), "{output:?}");
    let table = String::from_utf8(output.stdout).expect("UTF-8");
    let mut rows = table.lines();
    assert_eq!(rows.next(), Some("| metric | type | labels | most series | what it says |"));
    rows.next();
    let known: BTreeMap<_, _> = rows
        .map(|row| {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            let labels = cells[3].split(", ").filter(|label| !label.is_empty()).map(str::to_owned).collect();
            let most = cells[4].parse().unwrap_or_else(|_| panic!("{row}"));
            (cells[1].trim_matches('`').to_owned(), Known { kind: cells[2].to_owned(), labels, most })
        })
        .collect();
    assert!(known.len() > 30, "{known:?}");
    known
}

/// The series of a family: its label sets, without what a histogram makes of each.
fn series(family: &Family) -> usize {
    let sets = family.samples.iter().map(|sample| {
        let labels = sample.labels.iter().filter(|(name, _)| name != "le" && name != "quantile");
        labels.map(|(name, value)| format!("{name}={value:?}")).collect::<Vec<_>>()
    });
    sets.collect::<HashSet<_>>().len()
}

/// The first thing about a page that the table does not promise.
fn broken_promise(known: &BTreeMap<String, Known>, page: &Page) -> Option<String> {
    page.families.iter().find_map(|family| {
        let name = &family.name;
        let Some(known) = known.get(name) else { return Some(format!("{name} is not in the table")) };
        let labels = |sample: &Sample| {
            let labels = sample.labels.iter().map(|(label, _)| label.as_str()).filter(|label| *label != "le");
            labels.map(str::to_owned).collect::<Vec<_>>()
        };
        if family.kind != known.kind {
            return Some(format!("{name} is a {}, promised is a {}", family.kind, known.kind));
        }
        if series(family) > known.most {
            return Some(format!("{name}: {} series, {} promised", series(family), known.most));
        }
        let other = family.samples.iter().find(|sample| labels(sample) != known.labels);
        other.map(|sample| format!("{sample:?}, promised are the labels {:?}", known.labels))
    })
}

#[test]
fn a_busy_page_pleases_its_readers() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let config = scratch.path().join("config.toml");
    let text = "[[service]]\nname = \"forker\"\ncomm = \"vfork_parent\"\n\
                [[service]]\nname = \"nobody\"\ncgroup = \"no/such/group\"\n";
    std::fs::write(&config, text).expect("scratch");
    // Waits that have ended and waits that last; of each kind some in a function known for harmless waits, where
    // they really are, and some in one that is not.
    let ended = Fault::start("vfork_parent", &["60", "4"]);
    let lasting = Fault::start("vfork_parent", &["60", "4"]);
    let tree = ProcTree::new();
    for (number, tid) in ended.tids().into_iter().chain(lasting.tids()).enumerate() {
        tree.mirror(tid);
        if number % 2 == 0 {
            tree.text(&format!("{tid}/wchan"), "rwsem_down_write_slowpath");
        }
    }
    let args = ["--config.file", config.to_str().expect("UTF-8"), "--path.procfs"];
    let args = [&args[..], &[tree.path().to_str().expect("UTF-8")]].concat();
    let args = [&args[..], &["--tasks.interval", "500ms", "--blocked.threshold", "500ms"]].concat();
    let exporter = Exporter::start(&args);
    let (hangs, harmless) = ("stall_blocked_tasks", "stall_known_wait_tasks");
    wait_for(SOON, "all waits are seen", || {
        let page = exporter.scrape();
        page.sum(hangs, &[]) >= 4.0 && page.sum(harmless, &[("kind", "vfork")]) >= 4.0
    });
    ended.stop();
    let page = wait_until(SOON, "the page shows all of it", || {
        let page = exporter.get("/metrics", &[]).text();
        let strict = Page::parse(&page).unwrap_or_else(|fault| panic!("{fault}:\n{page}"));
        let shown = strict.sum(hangs, &[]) == 2.0
            && strict.sum("stall_blocked_duration_seconds_count", &[]) >= 2.0
            && strict.sum("stall_service_blocked_seconds", &[("service", "forker")]) > 0.0;
        shown.then_some(page)
    });
    drop(lasting);

    let known = known();
    let strict = Page::parse(&page).expect("a strict page");
    assert_eq!(broken_promise(&known, &strict), None);
    let there: HashSet<&str> = strict.names().into_iter().collect();
    assert!(there.len() > 30 && there.contains("process_start_time_seconds"), "{there:?}");

    assert_eq!(lint(&page), "", "promtool has something to say to the page");
    // The judges can refuse.
    let bad = page.replacen("# TYPE stall_blocked_tasks gauge", "# TYPE stall_blocked_tasks counter", 1);
    assert_ne!(bad, page);
    assert!(lint(&bad).contains("stall_blocked_tasks"), "{}", lint(&bad));
    let refused = broken_promise(&known, &Page::parse(&bad).expect("strict"));
    assert_eq!(refused.as_deref(), Some("stall_blocked_tasks is a counter, promised is a gauge"));
}
