//! What the configuration says about functions of the kernel: read by `config`, used by `track`, which must not know
//! each other.

/// A thing that tasks wait for, and the functions that tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extra {
    /// Short name.
    pub name: String,
    /// What it is, as the end of the sentence "9 tasks wait for …"; empty when it is not said.
    pub title: String,
    /// What that means, for someone who does not know the kernel's words; empty when it is not said.
    pub explain: String,
    /// Functions that sleep until it is free, without what compilers append to clones.
    pub waits: Vec<String>,
    /// Functions that have it, written likewise.
    pub holds: Vec<String>,
}
