//! What hostile clients do, each a function that goes on until it is told to stop, so that the same code serves alone
//! and in a crowd.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::client::{Client, deaf, reset};
use crate::support::http;

/// Longest time until the exporter is as it was: the deadlines for heads (2 s), writes (5 s) and lingering (1 s), and
/// a machine that is busy with other tests.
pub const CALM: Duration = Duration::from_secs(15);

/// Connects and says nothing.
pub fn silent(address: SocketAddr, clients: usize, stop: &AtomicBool) {
    let silent: Vec<Client> = (0..clients).map(|_| Client::new(address)).collect();
    until_told(stop);
    drop(silent);
}

/// Sends a byte a second on each connection, and opens a new one for each that was cut.
pub fn trickle(address: SocketAddr, clients: usize, stop: &AtomicBool) {
    let connect = || (Client::new(address), 0_usize);
    let mut slow: Vec<_> = (0..clients).map(|_| connect()).collect();
    let head = b"GET /metrics HTTP/1.1\r\nX-Slow: ";
    while !stop.load(Ordering::SeqCst) {
        let round = Instant::now();
        for (client, sent) in &mut slow {
            let byte = head.get(*sent).copied().unwrap_or(b'x');
            *sent += 1;
            if client.send(&[byte]).is_err() {
                (*client, *sent) = connect();
            }
        }
        while round.elapsed() < Duration::from_secs(1) && !stop.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Asks and resets at once, in the middle of whatever the exporter does about it, so many times at most.
pub fn resets(address: SocketAddr, most: usize, stop: &AtomicBool) {
    let mut done = 0;
    while done < most && !stop.load(Ordering::SeqCst) {
        let mut client = Client::new(address);
        client.send(b"GET /metrics HTTP/1.1\r\n\r\n").expect("a new connection takes a request");
        // Some before the request is read, some while the answer is written.
        if done % 3 == 0 {
            thread::sleep(Duration::from_micros(300));
        }
        reset(client);
        done += 1;
    }
}

/// Sends header lines without an end, again and again. Returns how many connections were cut, and the most bytes that
/// one of them got rid of.
pub fn endless(address: SocketAddr, stop: &AtomicBool) -> (usize, usize) {
    let lines = b"X-Filler: abcdefghijklmnopqrstuvwxyz\r\n".repeat(400);
    let (mut cut, mut most) = (0, 0);
    while !stop.load(Ordering::SeqCst) {
        let mut client = Client::new(address);
        client.send(b"GET /metrics HTTP/1.1\r\n").expect("a new connection takes a line");
        let mut sent = 0;
        while client.send(&lines).is_ok() {
            sent += lines.len();
            assert!(sent < 256 << 20, "256 MiB of head were taken");
        }
        (cut, most) = (cut + 1, sent.max(most));
    }
    (cut, most)
}

/// Asks for far more than it has room for and reads nothing.
pub fn never_read(address: SocketAddr, clients: usize, stop: &AtomicBool) {
    let deaf: Vec<Client> = (0..clients).map(|_| deaf(address)).collect();
    until_told(stop);
    drop(deaf);
}

/// Keeps a connection and asks as fast as it is answered. Returns how many answers came.
pub fn hasty(address: SocketAddr, stop: &AtomicBool) -> usize {
    let mut client = Client::new(address);
    let mut answered = 0;
    while !stop.load(Ordering::SeqCst) {
        let headers = if answered % 2 == 0 { "Accept-Encoding: gzip\r\n" } else { "" };
        let path = match answered % 4 {
            2 => "/stalls",
            3 => "/stalls.json",
            _ => "/metrics",
        };
        match client.ask("GET", path, headers) {
            Ok(response) => {
                assert_eq!(response.status, 200, "{}", response.text());
                answered += 1;
            }
            // A kept connection may be given up for a newcomer between two requests.
            Err(_given_up) => client = Client::new(address),
        }
    }
    answered
}

/// What is no request, and the status that is answered.
fn garbage() -> Vec<(Vec<u8>, u16)> {
    let tls = [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], &[7; 500]].concat();
    let noise: Vec<u8> = (0_u32..4096).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8 | 0x80).collect();
    vec![
        (tls, 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), 505),
        (vec![0; 1000], 400),
        (b"GET /metrics\0 HTTP/1.1\r\n\r\n".to_vec(), 400),
        (noise, 400),
        (b"GET /metrics HTTP/9.9\r\n\r\n".to_vec(), 505),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n".to_vec(), 400),
        (b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n".to_vec(), 400),
        (b"SSH-2.0-OpenSSH_9.9\r\n".to_vec(), 400),
        (b"\r\n\r\n\r\n\r\n:\r\n\r\n".to_vec(), 400),
        ([&b"GET /"[..], &b"a".repeat(20_000), b" HTTP/1.1\r\n\r\n"].concat(), 431),
        ([&b"GET / HTTP/1.1\r\n"[..], &b"a: b\r\n".repeat(100), b"\r\n"].concat(), 431),
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc".to_vec(), 405),
        (b"GET /metrics HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n".to_vec(), 413),
    ]
}

/// Sends every kind of garbage and reads the answer, then ten megabytes of it at once.
pub fn malformed(address: SocketAddr) {
    for (bytes, status) in garbage() {
        let mut client = Client::new(address);
        // The answer may be there, and the connection closed, before the last byte is sent.
        let _cut = client.send(&bytes);
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
        let reply = client.reply(true).unwrap_or_else(|fault| panic!("{shown:?}: {fault}"));
        assert_eq!((reply.status, reply.header("connection")), (status, Some("close")), "{shown:?}");
        assert_eq!(reply.text().lines().count(), 1, "{shown:?}");
    }
    let mut client = Client::new(address);
    let begun = Instant::now();
    let taken = client.send(&vec![0xff; 10 << 20]);
    taken.expect_err("ten megabytes of garbage were taken to the end");
    assert!(begun.elapsed() < CALM, "{:?}", begun.elapsed());
}

/// As [`malformed`], but whoever has not sent a whole head may be evicted before it is heard, so only the end of each
/// connection is waited for.
pub fn malformed_in_a_crowd(address: SocketAddr) {
    for (bytes, _status) in garbage() {
        let mut stream = http::connect(address);
        let _cut = stream.write_all(&bytes);
        let _nobody_there = stream.shutdown(Shutdown::Write);
        let ended = stream.read_to_end(&mut Vec::new());
        let timed_out = |error: std::io::Error| error.kind() == std::io::ErrorKind::WouldBlock;
        assert!(!ended.is_err_and(timed_out), "garbage was never answered nor cut");
    }
}

/// Waits for the end.
pub fn until_told(stop: &AtomicBool) {
    while !stop.load(Ordering::SeqCst) {
        thread::sleep(Duration::from_millis(10));
    }
}
