//! The watched threads: PID 1, threads in D, and threads in R that did not move. Their files stay open, so a look is
//! two preads, answers ESRCH after exit, and can never show a reused id.

use std::collections::{HashMap, HashSet};

use crate::base::ids::ByTid;
use crate::base::units::{Pid, State, Tid};
use crate::lane::tasks::inspect::{Files, Inspector, KeptFiles, Known, Outcome, Thread};
use crate::lane::tasks::marks::Marks;
use crate::sample::{Look, Row};
use crate::source::Reader;
use crate::source::place::{Place, ThreadFile};

/// Most threads that are looked at between two walks. Two descriptors each.
pub const WATCHED_MAX: usize = 64;

#[derive(Debug)]
struct Watched {
    pid: Pid,
    services: u64,
    files: KeptFiles,
    /// Front was told that it is in D or R, so it must be told when it no longer is.
    told: bool,
}

/// The set.
#[derive(Debug, Default)]
pub struct Watch {
    threads: HashMap<Tid, Watched>,
}

impl Watch {
    /// Chooses after a walk: PID 1, then D, then R that stood still. Returns how many D rows found no place.
    pub fn choose(
        &mut self,
        rows: &[Row],
        unmoved: &HashSet<Tid>,
        marks: Marks,
        reader: &mut Reader<'_>,
    ) -> u64 {
        let in_d = || rows.iter().filter(|row| row.blocked() && row.tid != 1);
        let starved = rows.iter().filter(|row| row.state == State::Running && unmoved.contains(&row.tid));
        let init = rows.iter().find(|row| row.tid == 1);
        let mut before = std::mem::take(&mut self.threads);
        let (told, services) = init.map_or((false, super::services::INIT), |row| (true, row.services));
        self.keep(1, 1, services, told, before.remove(&1), marks, reader);
        for row in in_d().chain(starved).take(WATCHED_MAX.saturating_sub(1)) {
            self.keep(row.pid, row.tid, row.services, true, before.remove(&row.tid), marks, reader);
        }
        u64::try_from(in_d().count().saturating_sub(WATCHED_MAX.saturating_sub(1))).unwrap_or(u64::MAX)
    }

    #[expect(clippy::too_many_arguments, reason = "one caller, and each is a field of what is kept")]
    fn keep(
        &mut self,
        pid: Pid,
        tid: Tid,
        services: u64,
        told: bool,
        before: Option<Watched>,
        marks: Marks,
        reader: &mut Reader<'_>,
    ) {
        let files = before.map(|watched| watched.files).or_else(|| open(pid, tid, marks, reader));
        if let Some(files) = files {
            self.threads.insert(tid, Watched { pid, services, files, told });
        }
    }

    /// Looks at all of them. Rows are given of those that matter, and once of those that no longer do.
    pub fn look(
        &mut self,
        inspector: &Inspector,
        known: &mut ByTid<Known>,
        members_known: bool,
        reader: &mut Reader<'_>,
    ) -> Look {
        let mut look = Look::default();
        self.threads.retain(|tid, watched| {
            let thread =
                Thread { pid: watched.pid, tid: *tid, lone_root: false, files: Files::Kept(&watched.files) };
            let before = known.get(tid);
            let was_seen = before.map_or(0, |known| known.seen);
            match inspector.look(&thread, before, true, reader) {
                Ok(Outcome::Unmoved) => true,
                Ok(Outcome::Seen(mut seen)) => {
                    let matters = seen.known.matters();
                    if matters || watched.told {
                        look.rows.push(seen.row(*tid, watched.services, members_known));
                    }
                    watched.told = matters;
                    seen.known.tracked |= matters;
                    seen.known.seen = was_seen;
                    known.insert(*tid, seen.known);
                    true
                }
                Err(error) => {
                    if error.vanished() {
                        known.remove(tid);
                        look.ended.extend(watched.told.then_some(*tid));
                    }
                    !error.vanished()
                }
            }
        });
        look
    }
}

fn open(pid: Pid, tid: Tid, marks: Marks, reader: &mut Reader<'_>) -> Option<KeptFiles> {
    let mut keep = |file| reader.keep(&Place::Thread { pid, tid, file }).ok();
    Some(KeptFiles { mark: keep(marks.file())?, status: keep(ThreadFile::Status) })
}
