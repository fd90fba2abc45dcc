//! A client for our own port: one GET, bounded in time and bytes, on addresses that need no resolver.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use crate::base::clock::{self, Mono};
use crate::source::task::number;

/// For a connection, on the loopback as a rule.
const CONNECT: Duration = Duration::from_secs(1);
/// For the answer, from the request to its last byte. The exporter answers a scrape within its deadline.
const ANSWER: Duration = Duration::from_secs(2);
/// Longest answer, its head included.
const BYTES_MAX: usize = 8 * 1024 * 1024;
/// Longest head of an answer.
const HEAD_MAX: usize = 16 * 1024;
/// Bytes taken at once.
const READ: usize = 64 * 1024;

/// Where an exporter is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// What the user knows it by.
    pub url: String,
    /// Tried in this order.
    addrs: Vec<SocketAddr>,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum Error {
    /// Nobody listens there.
    Refused,
    /// In words: what went wrong.
    Failed(String),
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => out.write_str("nobody listens there; start the exporter"),
            Self::Failed(why) => out.write_str(why),
        }
    }
}

impl std::error::Error for Error {}

impl Target {
    /// Where an exporter answers that listens on these addresses; `None` when there are none.
    pub fn listening(on: &[SocketAddr]) -> Option<Self> {
        let addrs: Vec<SocketAddr> = on.iter().flat_map(reachable).collect();
        addrs.first().map(|first| Self { url: format!("http://{first}/"), addrs: addrs.clone() })
    }

    /// Reads a URL: `http://`, a literal address or `localhost`, and a port.
    ///
    /// # Errors
    /// What is wrong and what to give instead.
    pub fn parse(url: &str) -> Result<Self, String> {
        let todo = "give http://ADDRESS:PORT/";
        let rest = match url.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
            Some(_) => return Err(format!("only http is spoken here; {todo}")),
            None => url,
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let addrs = if let Ok(addr) = authority.parse() {
            vec![addr]
        } else if let Some(Ok(port)) = authority.strip_prefix("localhost:").map(str::parse) {
            vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port)), SocketAddr::from((Ipv6Addr::LOCALHOST, port))]
        } else {
            // A resolver may wait for a server that hangs with everything else.
            return Err(format!("is no literal address and port; names are not looked up; {todo}"));
        };
        Ok(Self { url: format!("http://{authority}/"), addrs })
    }

    /// The body of `GET path`.
    ///
    /// # Errors
    /// There is no answer, or it is not 200.
    pub fn get(&self, path: &str) -> Result<Vec<u8>, Error> {
        let mut last = Error::Refused;
        for addr in &self.addrs {
            match TcpStream::connect_timeout(addr, CONNECT) {
                Ok(stream) => return ask(stream, addr, path).map_err(Error::Failed),
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
                Err(error) => last = Error::Failed(format!("{error}; see whether the exporter runs")),
            }
        }
        Err(last)
    }
}

/// Where a listener is reached from this host.
fn reachable(on: &SocketAddr) -> Vec<SocketAddr> {
    let at = |ip: IpAddr| SocketAddr::new(ip, on.port());
    match on.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => vec![at(Ipv4Addr::LOCALHOST.into())],
        // It takes both families, unless the kernel was told otherwise.
        IpAddr::V6(ip) if ip.is_unspecified() => {
            vec![at(Ipv4Addr::LOCALHOST.into()), at(Ipv6Addr::LOCALHOST.into())]
        }
        _ => vec![*on],
    }
}

fn ask(mut stream: TcpStream, addr: &SocketAddr, path: &str) -> Result<Vec<u8>, String> {
    let deadline = clock::now().plus(ANSWER);
    let answer = request(&mut stream, addr, path, deadline).map_err(|error| match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            format!("no whole answer within {} s; the exporter hangs or is no exporter", ANSWER.as_secs())
        }
        _ => format!("the connection broke: {error}; try again"),
    })?;
    body(&answer)
}

/// Everything until the end of the answer.
fn request(stream: &mut TcpStream, addr: &SocketAddr, path: &str, deadline: Mono) -> io::Result<Vec<u8>> {
    stream.set_write_timeout(Some(ANSWER))?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {addr}\r\nAccept: application/json\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    let mut piece = vec![0; READ];
    while answer.len() <= BYTES_MAX && !is_whole(&answer) {
        let left = deadline.since(clock::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        // The deadline is of the whole answer: whoever sends a byte a second is as late as whoever sends none.
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(taken) => answer.extend_from_slice(piece.get(..taken).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(answer)
}

/// Head and body of an answer, as soon as there is a whole head.
fn split(answer: &[u8]) -> Option<(&[u8], &[u8])> {
    let start = answer.get(..answer.len().min(HEAD_MAX))?;
    let end = start.windows(4).position(|four| four == b"\r\n\r\n")?;
    Some((answer.get(..end)?, answer.get(end.saturating_add(4)..)?))
}

fn content_length(head: &[u8]) -> Option<usize> {
    let head = std::str::from_utf8(head).ok()?;
    let mut lines = head.lines().filter_map(|line| line.split_once(':'));
    lines.find(|(name, _)| name.eq_ignore_ascii_case("content-length"))?.1.trim().parse().ok()
}

/// Nothing more need be read: as much has come as the answer says it has.
pub fn is_whole(answer: &[u8]) -> bool {
    split(answer).is_some_and(|(head, body)| content_length(head).is_some_and(|length| body.len() >= length))
}

/// The body of an answer that has ended.
///
/// # Errors
/// One line: it is no HTTP, not 200, cut or too long.
pub fn body(answer: &[u8]) -> Result<Vec<u8>, String> {
    let todo = "give the address of a stall_exporter";
    if answer.len() > BYTES_MAX {
        return Err(format!("the answer is longer than {} MiB; {todo}", BYTES_MAX >> 20));
    }
    let (head, body) = split(answer).ok_or_else(|| format!("the answer is no HTTP; {todo}"))?;
    let status = head.get(9..12).filter(|_| head.starts_with(b"HTTP/1."));
    match status.and_then(number).ok_or_else(|| format!("the answer is no HTTP; {todo}"))? {
        200 => {}
        status => {
            let text = String::from_utf8_lossy(body);
            let line = text.lines().next().unwrap_or_default();
            return Err(format!("the answer is {status}, {line:?}; try again, or {todo}"));
        }
    }
    match content_length(head) {
        Some(length) => {
            body.get(..length).map(<[u8]>::to_vec).ok_or_else(|| "the answer is cut short; try again".into())
        }
        None => Ok(body.to_vec()),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "tests play the server themselves")]

    use super::*;
    use std::net::TcpListener;
    use std::thread;

    /// Asks a server that sends these pieces, and then closes or says nothing more.
    fn ask(pieces: Vec<Vec<u8>>, close: bool) -> Result<String, String> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let length = stream.read(&mut request).unwrap();
            assert!(request[..length].starts_with(b"GET /stalls.json HTTP/1.1\r\nHost: 127.0.0.1:"));
            for piece in pieces {
                // It hangs up when it has heard enough.
                let _hung_up = stream.write_all(&piece);
            }
            if !close {
                let _until_it_hangs_up = stream.read(&mut request);
            }
        });
        let got = Target::parse(&addr.to_string()).unwrap().get("/stalls.json");
        server.join().unwrap();
        got.map(|body| String::from_utf8(body).unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn an_answer_ends_where_it_says() {
        let head = b"HTTP/1.1 200 OK\r\ncontent-LENGTH: 2\r\n\r\n".to_vec();
        assert_eq!(ask(vec![head.clone(), b"{}rest".to_vec()], false).unwrap(), "{}");
        assert_eq!(ask(vec![b"HTTP/1.0 200 OK\r\n\r\n{".to_vec(), b"}".to_vec()], true).unwrap(), "{}");
        assert!(ask(vec![head, b"{".to_vec()], true).unwrap_err().contains("cut short"));
    }

    #[test]
    fn what_is_no_answer_is_one_line() {
        for (pieces, close, words) in [
            (vec![], true, "no HTTP"),
            (vec![b"SSH-2.0-x\r\n\r\n".to_vec()], true, "no HTTP"),
            (vec![b"HTTP/1.1 \n\x1b[ No\r\n\r\n".to_vec()], true, "no HTTP"),
            (vec![b"HTTP/1.1 503 No\r\n\r\nlate\x1b[2J\nmore".to_vec()], true, "503, \"late\\u{1b}[2J\""),
            (vec![b"HTTP/1.1 200 OK\r\nX: ".to_vec()], false, "within 2 s"),
            (
                vec![b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), vec![b'x'; BYTES_MAX + 1]],
                false,
                "longer than 8 MiB",
            ),
        ] {
            let error = ask(pieces, close).unwrap_err();
            assert!(error.contains(words) && error.lines().count() == 1, "{error}");
        }
    }

    #[test]
    fn nobody_is_told_apart_from_somebody_who_is_silent() {
        let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert!(matches!(Target::parse(&gone.to_string()).unwrap().get("/"), Err(Error::Refused)));
    }

    #[test]
    fn urls_are_literal() {
        for (url, shown) in [
            ("http://127.0.0.1:10100/", "http://127.0.0.1:10100/"),
            ("HTTP://[::1]:1/stalls?x#y", "http://[::1]:1/"),
            ("localhost:10100", "http://localhost:10100/"),
        ] {
            assert_eq!(Target::parse(url).unwrap().url, shown);
        }
        for url in
            ["https://127.0.0.1:1/", "http://example.org:1/", "127.0.0.1", "http://", "localhost:x", ":1"]
        {
            assert!(Target::parse(url).unwrap_err().ends_with("give http://ADDRESS:PORT/"), "{url}");
        }
    }

    #[test]
    fn a_listener_on_all_addresses_is_reached_on_the_loopback() {
        let of = |on: &str| Target::listening(&[on.parse().unwrap()]).unwrap();
        assert_eq!(of("[::]:10100").url, "http://127.0.0.1:10100/");
        assert_eq!(of("[::]:10100").addrs.len(), 2);
        assert_eq!(of("0.0.0.0:1").addrs, ["127.0.0.1:1".parse().unwrap()]);
        assert_eq!(of("192.0.2.1:7").url, "http://192.0.2.1:7/");
        assert_eq!(Target::listening(&[]), None);
    }
}
