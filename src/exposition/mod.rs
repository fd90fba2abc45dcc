//! What goes out: metric descriptors, the text writer, and what is stuck, in words.

pub mod desc;
pub mod process;
pub mod render;
pub mod stalls;
pub mod style;
