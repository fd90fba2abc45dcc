//! Log output that never makes its caller wait: env_logger filters and formats, a bounded queue takes the line, one
//! thread writes it to standard error.
//!
//! A full pipe behind standard error (a stuck journal, a stopped terminal) stops that thread and nothing else:
//! further lines queue up to the bound, then are dropped and counted, and the next line that fits is preceded by
//! one that tells how many are missing. The queue's lock is held to move a pointer, never across a write.
//!
//! Only the front process logs, and [`init`] starts a thread, so it is called after the fork. In a process that
//! never called it, the log macros do nothing.
#![expect(
    clippy::disallowed_methods,
    reason = "the writer is born here: it may be stuck for good, as no worker may"
)]

mod line;

use std::collections::VecDeque;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::panic::PanicHookInfo;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};

use crate::base::clock;
use crate::config::{self, LogFormat};

/// Longest wait of [`Handle::flush`].
pub const FLUSH_MAX: Duration = Duration::from_millis(200);

const STACK_BYTES: usize = 256 * 1024;

/// The log of this process, seen from outside: how it fares, and its orderly end.
#[derive(Debug, Clone)]
pub struct Handle {
    queue: Arc<Queue>,
}

impl Handle {
    /// Lines lost so far: the queue was full, or the write failed.
    pub fn dropped(&self) -> u64 {
        self.queue.lock().dropped
    }

    /// Waits until every line has been written, at most `at_most` and never more than [`FLUSH_MAX`]. Says whether
    /// it was reached. For the end of the process.
    pub fn flush(&self, at_most: Duration) -> bool {
        let waited =
            self.queue
                .drained
                .wait_timeout_while(self.queue.lock(), at_most.min(FLUSH_MAX), |state| !state.idle());
        let (state, _timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        state.idle()
    }
}

/// Starts logging to standard error, panics included: the standard hook would write there itself and wait.
///
/// # Errors
/// The thread cannot be created, or a logger is in place already.
pub fn init(config: &config::Log) -> io::Result<Handle> {
    let (logger, handle) = build(config, Stderr)?;
    log::set_boxed_logger(Box::new(logger)).map_err(io::Error::other)?;
    log::set_max_level(config.level);
    std::panic::set_hook(Box::new(log_panic));
    Ok(handle)
}

fn build(
    config: &config::Log,
    sink: impl Write + Send + 'static,
) -> io::Result<(env_logger::Logger, Handle)> {
    let queue = Arc::new(Queue::new(config.queue));
    let (format, writers) = (config.format, Arc::clone(&queue));
    std::thread::Builder::new()
        .name("log".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(move || write_lines(&writers, sink, format))?;
    let logger = env_logger::Builder::new()
        .filter_level(config.level)
        .format(move |out, record| {
            let line = line::render(format, clock::wall(), record.level(), record.target(), record.args());
            out.write_all(line.as_bytes())
        })
        .target(env_logger::Target::Pipe(Box::new(Inlet(Arc::clone(&queue)))))
        .build();
    Ok((logger, Handle { queue }))
}

fn log_panic(panic: &PanicHookInfo<'_>) {
    let message = panic.payload_as_str().unwrap_or("no message");
    match panic.location() {
        Some(place) => log::error!("panic at {place}: {message}"),
        None => log::error!("panic: {message}"),
    }
}

/// Lines on their way to the writer.
#[derive(Debug)]
struct Queue {
    state: Mutex<State>,
    filled: Condvar,
    drained: Condvar,
    lines_max: usize,
}

#[derive(Debug)]
struct State {
    lines: VecDeque<Line>,
    /// The writer has a line in its hands.
    writing: bool,
    /// Lost since the last line that was taken in.
    missed: u64,
    /// Lost since the start.
    dropped: u64,
}

#[derive(Debug, PartialEq, Eq)]
struct Line {
    bytes: Vec<u8>,
    missed_before: u64,
}

impl State {
    fn idle(&self) -> bool {
        self.lines.is_empty() && !self.writing
    }

    fn lose_one(&mut self) {
        self.missed = self.missed.saturating_add(1);
        self.dropped = self.dropped.saturating_add(1);
    }
}

impl Queue {
    fn new(lines_max: usize) -> Self {
        // All the room is made now: a push must not wait for the allocator with the lock held.
        let lines = VecDeque::with_capacity(lines_max);
        Self {
            state: Mutex::new(State { lines, writing: false, missed: 0, dropped: 0 }),
            filled: Condvar::new(),
            drained: Condvar::new(),
            lines_max,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a line in, or counts it as lost.
    fn push(&self, bytes: Vec<u8>) {
        let mut state = self.lock();
        if state.lines.len() >= self.lines_max {
            state.lose_one();
            return;
        }
        let missed_before = std::mem::take(&mut state.missed);
        state.lines.push_back(Line { bytes, missed_before });
        drop(state);
        self.filled.notify_one();
    }

    /// The writer's side: the oldest line, as soon as there is one. [`Queue::written`] must follow.
    fn take(&self) -> Line {
        let mut state = self.lock();
        loop {
            if let Some(line) = state.lines.pop_front() {
                state.writing = true;
                return line;
            }
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn written(&self, well: bool) {
        let mut state = self.lock();
        state.writing = false;
        if !well {
            state.lose_one();
        }
        if state.idle() {
            drop(state);
            self.drained.notify_all();
        }
    }
}

/// The end of the queue that env_logger writes to, one record in one call.
struct Inlet(Arc<Queue>);

impl Write for Inlet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.push(bytes.to_vec());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_lines(queue: &Queue, mut sink: impl Write, format: LogFormat) {
    loop {
        let line = queue.take();
        if line.missed_before > 0 {
            let told = format_args!("{} lines lost: standard error did not take them", line.missed_before);
            let notice = line::render(format, clock::wall(), log::Level::Warn, module_path!(), &told);
            // When this fails the next write does too, and that one is counted.
            let _failed = sink.write_all(notice.as_bytes());
        }
        queue.written(sink.write_all(&line.bytes).is_ok());
    }
}

/// Standard error without std's lock around it, which a stuck write would keep from everybody else.
struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let stderr = io::stderr();
        match rustix::io::write(stderr.as_fd(), bytes) {
            // Whoever shares the pipe may have made it non-blocking; this thread is the one that may wait.
            Err(rustix::io::Errno::AGAIN) => {
                poll(&mut [PollFd::new(&stderr, PollFlags::OUT)], None)?;
                Err(io::ErrorKind::Interrupted.into())
            }
            other => Ok(other?),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::sync::mpsc;

    use log::{Level, LevelFilter, Log, Record};

    use super::*;

    fn config(queue: usize) -> config::Log {
        config::Log { level: LevelFilter::Info, format: LogFormat::Logfmt, queue }
    }

    fn record(logger: &env_logger::Logger, level: Level, message: &str) {
        logger.log(&Record::builder().level(level).target("t").args(format_args!("{message}")).build());
    }

    #[test]
    fn a_full_queue_drops_counts_and_tells() {
        let queue = Queue::new(3);
        (0..5_u8).for_each(|byte| queue.push(vec![byte]));
        assert_eq!(queue.lock().dropped, 2, "the bound is reached");
        assert_eq!(queue.take(), Line { bytes: vec![0], missed_before: 0 });
        queue.push(vec![5]);
        queue.push(vec![6]);
        let taken: Vec<Line> = (0..3).map(|_| queue.take()).collect();
        let told: Vec<(u8, u64)> = taken.iter().map(|line| (line.bytes[0], line.missed_before)).collect();
        assert_eq!(told, [(1, 0), (2, 0), (5, 2)], "the first line that fits tells the loss, once");
        assert_eq!(queue.lock().dropped, 3);
    }

    #[test]
    fn a_failed_write_is_counted_as_lost() {
        struct Broken;
        impl Write for Broken {
            fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (logger, handle) = build(&config(16), Broken).unwrap();
        record(&logger, Level::Info, "x");
        while !handle.flush(FLUSH_MAX) {}
        assert_eq!(handle.dropped(), 1);
    }

    /// How: a pipe that nobody reads blocks the writer for real; then a reader comes and everything is accounted
    /// for: each line was either written or is in a number that was told.
    #[test]
    fn a_full_pipe_stops_the_writer_and_nobody_else() {
        const SENT: usize = 200;
        let (reader, writer) = io::pipe().unwrap();
        let (logger, handle) = build(&config(16), writer).unwrap();
        let start = clock::now();
        (0..SENT).for_each(|_| record(&logger, Level::Info, &"x".repeat(3_000)));
        assert!(!handle.flush(Duration::from_secs(60)), "the writer is stuck");
        assert!(clock::now().since(start) < Duration::from_secs(5), "and the caller was not");
        assert!(handle.dropped() > 0);

        let (lines, received) = mpsc::channel();
        std::thread::spawn(move || {
            BufReader::new(reader).lines().for_each(|line| lines.send(line.unwrap()).unwrap())
        });
        while !handle.flush(FLUSH_MAX) {}
        record(&logger, Level::Info, "last");
        let received: Vec<String> =
            received.iter().take_while(|line| !line.contains("msg=\"last\"")).collect();
        let told: u64 = received
            .iter()
            .filter_map(|line| line.split_once("msg=\"")?.1.split_once(" lines lost")?.0.parse::<u64>().ok())
            .sum();
        let whole = received.iter().filter(|line| line.contains("xxx")).count();
        assert_eq!(told, handle.dropped());
        assert_eq!(whole as u64 + told, SENT as u64);
    }

    #[test]
    fn the_level_decides() {
        let (reader, writer) = io::pipe().unwrap();
        let (logger, _handle) = build(&config(16), writer).unwrap();
        record(&logger, Level::Debug, "too fine");
        record(&logger, Level::Info, "fine");
        let mut line = String::new();
        BufReader::new(reader).read_line(&mut line).unwrap();
        assert!(line.ends_with(" level=info target=t msg=\"fine\"\n"), "{line}");
    }
}
