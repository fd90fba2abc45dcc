//! The nearest known word to a mistyped one.

/// Longer words are not compared: no name of ours comes near, and the comparison is quadratic.
const WORD_CHARS_MAX: usize = 64;

/// The known word with the smallest edit distance, when at most a third of the letters differ.
/// Case, `-` and `_` do not count: `Max-Requests` is `max_requests` to a reader.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = normal(word);
    if word.len() > WORD_CHARS_MAX {
        return None;
    }
    let allowed = (word.len() / 3).max(1);
    known
        .into_iter()
        .map(|candidate| (distance(&word, &normal(candidate)), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

fn normal(word: &str) -> Vec<char> {
    word.chars()
        .take(WORD_CHARS_MAX + 1)
        .map(|c| if c == '-' { '_' } else { c.to_ascii_lowercase() })
        .collect()
}

/// Levenshtein, one row at a time.
fn distance(from: &[char], to: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (index, a) in from.iter().enumerate() {
        let mut diagonal = index;
        let mut left = index + 1;
        for (cell, b) in row.iter_mut().skip(1).zip(to) {
            let above = *cell;
            let replaced = diagonal + usize::from(a != b);
            *cell = replaced.min(above + 1).min(left + 1);
            diagonal = above;
            left = *cell;
        }
        if let Some(first) = row.first_mut() {
            *first = index + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_those_of_the_textbook() {
        for (from, to, expected) in
            [("", "", 0), ("", "abc", 3), ("abc", "", 3), ("kitten", "sitting", 3), ("flaw", "lawn", 2)]
        {
            assert_eq!(distance(&normal(from), &normal(to)), expected, "{from} {to}");
        }
    }

    #[test]
    fn the_nearest_word_is_found_or_none() {
        let known = ["max_requests", "max_connections", "idle_timeout"];
        for (word, expected) in [
            ("max_request", Some("max_requests")),
            ("MAX-REQUESTS", Some("max_requests")),
            ("idle", None),
            ("zzz", None),
            (&"x".repeat(100_000), None),
        ] {
            assert_eq!(nearest(word, known), expected);
        }
    }
}
