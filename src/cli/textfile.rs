//! `textfile`: the page as a file for an existing node_exporter's textfile collector. Written beside its target and
//! renamed, so that a reader sees the old page or the new one and never a half.
#![expect(clippy::disallowed_methods, reason = "this file is the owner of the one file we write")]

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, openat};

/// Opens the directory of `output`, in which front may make a file although it may open none.
///
/// # Errors
/// As of [`write`].
pub fn directory(output: &Path) -> Result<OwnedFd, String> {
    let directory = match output.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, directory, flags, Mode::empty()).map_err(|errno| cannot(output, &errno.into()))
}

/// Replaces `output` by `page`. The file is readable by everybody, as the collector may run as another user.
///
/// # Errors
/// One line: which file, why, and what to do.
pub fn write(output: &Path, page: &[u8]) -> Result<(), String> {
    let mut name = output.file_name().unwrap_or_default().to_owned();
    // Not `.prom`: the collector must not pick up a half-written file.
    name.push(format!(".{}.tmp", std::process::id()));
    let beside = output.with_file_name(name);
    let written = put(&beside, page).and_then(|()| std::fs::rename(&beside, output));
    written.map_err(|error| {
        let _not_made = std::fs::remove_file(&beside);
        cannot(output, &error)
    })
}

fn cannot(output: &Path, error: &io::Error) -> String {
    format!("{}: {error}; name a file in a directory that can be written", output.display())
}

fn put(path: &Path, page: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.set_permissions(PermissionsExt::from_mode(0o644))?;
    file.write_all(page)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_replaced_whole_and_nothing_is_left_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let output = dir.path().join("stall.prom");
        write(&output, b"old\n").unwrap();
        write(&output, b"new\n").unwrap();
        assert_eq!(std::fs::read(&output).unwrap(), b"new\n");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        let missing = dir.path().join("no/such/dir.prom");
        for refused in [write(&missing, b"x"), directory(&missing).map(|_| ())] {
            assert!(refused.unwrap_err().starts_with(&missing.display().to_string()));
        }
        directory(&output).unwrap();
        directory(Path::new("stall.prom")).unwrap();
    }
}
