//! What goes onto the page: metric descriptors and the text writer.

pub mod desc;
pub mod process;
pub mod render;
