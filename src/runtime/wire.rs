//! What travels between our processes: orders and reports between front and warden (one message a datagram), and
//! frames from a probe to front (a stream of lengths and bodies). serde structs through postcard, bounded, decoded
//! without trust: a probe may be killed in the middle of anything.

use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::base::clock::Mono;
use crate::sample::evidence::Known;
use crate::sample::{Frame, Lane};

/// Most bytes of one frame. The default of 16 384 rows takes about 1 MiB; the most rows that can be configured, with
/// the longest names and numbers, fit as well.
pub const FRAME_MAX: usize = 16 * 1024 * 1024;
/// Most bytes of an order or a report. The plan of a probe is the largest: every lane with all the threads that it may
/// be told to leave alone, and the waits that are known.
const MESSAGE_MAX: usize = 4096;

/// Front to warden.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// Fork a probe into a slot.
    Spawn {
        /// Slot of the shared memory.
        slot: usize,
        /// What each lane must know.
        plan: Vec<LanePlan>,
    },
    /// Kill the probe in a slot. It is reported when it has really ended.
    Kill {
        /// Slot of the shared memory.
        slot: usize,
    },
    /// Are you there?
    Ping(u64),
}

/// What a lane of a new probe must know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LanePlan {
    /// Which lane.
    pub lane: Lane,
    /// It does nothing before this moment (back-off).
    pub not_before: Mono,
    /// Threads whose guarded files it leaves alone, because it hung there; the detail and evidence lanes do so.
    pub avoid: Vec<u32>,
    /// Waits that front has seen before; for the evidence lane.
    pub known: Vec<Known>,
}

/// Warden to front.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Report {
    /// A probe was forked; the read end of its pipe comes with this message.
    Spawned {
        /// Slot.
        slot: usize,
        /// Its process id.
        pid: i32,
    },
    /// A probe could not be forked.
    NotSpawned {
        /// Slot.
        slot: usize,
        /// Why, in one line.
        why: String,
    },
    /// A probe has ended and was reaped.
    Ended {
        /// Slot.
        slot: usize,
        /// `exit 0`, `signal 9`.
        how: String,
    },
    /// I am.
    Pong(u64),
}

/// Why a message could not be sent or understood.
#[derive(Debug)]
pub enum WireError {
    /// The other side is gone.
    Closed,
    /// Nothing there, or no room: try again later.
    NotNow,
    /// Bytes that are no message of ours.
    Garbled(&'static str),
    /// The kernel's answer.
    Io(io::Error),
}

impl fmt::Display for WireError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => out.write_str("the other process has ended"),
            Self::NotNow => out.write_str("not now"),
            Self::Garbled(what) => {
                write!(out, "{what} cannot be decoded; the process that sent it is replaced")
            }
            Self::Io(error) => write!(out, "{error}"),
        }
    }
}

impl From<Errno> for WireError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::AGAIN | Errno::INTR => Self::NotNow,
            Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN => Self::Closed,
            other => Self::Io(other.into()),
        }
    }
}

/// Sends one message, with a descriptor beside it if given. Never blocks and never raises SIGPIPE.
///
/// # Errors
/// `NotNow` when the socket is full, `Closed` when nobody is there.
pub fn send(
    socket: BorrowedFd<'_>,
    message: &impl Serialize,
    fd: Option<BorrowedFd<'_>>,
) -> Result<(), WireError> {
    let bytes = postcard::to_stdvec(message).map_err(|_encode| WireError::Garbled("an own message"))?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    let fds = fd.map(|fd| [fd]);
    if let Some(fds) = &fds {
        beside.push(SendAncillaryMessage::ScmRights(fds));
    }
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    sendmsg(socket, &[io::IoSlice::new(&bytes)], &mut beside, flags)?;
    Ok(())
}

/// Receives one message and the descriptor beside it.
///
/// # Errors
/// `NotNow` when there is none, `Closed` at the end, `Garbled` for bytes that are no message.
pub fn receive<T: DeserializeOwned>(socket: BorrowedFd<'_>) -> Result<(T, Option<OwnedFd>), WireError> {
    let mut bytes = [0_u8; MESSAGE_MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let length = recvmsg(socket, &mut [io::IoSliceMut::new(&mut bytes)], &mut beside, flags)?.bytes;
    if length == 0 {
        return Err(WireError::Closed);
    }
    let fd = beside.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    let bytes = bytes.get(..length).unwrap_or_default();
    let message = postcard::from_bytes(bytes)
        .map_err(|_decode| WireError::Garbled("a message between our processes"))?;
    Ok((message, fd))
}

/// Encodes a frame with its length in front, into a reused buffer.
///
/// # Errors
/// A frame past [`FRAME_MAX`]: the lane's row limits are set too high.
pub fn encode(frame: &Frame, out: &mut Vec<u8>) -> Result<(), WireError> {
    out.clear();
    out.extend_from_slice(&[0; 4]);
    let filled = postcard::to_extend(frame, std::mem::take(out));
    *out = filled.map_err(|_encode| WireError::Garbled("an own frame"))?;
    let length = out.len().saturating_sub(4);
    if length > FRAME_MAX {
        return Err(WireError::Garbled("a frame past its limit (lower tasks.rows_max)"));
    }
    let length = u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
    for (slot, byte) in out.iter_mut().zip(length) {
        *slot = byte;
    }
    Ok(())
}

/// The frame in a body. It takes little more memory than its bytes do, whatever they are: texts are as long as they
/// are there, and every list has a limit of its own ([`crate::base::bounded::list`]).
///
/// # Errors
/// `Garbled` for bytes that are no frame, and for lists past their limits.
pub fn decode(body: &[u8]) -> Result<Frame, WireError> {
    postcard::from_bytes(body).map_err(|_decode| WireError::Garbled("a frame"))
}

/// Front's end of a probe's pipe: collects bytes without ever waiting, gives whole frames.
#[derive(Debug)]
pub struct Intake {
    pipe: OwnedFd,
    bytes: Vec<u8>,
    start: usize,
}

impl Intake {
    /// Takes over the read end of a pipe, non-blocking.
    pub fn new(pipe: OwnedFd) -> Self {
        Self { pipe, bytes: Vec::new(), start: 0 }
    }

    /// For poll.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }

    /// Reads what is there, a bounded piece.
    ///
    /// # Errors
    /// `Closed` at the end of the pipe, `NotNow` when nothing is there.
    pub fn fill(&mut self) -> Result<(), WireError> {
        const PIECE: usize = 256 * 1024;
        self.bytes.drain(..self.start);
        self.start = 0;
        let had = self.bytes.len();
        self.bytes.reserve(PIECE);
        let read = rustix::io::read(&self.pipe, rustix::buffer::spare_capacity(&mut self.bytes))?;
        if read == 0 && self.bytes.len() == had { Err(WireError::Closed) } else { Ok(()) }
    }

    /// The next whole frame, if it has arrived.
    ///
    /// # Errors
    /// `Garbled` when the stream cannot be understood; the probe must then be replaced, for the stream has no marks
    /// to find the next frame by.
    pub fn frame(&mut self) -> Result<Option<Frame>, WireError> {
        let rest = self.bytes.get(self.start..).unwrap_or_default();
        let Some((head, body)) = rest.split_first_chunk::<4>() else { return Ok(None) };
        let length = usize::try_from(u32::from_le_bytes(*head)).unwrap_or(usize::MAX);
        if length > FRAME_MAX {
            return Err(WireError::Garbled("a frame's length"));
        }
        let Some(body) = body.get(..length) else { return Ok(None) };
        let frame = decode(body)?;
        self.start = self.start.saturating_add(4).saturating_add(length);
        if self.start == self.bytes.len() {
            // An unusually large frame must not keep its memory for ever.
            self.bytes.clear();
            self.bytes.shrink_to(64 * 1024);
            self.start = 0;
        }
        Ok(Some(frame))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::bounded::ROWS_MAX;
    use crate::sample::evidence::KNOWN_MAX;
    use crate::sample::{Look, Mark, Missed, Quotas, Row, Sweep};
    use proptest::prelude::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    use rustix::pipe::{PipeFlags, pipe_with};

    fn sweep(rows: usize) -> Frame {
        let row = Row {
            tid: 7,
            pid: 7,
            begin: Mono::from_nanos(9),
            end: Mono::from_nanos(9),
            state: crate::base::units::State::Uninterruptible,
            mark: crate::sample::Mark { slices: 3, run_ns: 4 },
            comm: "a".repeat(15),
            hint: crate::sample::Hint::None,
            services: 1,
            services_whole: true,
        };
        Frame::Sweep(Sweep { rows: vec![row; rows], missed: Missed::default(), ..Sweep::default() })
    }

    #[test]
    fn messages_cross_with_their_descriptor() {
        let (left, right) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        let (read, _write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        send(left.as_fd(), &Report::Spawned { slot: 1, pid: 9 }, Some(read.as_fd())).unwrap();
        let (report, fd) = receive::<Report>(right.as_fd()).unwrap();
        assert_eq!(report, Report::Spawned { slot: 1, pid: 9 });
        assert!(fd.is_some());
        assert!(matches!(receive::<Report>(right.as_fd()), Err(WireError::NotNow)));
        drop(left);
        assert!(matches!(receive::<Report>(right.as_fd()), Err(WireError::Closed)));
    }

    #[test]
    fn the_largest_plan_fits() {
        let (left, right) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        let most = crate::runtime::supervisor::AVOID_MAX;
        let mark = Mark { slices: u64::MAX, run_ns: u64::MAX };
        let known = Known { tid: u32::MAX, mark, since: Mono::from_nanos(u64::MAX), taken: true };
        let plan = Lane::ALL.map(|lane| LanePlan {
            lane,
            not_before: Mono::from_nanos(u64::MAX),
            avoid: vec![u32::MAX; most],
            known: if lane == Lane::Evidence { vec![known; KNOWN_MAX] } else { Vec::new() },
        });
        let order = Order::Spawn { slot: 8, plan: plan.to_vec() };
        send(left.as_fd(), &order, None).unwrap();
        assert_eq!(receive::<Order>(right.as_fd()).unwrap().0, order);
    }

    #[test]
    fn frames_come_whole_through_a_pipe_in_pieces() {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).unwrap();
        let mut intake = Intake::new(read);
        let mut bytes = Vec::new();
        encode(&sweep(1000), &mut bytes).unwrap();
        let mut got = None;
        for piece in bytes.chunks(999) {
            assert!(got.is_none());
            rustix::io::write(&write, piece).unwrap();
            intake.fill().unwrap();
            got = intake.frame().unwrap();
        }
        assert_eq!(got.unwrap(), sweep(1000));
        drop(write);
        assert!(matches!(intake.fill(), Err(WireError::Closed)));
    }

    #[test]
    fn a_frame_past_the_limit_is_refused_on_both_sides() {
        let mut bytes = Vec::new();
        assert!(encode(&sweep(FRAME_MAX / 20), &mut bytes).is_err());
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).unwrap();
        rustix::io::write(&write, &u32::MAX.to_le_bytes()).unwrap();
        let mut intake = Intake::new(read);
        intake.fill().unwrap();
        assert!(matches!(intake.frame(), Err(WireError::Garbled(_))));
    }

    /// What each takes in memory is measured in tests/fuzz.
    #[test]
    fn a_list_past_its_limit_is_no_frame() {
        let quotas = |ended| Frame::Quotas(Quotas { ended, ..Quotas::default() });
        let mut bytes = Vec::new();
        encode(&quotas(vec![String::new(); ROWS_MAX]), &mut bytes).unwrap();
        assert_eq!(decode(&bytes[4..]).unwrap(), quotas(vec![String::new(); ROWS_MAX]));
        encode(&quotas(vec![String::new(); ROWS_MAX + 1]), &mut bytes).unwrap();
        assert!(matches!(decode(&bytes[4..]), Err(WireError::Garbled("a frame"))));
        encode(&sweep(ROWS_MAX + 1), &mut bytes).unwrap();
        assert!(decode(&bytes[4..]).is_err());
    }

    #[test]
    fn the_largest_sweep_fits() {
        let mut bytes = Vec::new();
        encode(&sweep(16_384), &mut bytes).unwrap();
        assert!(bytes.len() < FRAME_MAX / 8, "{} bytes", bytes.len());
        let Frame::Sweep(mut worst) = sweep(ROWS_MAX) else { panic!("not a sweep") };
        for row in &mut worst.rows {
            row.comm = "x".repeat(crate::base::bounded::LABEL_MAX);
            (row.tid, row.pid, row.services) = (u32::MAX, u32::MAX, u64::MAX);
            (row.begin, row.end) = (Mono::from_nanos(u64::MAX), Mono::from_nanos(u64::MAX));
            row.mark = crate::sample::Mark { slices: u64::MAX, run_ns: u64::MAX };
        }
        encode(&Frame::Sweep(worst), &mut bytes).unwrap();
        assert!(decode(&bytes[4..]).is_ok());
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_frame_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).unwrap();
            rustix::io::write(&write, &bytes).unwrap();
            let mut intake = Intake::new(read);
            let _ = intake.fill();
            while let Ok(Some(frame)) = intake.frame() {
                let _ = matches!(frame, Frame::Look(Look { .. }));
            }
        }
    }
}
