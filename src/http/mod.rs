//! The port: finished bytes to whoever asks, within limits, whatever the other end does.

mod listen;

pub use listen::{BindError, Listeners};
