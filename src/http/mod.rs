//! The port: finished bytes to whoever asks, within limits, whatever the other end does.
//!
//! One thread, one `poll(2)` loop ([`serve`]), no call that can block. A connection is a small state machine
//! (`conn`), a request head is parsed in place (`request`), the answer is decided in `routes` and written by
//! `response`. A scrape does not stop the loop: unless the newest page is fresh enough it asks the [`Board`] for
//! another, and its connection waits, among the others, for that page or for the scrape deadline, whichever comes
//! first.
//!
//! tiny_http gives the message layer (methods, status lines, headers); its server is banned, because its accept
//! thread ends for good when descriptors run out, and because it has no limits and no deadlines.
//!
//! | path | answer |
//! |---|---|
//! | `/metrics` | the newest page, then our own instrumentation; text 0.0.4, gzip when accepted |
//! | `/stalls` | what is stuck, for people; `?refresh=5` makes a browser ask again every 5 s |
//! | `/stalls.json` | the same for programs; gzip when accepted |
//! | `/-/healthy` | 200 as long as this loop turns |
//! | `/-/ready` | 200, or 503 and the reason |
//! | `/` | a page of links, the notices above them |

mod conn;
mod gzip;
mod landing;
mod listen;
mod permit;
mod request;
mod response;
mod routes;
mod server;
mod stats;
mod told;

#[cfg(test)]
mod tests;

use std::os::fd::BorrowedFd;

pub use listen::{BindError, Listeners};
pub use stats::{METRICS, Stats};

use crate::config::Web;
use crate::runtime::board::Board;

/// Instrumentation of the other rooms, printed at the end of `/metrics`.
pub trait OwnMetrics {
    /// Appends complete families in the text format 0.0.4. No family may be one of the snapshot's or of
    /// [`METRICS`].
    fn append(&self, out: &mut Vec<u8>);
}

/// What is served, and within which limits.
#[derive(Clone, Copy)]
pub struct Site<'a> {
    /// Limits and deadlines.
    pub web: &'a Web,
    /// Where pages come from.
    pub board: &'a Board,
    /// Our own counters.
    pub stats: &'a Stats,
    /// Everybody else's.
    pub own: &'a dyn OwnMetrics,
}

/// Serves until `stop` is readable; connections that are open then are dropped.
///
/// Nothing a client does ends it. A panic while a connection is served is counted and costs that connection;
/// one anywhere else costs all connections; the listeners stay in either case.
pub fn serve(listeners: &Listeners, site: Site<'_>, stop: BorrowedFd<'_>) {
    server::Server::new(listeners, site).run(stop);
}
