//! Text for people, on standard output and standard error. For what ends, not for `serve` while it serves: standard
//! output is written at the pace of its reader.

use std::io::{self, ErrorKind, Write};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Writes text to standard output. A reader that has gone (`stall_exporter sources | head -1`) is a quiet end.
///
/// # Errors
/// The error of the write, unless the reader has gone.
pub fn out(text: &[u8]) -> io::Result<()> {
    part(text).map(|_reader_is_there| ())
}

/// The same, for who has more to say: false when the reader has gone.
///
/// # Errors
/// The error of the write, unless the reader has gone.
pub fn part(text: &[u8]) -> io::Result<bool> {
    let mut stdout = io::stdout().lock();
    is_there(stdout.write_all(text).and_then(|()| stdout.flush()))
}

/// Writes one error line to standard error; whatever is in `message` stays on that line. A full pipe that nobody
/// reads costs a moment and the line: the process is about to end, and must.
pub fn error(message: &str) {
    let stderr = io::stderr();
    let ready = poll(&mut [PollFd::new(&stderr, PollFlags::OUT)], Some(&ERROR_WAIT));
    if ready.is_ok_and(|count| count > 0) {
        // Whom to tell that this failed?
        let _nobody_reads = stderr.lock().write_all(error_line(message).as_bytes());
    }
}

/// How long an error line waits for room.
const ERROR_WAIT: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
/// A pipe that is ready takes this much without waiting (PIPE_BUF).
const ERROR_BYTES_MAX: usize = 4096;

/// The line that [`error`] writes: control characters escaped, at most 4096 bytes, a newline at its end.
pub fn error_line(message: &str) -> String {
    let mut line = String::from("stall_exporter: ");
    for c in message.chars() {
        // An escape is ten bytes at most; the newline is one more.
        if line.len() + 11 > ERROR_BYTES_MAX {
            break;
        }
        if c.is_control() {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    line.push('\n');
    line
}

fn is_there(written: io::Result<()>) -> io::Result<bool> {
    match written {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        other => other.map(|()| true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line_whatever_it_quotes() {
        assert_eq!(error_line("--x\ny\u{1b}[31m"), "stall_exporter: --x\\ny\\u{1b}[31m\n");
        let long = error_line(&"\u{1b}".repeat(5000));
        assert!(long.len() <= ERROR_BYTES_MAX && long.ends_with('\n'));
    }

    #[test]
    fn a_reader_that_has_gone_is_no_error() {
        assert!(!is_there(Err(ErrorKind::BrokenPipe.into())).unwrap());
        assert!(is_there(Ok(())).unwrap());
        assert!(is_there(Err(ErrorKind::StorageFull.into())).is_err());
    }
}
