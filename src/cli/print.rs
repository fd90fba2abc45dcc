//! Text for people, on standard output and standard error. For commands that end, not for `serve`: these calls
//! wait for whoever reads the other end.

use std::io::{self, ErrorKind, Write};

/// Writes text to standard output. A reader that has gone (`stall_exporter sources | head -1`) is a quiet end.
///
/// # Errors
/// The error of the write, unless the reader has gone.
pub fn out(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    quiet_end(written)
}

/// Writes one error line to standard error; whatever is in `message` stays on that line. When this fails there is
/// nobody left to tell.
pub fn error(message: &str) {
    let _nobody_reads = io::stderr().lock().write_all(error_line(message).as_bytes());
}

fn error_line(message: &str) -> String {
    let mut line = String::from("stall_exporter: ");
    for c in message.chars() {
        if c.is_control() {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    line.push('\n');
    line
}

fn quiet_end(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line_whatever_it_quotes() {
        assert_eq!(error_line("--x\ny\u{1b}[31m"), "stall_exporter: --x\\ny\\u{1b}[31m\n");
    }

    #[test]
    fn a_reader_that_has_gone_is_no_error() {
        assert!(quiet_end(Err(ErrorKind::BrokenPipe.into())).is_ok());
        assert!(quiet_end(Err(ErrorKind::StorageFull.into())).is_err());
    }
}
