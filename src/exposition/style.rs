//! The look that our HTML pages share: colours for light and dark, one column, system fonts, nothing loaded.

/// The style sheet of every page, as a literal, so that a page can be put together when it is compiled. Each colour
/// of text has a contrast of at least 4.5 to 1 (WCAG AA) against both backgrounds of its scheme.
macro_rules! sheet {
    () => {
        r##":root { --ink: #1b1f24; --paper: #ffffff; --panel: #f5f7f9; --line: #d5dae0; --link: #0b57d0;
  --faint: #57606a; --bad: #b3261e; --good: #17693a; --warn: #7a4b00; --warn-paper: #fff3d6; --bad-paper: #fdeceb;
  --good-paper: #e8f5ec; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e8eb; --paper: #14171a; --panel: #1d2227; --line: #363d45; --link: #8ab4f8;
    --faint: #9aa4ae; --bad: #ff9a92; --good: #7fdca0; --warn: #f5cd79; --warn-paper: #33290f;
    --bad-paper: #3a1d1c; --good-paper: #16301f; }
}
* { box-sizing: border-box; }
body { margin: 3rem auto; padding: 0 1rem; max-width: 40rem; color: var(--ink); background: var(--paper);
  font: 1rem/1.5 system-ui, sans-serif; -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
a { color: var(--link); }
footer { margin-top: 2rem; color: var(--faint); font-size: .875rem; }
"##
    };
}

pub(crate) use sheet;
