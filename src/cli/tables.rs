//! The tables that the program prints about itself, as Markdown: README holds them between markers, and a test
//! compares.

use std::fmt::Write as _;

use crate::collector;
use crate::exposition::desc::Desc;
use crate::source::paths::ROWS;
use crate::{exposition, http};

/// Every path the program may open, and those it must never open.
pub fn sources() -> String {
    let mut out = String::from(
        "| path | class | read by | kernel function and locks | checked |\n|---|---|---|---|---|\n",
    );
    for row in &ROWS {
        let (class, reader) = (row.class.word(), row.reader.word());
        line(&mut out, &[&format!("`{}`", row.pattern), class, reader, row.kernel, row.checked]);
    }
    out
}

/// Every family on the page.
pub fn metrics() -> String {
    let mut out =
        String::from("| metric | type | labels | most series | what it says |\n|---|---|---|---|---|\n");
    let slices = collector::ALL.iter().flat_map(|slice| slice.metrics.iter().copied());
    for desc in slices.chain(http::METRICS).chain(exposition::process::METRICS) {
        let Desc { name, help, kind, labels, max_series } = desc;
        line(
            &mut out,
            &[&format!("`{name}`"), kind.word(), &labels.join(", "), &max_series.to_string(), help],
        );
    }
    out
}

fn line(out: &mut String, cells: &[&str]) {
    for cell in cells {
        // Writing into a string cannot fail.
        let _infallible = write!(out, "| {} ", cell.replace('|', "\\|"));
    }
    out.push_str("|\n");
}
