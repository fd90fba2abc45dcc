//! Request heads: bytes in, what the routes need out.

use std::str::FromStr;
use std::time::Duration;

use httparse::{EMPTY_HEADER, Error, Header, Status};
use tiny_http::Method;

use super::response::Code;

/// Most header lines of a request. Prometheus sends seven.
const HEADERS_MAX: usize = 64;

/// One request, as far as anything here cares.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    /// Any method; the routes take GET and HEAD.
    pub method: Method,
    /// Path of the target: no scheme, no authority, no query.
    pub path: String,
    /// `refresh=SECONDS` of the query, 1 to 3600: how often a browser is to ask again.
    pub refresh: Option<u16>,
    /// The client takes gzip.
    pub gzip: bool,
    /// The client wants the connection kept. HTTP/1.0 clients have to say so.
    pub keep_alive: bool,
    /// HTTP/1.0.
    pub old: bool,
    /// A body follows the head.
    pub body: bool,
    /// `X-Prometheus-Scrape-Timeout-Seconds`, when it makes sense.
    pub scrape_timeout: Option<Duration>,
}

/// What the bytes at hand amount to.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed {
    /// The head goes on.
    Partial,
    /// A whole head, and how many bytes it took.
    Complete(Request, usize),
    /// Not a request we can serve, in words for the client. Where the next one would begin is unknown.
    Refused(Code, &'static str),
}

/// Parses the head at the start of `bytes`.
pub fn parse(bytes: &[u8]) -> Parsed {
    let mut headers = [EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Request::new(&mut headers);
    match head.parse(bytes) {
        Ok(Status::Partial) => Parsed::Partial,
        Ok(Status::Complete(length)) => match interpret(&head) {
            Ok(request) => Parsed::Complete(request, length),
            Err((code, reason)) => Parsed::Refused(code, reason),
        },
        Err(error) => refuse(error, bytes),
    }
}

fn refuse(error: Error, bytes: &[u8]) -> Parsed {
    let (code, reason) = match error {
        Error::Version => (Code::VersionNotSupported, "only HTTP/1.0 and HTTP/1.1 are spoken here"),
        Error::TooManyHeaders => (Code::HeadTooLarge, "the request has more than 64 header lines"),
        // 22 is the record type of a TLS handshake, 3 the major version of every TLS there is.
        _ if bytes.starts_with(&[22, 3]) => (Code::BadRequest, "this port speaks plain HTTP, not TLS"),
        _ => (Code::BadRequest, "the request head is malformed"),
    };
    Parsed::Refused(code, reason)
}

fn interpret(head: &httparse::Request<'_, '_>) -> Result<Request, (Code, &'static str)> {
    let headers: &[Header<'_>] = head.headers;
    let old = head.version == Some(0);
    let method = Method::from_str(head.method.unwrap_or_default())
        .map_err(|()| (Code::BadRequest, "the method is malformed"))?;
    Ok(Request {
        method,
        path: path(head.path.unwrap_or_default()).to_owned(),
        refresh: parameter(head.path.unwrap_or_default(), "refresh")
            .and_then(|seconds| seconds.parse().ok())
            .filter(|seconds| (1..=3600).contains(seconds)),
        gzip: accepts_gzip(headers),
        keep_alive: if old {
            has_token(headers, "connection", "keep-alive")
        } else {
            !has_token(headers, "connection", "close")
        },
        old,
        body: has_body(headers)?,
        scrape_timeout: values(headers, "x-prometheus-scrape-timeout-seconds").next().and_then(timeout),
    })
}

/// The path of a target in origin form (`/metrics?x`) or absolute form (`http://host/metrics?x`).
fn path(target: &str) -> &str {
    let target = match target.split_once("://") {
        Some((scheme, rest)) if ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) => {
            // An absolute target without a path means the root.
            rest.find(['/', '?', '#']).and_then(|start| rest.get(start..)).unwrap_or("/")
        }
        _ => target,
    };
    match target.split(['?', '#']).next() {
        None | Some("") => "/",
        Some(path) => path,
    }
}

/// The first value of a parameter in the query of a target. Nothing is decoded: what we take is digits.
fn parameter<'t>(target: &'t str, name: &str) -> Option<&'t str> {
    let (_, query) = target.split('#').next()?.split_once('?')?;
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}

/// The values of all header lines called `name`.
fn values<'h>(headers: &'h [Header<'h>], name: &'h str) -> impl Iterator<Item = &'h str> {
    headers
        .iter()
        .filter(move |header| header.name.eq_ignore_ascii_case(name))
        // A value that is not UTF-8 is none that we know.
        .filter_map(|header| std::str::from_utf8(header.value).ok())
        .map(str::trim)
}

/// The elements of the comma-separated lists in all header lines called `name`.
fn elements<'h>(headers: &'h [Header<'h>], name: &'h str) -> impl Iterator<Item = &'h str> {
    values(headers, name).flat_map(|value| value.split(',')).map(str::trim)
}

fn has_token(headers: &[Header<'_>], name: &str, token: &str) -> bool {
    elements(headers, name).any(|element| element.eq_ignore_ascii_case(token))
}

/// Whether a body follows. A length that cannot be read makes the head unusable: where it ends is unknown.
fn has_body(headers: &[Header<'_>]) -> Result<bool, (Code, &'static str)> {
    let mut body = headers.iter().any(|header| header.name.eq_ignore_ascii_case("transfer-encoding"));
    for header in headers.iter().filter(|header| header.name.eq_ignore_ascii_case("content-length")) {
        let digits = header.value.trim_ascii();
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return Err((Code::BadRequest, "the Content-Length is not a number"));
        }
        body |= digits.iter().any(|&digit| digit != b'0');
    }
    Ok(body)
}

/// Whether gzip may be sent: named with a weight above zero, or not named and covered by `*`.
fn accepts_gzip(headers: &[Header<'_>]) -> bool {
    let mut named = None;
    let mut any = None;
    for element in elements(headers, "accept-encoding") {
        let mut parts = element.split(';').map(str::trim);
        let coding = parts.next().unwrap_or_default();
        let wanted = parts.all(|parameter| !is_zero_weight(parameter));
        if coding.eq_ignore_ascii_case("gzip") || coding.eq_ignore_ascii_case("x-gzip") {
            named = Some(wanted);
        } else if coding == "*" {
            any = Some(wanted);
        }
    }
    named.or(any).unwrap_or(false)
}

fn is_zero_weight(parameter: &str) -> bool {
    let weight = parameter.split_once('=').filter(|(name, _)| name.trim().eq_ignore_ascii_case("q"));
    weight.is_some_and(|(_, weight)| weight.trim().parse::<f64>().is_ok_and(|weight| weight <= 0.0))
}

/// A timeout in seconds, fractions allowed; `None` when it is no positive finite number.
fn timeout(seconds: &str) -> Option<Duration> {
    let seconds: f64 = seconds.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok().filter(|timeout| !timeout.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request(head: &str) -> Request {
        match parse(head.as_bytes()) {
            Parsed::Complete(request, length) => {
                assert_eq!(length, head.len());
                request
            }
            other => panic!("{head:?}: {other:?}"),
        }
    }

    fn with(header: &str) -> Request {
        request(&format!("GET /metrics HTTP/1.1\r\nHost: h\r\n{header}\r\n\r\n"))
    }

    fn refused(head: &[u8]) -> Code {
        match parse(head) {
            Parsed::Refused(code, _) => code,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_prometheus_sends() {
        let request = request(
            "GET /metrics HTTP/1.1\r\nHost: h:10100\r\nUser-Agent: Prometheus/3.5.0\r\n\
             Accept: text/plain;version=0.0.4;q=0.3,*/*;q=0.1\r\nAccept-Encoding: gzip\r\n\
             X-Prometheus-Scrape-Timeout-Seconds: 10\r\n\r\n",
        );
        let expected = Request {
            method: Method::Get,
            path: "/metrics".to_owned(),
            refresh: None,
            gzip: true,
            keep_alive: true,
            old: false,
            body: false,
            scrape_timeout: Some(Duration::from_secs(10)),
        };
        assert_eq!(request, expected);
    }

    #[test]
    fn the_path_is_what_lies_between_authority_and_query() {
        for (target, expected) in [
            ("/metrics", "/metrics"),
            ("/metrics?collect[]=a&x=://y", "/metrics"),
            ("http://h/metrics", "/metrics"),
            ("HTTP://h:1/metrics?x", "/metrics"),
            ("http://h", "/"),
            ("http://h?x=/y", "/"),
            ("/?x", "/"),
            ("/#x", "/"),
            ("*", "*"),
            ("h:443", "h:443"),
        ] {
            assert_eq!(request(&format!("GET {target} HTTP/1.1\r\n\r\n")).path, expected, "{target}");
        }
    }

    #[test]
    fn only_a_sane_refresh_counts() {
        for (target, expected) in [
            ("/stalls?refresh=5", Some(5)),
            ("/stalls?x&refresh=3600&refresh=1#refresh=2", Some(3600)),
            ("http://h/stalls?refresh=1", Some(1)),
            ("/stalls", None),
            ("/stalls?refresh", None),
            ("/stalls?refresh=0", None),
            ("/stalls?refresh=3601", None),
            ("/stalls?refresh=-1", None),
            ("/stalls?refresh=5;url=http://x", None),
            ("/stalls?refresh=%35", None),
            ("/stalls#?refresh=5", None),
        ] {
            assert_eq!(request(&format!("GET {target} HTTP/1.1\r\n\r\n")).refresh, expected, "{target}");
        }
    }

    #[test]
    fn gzip_is_sent_only_to_who_takes_it() {
        for (value, expected) in [
            ("gzip", true),
            ("GZIP", true),
            ("deflate, gzip;q=0.5", true),
            ("gzip;q=0", false),
            ("gzip; q=0.000", false),
            ("*", true),
            ("*;q=0", false),
            ("gzip;q=0, *", false),
            ("*;q=0, gzip", true),
            ("identity", false),
            ("", false),
        ] {
            assert_eq!(with(&format!("Accept-Encoding: {value}")).gzip, expected, "{value}");
        }
        assert!(!with("Accept: gzip").gzip);
    }

    #[test]
    fn the_connection_is_kept_by_the_rules_of_the_version() {
        assert!(with("Connection: keep-alive").keep_alive);
        assert!(!with("Connection: TE, Close").keep_alive);
        assert!(!request("GET / HTTP/1.0\r\n\r\n").keep_alive);
        assert!(request("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n").keep_alive);
    }

    #[test]
    fn a_body_is_noticed_and_an_unreadable_length_refused() {
        assert!(!with("Content-Length: 0").body);
        assert!(with("Content-Length: 10").body);
        assert!(with("Content-Length: 99999999999999999999999999").body);
        assert!(with("Content-Length: 0\r\nContent-Length: 5").body);
        assert!(with("Transfer-Encoding: chunked").body);
        for length in ["", "-1", "+1", "1x", "0, 5"] {
            let head = format!("GET / HTTP/1.1\r\nContent-Length: {length}\r\n\r\n");
            assert_eq!(refused(head.as_bytes()), Code::BadRequest, "{length:?}");
        }
    }

    #[test]
    fn only_a_sane_scrape_timeout_counts() {
        let of = |value: &str| with(&format!("X-Prometheus-Scrape-Timeout-Seconds: {value}")).scrape_timeout;
        assert_eq!(of("0.5"), Some(Duration::from_millis(500)));
        for value in ["0", "-1", "NaN", "inf", "1e300", "", "10s"] {
            assert_eq!(of(value), None, "{value}");
        }
    }

    #[test]
    fn other_protocols_are_told_what_is_spoken_here() {
        assert_eq!(refused(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Code::VersionNotSupported);
        assert_eq!(refused(b"GET / HTTP/1.2\r\n\r\n"), Code::VersionNotSupported);
        assert!(
            matches!(parse(&[22, 3, 1, 2, 0]), Parsed::Refused(Code::BadRequest, reason) if reason.contains("TLS"))
        );
        assert_eq!(refused(b"GET / HTTP/1.1\r\nbad header\r\n\r\n"), Code::BadRequest);
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(65));
        assert_eq!(refused(many.as_bytes()), Code::HeadTooLarge);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            if let Parsed::Complete(_, length) = parse(&bytes) {
                prop_assert!(length <= bytes.len());
            }
        }

        #[test]
        fn a_head_cut_anywhere_is_partial(cut in 0_usize..60) {
            let head = "GET /metrics HTTP/1.1\r\nHost: example\r\nAccept-Encoding: gzip\r\n\r\n";
            prop_assert_eq!(parse(&head.as_bytes()[..cut]), Parsed::Partial);
        }
    }
}
