//! The port: finished bytes to whoever asks, within limits, whatever the other end does.

mod gzip;
mod landing;
mod listen;
mod request;
mod response;
pub mod stats;

pub use listen::{BindError, Listeners};
pub use stats::{METRICS, Stats};
