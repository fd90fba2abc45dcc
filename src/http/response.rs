//! Responses: what is said, turned into the chunks that go down the socket.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, IoSlice, Write};
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};
use tiny_http::{HTTPVersion, Header, StatusCode};

use super::gzip::Front;
use crate::runtime::board::Page;

/// The status codes that are ever sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// Here it is.
    Ok = 200,
    /// Not a request.
    BadRequest = 400,
    /// No such path.
    NotFound = 404,
    /// Neither GET nor HEAD.
    MethodNotAllowed = 405,
    /// The head was not complete at its deadline.
    RequestTimeout = 408,
    /// Requests have no body here.
    BodyRefused = 413,
    /// The head is longer than is read.
    HeadTooLarge = 431,
    /// Not now.
    Unavailable = 503,
    /// Neither HTTP/1.0 nor HTTP/1.1.
    VersionNotSupported = 505,
}

impl Code {
    /// All of them, ascending.
    pub const ALL: [Self; 9] = [
        Self::Ok,
        Self::BadRequest,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::RequestTimeout,
        Self::BodyRefused,
        Self::HeadTooLarge,
        Self::Unavailable,
        Self::VersionNotSupported,
    ];
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", *self as u16)
    }
}

/// A piece of a body. A page is never copied: all who send it hold the same bytes.
#[derive(Debug)]
pub enum Chunk {
    /// Text of our own.
    Text(Cow<'static, str>),
    /// Bytes made for this response.
    Bytes(Vec<u8>),
    /// Bytes made once for all who want them.
    Shared(Arc<Vec<u8>>),
    /// The text of a page.
    Page(Arc<Page>),
    /// A page, compressed.
    Zipped(Arc<Front>),
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Bytes(bytes) => bytes,
            Self::Shared(bytes) => bytes,
            Self::Page(page) => &page.text,
            Self::Zipped(front) => (**front).as_ref(),
        }
    }
}

/// An answer, before it is put into the words of the protocol.
#[derive(Debug)]
pub struct Answer {
    /// Status code.
    pub code: Code,
    headers: Vec<(&'static str, Cow<'static, str>)>,
    body: Vec<Chunk>,
}

impl Answer {
    /// An answer with this body.
    pub fn new(code: Code, content_type: &'static str, body: Vec<Chunk>) -> Self {
        Self { code, headers: vec![("Content-Type", Cow::Borrowed(content_type))], body }
    }

    /// One line for a person.
    pub fn line(code: Code, line: impl Into<Cow<'static, str>>) -> Self {
        let body = vec![Chunk::Text(line.into()), Chunk::Text(Cow::Borrowed("\n"))];
        Self::new(code, "text/plain; charset=utf-8", body)
    }

    /// The same with one more header.
    pub fn with(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The bytes to send.
    ///
    /// # Errors
    /// None in practice: those of writing the head to memory.
    pub fn into_output(self, form: Form) -> io::Result<Output> {
        let length = self.body.iter().map(|chunk| chunk.as_ref().len()).sum();
        let mut chunks = vec![Chunk::Bytes(head(self.code, &self.headers, length, form)?)];
        if form.body {
            chunks.extend(self.body);
        }
        Ok(Output { chunks, sent: 0 })
    }
}

/// What the request decides about the form of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Form {
    /// GET; HEAD has the same head and no body.
    pub body: bool,
    /// The connection is kept afterwards.
    pub keep_alive: bool,
    /// HTTP/1.0, where keeping the connection must be said.
    pub old: bool,
}

fn head(code: Code, headers: &[(&str, Cow<'static, str>)], length: usize, form: Form) -> io::Result<Vec<u8>> {
    let headers = [("Server", Cow::Borrowed("stall_exporter"))]
        .iter()
        .chain(headers)
        .filter_map(|(name, value)| Header::from_bytes(*name, value.as_bytes()).ok())
        .collect();
    let mut head = Vec::with_capacity(256);
    tiny_http::Response::new(StatusCode(code as u16), headers, io::empty(), Some(length), None)
        // From a threshold on tiny_http would send chunks, whose body is not ours to write.
        .with_chunked_threshold(usize::MAX)
        // Version 1.1 to everybody: a server answers with the highest it speaks.
        .raw_print(&mut head, HTTPVersion(1, 1), &[], true, None)?;
    let connection: &[u8] = match form {
        Form { keep_alive: false, .. } => b"Connection: close\r\n\r\n",
        Form { old: true, .. } => b"Connection: keep-alive\r\n\r\n",
        Form { .. } => return Ok(head),
    };
    // tiny_http does not let a response speak of its connection, so the line goes before the empty one.
    head.truncate(head.len().saturating_sub(2));
    head.write_all(connection)?;
    Ok(head)
}

/// How far a response got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// The kernel has everything.
    All,
    /// It took some and would take no more.
    Some,
    /// It took nothing.
    Nothing,
}

/// A response on its way.
#[derive(Debug)]
pub struct Output {
    chunks: Vec<Chunk>,
    sent: usize,
}

impl Output {
    /// Gives the kernel as much as it takes at once.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn send(&mut self, socket: BorrowedFd<'_>) -> io::Result<Sent> {
        let mut skip = self.sent;
        let mut rest = Vec::with_capacity(self.chunks.len());
        let mut left = 0_usize;
        for bytes in self.chunks.iter().map(AsRef::as_ref) {
            let unsent = bytes.get(skip..).unwrap_or_default();
            skip = skip.saturating_sub(bytes.len());
            left = left.saturating_add(unsent.len());
            rest.push(IoSlice::new(unsent));
        }
        // NOSIGNAL: a closed connection is an error here, never a SIGPIPE.
        match sendmsg(socket, &rest, &mut SendAncillaryBuffer::default(), SendFlags::NOSIGNAL) {
            Ok(taken) => {
                self.sent = self.sent.saturating_add(taken);
                Ok(if taken >= left { Sent::All } else { Sent::Some })
            }
            Err(errno) if errno == rustix::io::Errno::AGAIN || errno == rustix::io::Errno::INTR => {
                Ok(Sent::Nothing)
            }
            Err(errno) => Err(errno.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(answer: Answer, form: Form) -> String {
        let output = answer.into_output(form).unwrap();
        String::from_utf8(output.chunks.iter().flat_map(|chunk| chunk.as_ref().to_vec()).collect()).unwrap()
    }

    const KEPT: Form = Form { body: true, keep_alive: true, old: false };

    #[test]
    fn head_tells_the_length_that_get_would_have() {
        let get = printed(Answer::line(Code::Ok, "fine"), KEPT);
        let head = printed(Answer::line(Code::Ok, "fine"), Form { body: false, ..KEPT });
        assert!(get.starts_with("HTTP/1.1 200 OK\r\n"), "{get}");
        assert!(get.contains("\r\nContent-Length: 5\r\n") && get.ends_with("\r\n\r\nfine\n"), "{get}");
        assert!(head.contains("\r\nContent-Length: 5\r\n") && head.ends_with("\r\n\r\n"), "{head}");
        assert!(!get.contains("tiny-http"), "{get}");
    }

    #[test]
    fn a_large_body_has_a_length_and_no_chunks() {
        let answer = Answer::new(Code::Ok, "text/plain", vec![Chunk::Bytes(vec![b'x'; 100_000])]);
        let text = printed(answer, KEPT);
        assert!(text.contains("Content-Length: 100000\r\n") && !text.contains("chunked"));
    }

    #[test]
    fn the_connection_line_stands_inside_the_head() {
        let closed = printed(Answer::line(Code::NotFound, "no"), Form { keep_alive: false, ..KEPT });
        assert!(closed.contains("\r\nConnection: close\r\n\r\nno\n"), "{closed}");
        let old = printed(Answer::line(Code::Ok, "yes"), Form { old: true, ..KEPT });
        assert!(old.contains("\r\nConnection: keep-alive\r\n\r\nyes\n"), "{old}");
        assert!(!printed(Answer::line(Code::Ok, "yes"), KEPT).contains("Connection"));
    }

    #[test]
    fn every_code_has_its_reason() {
        for code in Code::ALL {
            let text = printed(Answer::line(code, "x"), KEPT);
            let status = text.lines().next().unwrap();
            assert!(
                status.starts_with(&format!("HTTP/1.1 {code} ")) && !status.contains("Unknown"),
                "{status}"
            );
        }
    }
}
