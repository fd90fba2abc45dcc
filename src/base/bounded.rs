//! Everything whose size somebody else decides: text from the kernel and the top of a list.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

/// Longest label value, bytes. A longer text is cut and ends in a hash of the whole, so that two long texts with the
/// same beginning stay two.
pub const LABEL_MAX: usize = 128;
/// The same for the path of a control group. Those of containers are about 200: both ends, slice and id, must be whole,
/// and the series of one group must have one name.
pub const GROUP_MAX: usize = 256;
/// Most threads that can be remembered (`tasks.threads_max`).
pub const THREADS_MAX: usize = 4_194_304;
/// Most rows of any kind that a lane can be told to give (`tasks.rows_max`; all other limits are lower).
pub const ROWS_MAX: usize = 65_536;

/// Text of any bytes as a label value: valid UTF-8 is kept, control characters and invalid bytes become `\xNN`, and
/// nothing is longer than `most` bytes.
pub fn label(bytes: &[u8], most: usize) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_control() {
                text.extend(character.to_string().bytes().map(|byte| format!("\\x{byte:02x}")));
            } else {
                text.push(character);
            }
        }
        text.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    cut(text, most)
}

fn cut(mut text: String, most: usize) -> String {
    if text.len() <= most {
        return text;
    }
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    let tail = format!("~{:016x}", hasher.finish());
    let mut end = most.saturating_sub(tail.len());
    while !text.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    text.truncate(end);
    text + &tail
}

/// Reads a list that has at most `MOST` items, for serde's `deserialize_with`. An item may take a byte of what is
/// read and more than a hundred in memory, so a limit of bytes is none of memory.
///
/// # Errors
/// A longer list, and what is wrong with an item.
pub fn list<'de, const MOST: usize, T, D>(from: D) -> Result<Vec<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    from.deserialize_seq(List::<MOST, T>(PhantomData))
}

struct List<const MOST: usize, T>(PhantomData<T>);

impl<'de, const MOST: usize, T: Deserialize<'de>> Visitor<'de> for List<MOST, T> {
    type Value = Vec<T>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "at most {MOST} items")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
        // Room is made for what has come and not for the number that was promised.
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            if list.len() == MOST {
                return Err(A::Error::invalid_length(MOST.saturating_add(1), &self));
            }
            list.push(item);
        }
        Ok(list)
    }
}

/// Keeps the `most` largest of `items` by `key`, largest first; ties stay in their order.
pub fn top<T, K: PartialOrd>(mut items: Vec<T>, most: usize, key: impl Fn(&T) -> K) -> Vec<T> {
    items.sort_by(|a, b| key(b).partial_cmp(&key(a)).unwrap_or(std::cmp::Ordering::Equal));
    items.truncate(most);
    items
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn odd_names_become_readable_labels() {
        assert_eq!(label(b"plain", 64), "plain");
        assert_eq!(label("größe".as_bytes(), 64), "größe");
        assert_eq!(label(b"a\nb\xff\"(", 64), "a\\x0ab\\xff\"(");
    }

    #[test]
    fn long_texts_are_cut_and_stay_apart() {
        let long = |last: char| format!("{}{last}", "x".repeat(300));
        let (first, second) = (label(long('a').as_bytes(), 64), label(long('b').as_bytes(), 64));
        assert_eq!(first.len(), 64);
        assert_ne!(first, second);
    }

    #[test]
    fn the_top_is_bounded_and_stable() {
        assert_eq!(
            top(vec![(1, 'a'), (3, 'b'), (3, 'c'), (2, 'd')], 3, |item| item.0),
            [(3, 'b'), (3, 'c'), (2, 'd')]
        );
    }

    proptest! {
        #[test]
        fn labels_hold_their_bound_and_have_no_control_characters(
            bytes in proptest::collection::vec(any::<u8>(), 0..400), most in 20_usize..200,
        ) {
            let text = label(&bytes, most);
            prop_assert!(text.len() <= most);
            prop_assert!(!text.chars().any(char::is_control));
        }
    }
}
