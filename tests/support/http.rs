//! A raw HTTP/1.1 client: one request, one connection, every step with a deadline.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longer than any deadline of the server, so that it is the server who gives up first.
const PATIENCE: Duration = Duration::from_secs(20);

/// A response as it came, header names in lower case.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Header names in lower case, values without the blanks around them, in the order of the wire.
    pub headers: Vec<(String, String)>,
    /// The body after chunks were joined; still compressed if it was.
    pub body: Vec<u8>,
}

impl Response {
    /// The value of the only header of that name (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let value = values.next();
        assert_eq!(values.next(), None, "header {name} came twice: {:?}", self.headers);
        value
    }

    /// The body as text, unpacked when the server said gzip.
    pub fn text(&self) -> String {
        let bytes = match self.header("content-encoding") {
            Some("gzip") => {
                let mut unpacked = Vec::new();
                flate2::read::GzDecoder::new(self.body.as_slice())
                    .read_to_end(&mut unpacked)
                    .expect("a body that says gzip is gzip");
                unpacked
            }
            None | Some("identity") => self.body.clone(),
            Some(other) => panic!("a content encoding nobody asked for: {other}"),
        };
        String::from_utf8(bytes).expect("the body is UTF-8")
    }

    /// Reads one response from bytes up to the end of the connection.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let shown = || String::from_utf8_lossy(&bytes[..bytes.len().min(400)]).into_owned();
        let end = find(bytes, b"\r\n\r\n").ok_or_else(|| format!("no end of the head in {:?}", shown()))?;
        let head =
            std::str::from_utf8(&bytes[..end]).map_err(|_| format!("head is not text: {:?}", shown()))?;
        let mut lines = head.split("\r\n");
        let status_line = lines.next().unwrap_or_default();
        let status = status_line
            .strip_prefix("HTTP/1.1 ")
            .or_else(|| status_line.strip_prefix("HTTP/1.0 "))
            .and_then(|rest| rest.get(..3))
            .and_then(|code| code.parse().ok())
            .ok_or_else(|| format!("not a status line: {status_line:?}"))?;
        let headers = lines
            .map(|line| {
                let (name, value) = line.split_once(':').ok_or_else(|| format!("not a header: {line:?}"))?;
                Ok((name.to_ascii_lowercase(), value.trim().to_owned()))
            })
            .collect::<Result<Vec<_>, String>>()?;
        let mut response = Self { status, headers, body: bytes[end + 4..].to_vec() };
        if response.header("transfer-encoding") == Some("chunked") {
            response.body = join_chunks(&response.body)?;
        } else if let Some(length) = response.header("content-length") {
            let length: usize = length.parse().map_err(|_| format!("content-length: {length:?}"))?;
            if response.body.len() != length {
                return Err(format!("{length} bytes announced, {} came", response.body.len()));
            }
        }
        Ok(response)
    }
}

/// `GET path` with these headers on a connection of its own; panics when no whole response comes.
pub fn get(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Response {
    let mut head = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    let bytes = send_raw(address, head.as_bytes());
    Response::parse(&bytes).unwrap_or_else(|fault| panic!("GET {path} from {address}: {fault}"))
}

/// Sends these bytes on a connection of its own and returns all that comes until the server closes it.
pub fn send_raw(address: SocketAddr, request: &[u8]) -> Vec<u8> {
    let mut stream = connect(address);
    stream.write_all(request).unwrap_or_else(|error| panic!("send to {address}: {error}"));
    let mut answer = Vec::new();
    let ended = stream.read_to_end(&mut answer);
    if let Err(error) = ended {
        panic!("{address} sent {} bytes and did not end: {error}", answer.len());
    }
    answer
}

/// A connection with the client's patience set, for tests that misbehave on it.
pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)
        .unwrap_or_else(|error| panic!("connect to {address}: {error}"));
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout above zero");
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout above zero");
    stream
}

fn join_chunks(mut rest: &[u8]) -> Result<Vec<u8>, String> {
    let mut joined = Vec::new();
    loop {
        let end = find(rest, b"\r\n").ok_or("a chunk without a size line")?;
        let size =
            std::str::from_utf8(&rest[..end]).ok().and_then(|text| usize::from_str_radix(text, 16).ok());
        let size = size.ok_or("a chunk size that is no number")?;
        rest = &rest[end + 2..];
        if size == 0 {
            return if rest == b"\r\n" { Ok(joined) } else { Err("bytes after the last chunk".to_owned()) };
        }
        if rest.len() < size + 2 || &rest[size..size + 2] != b"\r\n" {
            return Err(format!("a chunk of {size} bytes is cut short"));
        }
        joined.extend_from_slice(&rest[..size]);
        rest = &rest[size + 2..];
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
