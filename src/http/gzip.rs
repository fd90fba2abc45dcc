//! gzip, once per page.
//!
//! Compressing is the dearest thing this thread does, and the page is the same for everybody who waits for it; our
//! own instrumentation behind it is not. So the page is compressed once, up to a byte boundary, and each response
//! adds its own short end to the same deflate stream: blocks of its own, the checksum of both parts, the length.
//! The result is one ordinary gzip member, which every client reads.

use std::io::{self, Write};
use std::sync::{Arc, Weak};

use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};

use crate::runtime::board::Page;

/// Member header (RFC 1952): magic, deflate, no flags, no time, fastest compression, Unix.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 3];

/// The front of a gzip member: header and all of the page, ending on a byte boundary, not the last block.
#[derive(Debug)]
pub struct Front {
    bytes: Vec<u8>,
    crc: Crc,
}

impl AsRef<[u8]> for Front {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Front {
    fn new(text: &[u8]) -> io::Result<Self> {
        let mut crc = Crc::new();
        crc.update(text);
        // Level 1: level 6 costs five times as much and saves a fifth of the bytes.
        let mut encoder = DeflateEncoder::new(HEADER.to_vec(), Compression::fast());
        encoder.write_all(text)?;
        // A sync flush ends on a byte boundary without marking the last block.
        encoder.flush()?;
        Ok(Self { bytes: std::mem::take(encoder.get_mut()), crc })
    }

    /// The rest of the member whose text is the page followed by `end`.
    ///
    /// # Errors
    /// None in practice: the encoder's own errors, over memory.
    pub fn finish(&self, end: &[u8]) -> io::Result<Vec<u8>> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(end)?;
        let mut bytes = encoder.finish()?;
        let mut end_crc = Crc::new();
        end_crc.update(end);
        let mut crc = Crc::new();
        crc.combine(&self.crc);
        crc.combine(&end_crc);
        bytes.extend_from_slice(&crc.sum().to_le_bytes());
        // The length is modulo 2^32 by the format.
        bytes.extend_from_slice(&crc.amount().to_le_bytes());
        Ok(bytes)
    }
}

/// A whole gzip member of `text`.
///
/// # Errors
/// None in practice: the encoder's own errors, over memory.
pub fn member(text: &[u8]) -> io::Result<Vec<u8>> {
    let front = Front::new(text)?;
    let end = front.finish(&[])?;
    Ok([front.bytes, end].concat())
}

/// The front of the newest page that anybody wanted compressed.
#[derive(Debug, Default)]
pub struct Cache {
    // Weak: the cache must not keep a replaced page's text alive, and a weak handle keeps its address unique.
    newest: Option<(Weak<Page>, Arc<Front>)>,
}

impl Cache {
    /// The compressed front of `page`, shared by all who send it.
    ///
    /// # Errors
    /// None in practice: the encoder's own errors, over memory.
    pub fn front(&mut self, page: &Arc<Page>) -> io::Result<Arc<Front>> {
        if let Some((of, front)) = &self.newest
            && std::ptr::eq(of.as_ptr(), Arc::as_ptr(page))
        {
            return Ok(Arc::clone(front));
        }
        let front = Arc::new(Front::new(&page.text)?);
        self.newest = Some((Arc::downgrade(page), Arc::clone(&front)));
        Ok(front)
    }

    /// Lets the front go when its page was replaced.
    pub fn sweep(&mut self, newest: &Arc<Page>) {
        self.newest.take_if(|(of, _)| !std::ptr::eq(of.as_ptr(), Arc::as_ptr(newest)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::read::GzDecoder;
    use proptest::prelude::*;
    use std::io::Read;

    fn unzip(member: &[u8]) -> Vec<u8> {
        let mut text = Vec::new();
        // GzDecoder reads one member and checks its checksum and length.
        GzDecoder::new(member).read_to_end(&mut text).unwrap();
        text
    }

    proptest! {
        #[test]
        fn front_and_end_make_one_member(page in "[a-z ]{0,3000}", end in "[a-z ]{0,300}") {
            let front = Front::new(page.as_bytes()).unwrap();
            let member = [front.as_ref(), &front.finish(end.as_bytes()).unwrap()].concat();
            prop_assert_eq!(unzip(&member), [page.as_bytes(), end.as_bytes()].concat());
        }
    }

    #[test]
    fn a_text_alone_is_a_member() {
        assert_eq!(unzip(&member(b"{}\n").unwrap()), b"{}\n");
    }

    #[test]
    fn a_large_page_survives_the_round() {
        let page: Vec<u8> = (0_u32..3_000_000).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let front = Front::new(&page).unwrap();
        let member = [front.as_ref(), &front.finish(b"end\n").unwrap()].concat();
        assert_eq!(unzip(&member), [page.as_slice(), b"end\n"].concat());
    }

    #[test]
    fn a_page_is_compressed_once_and_forgotten_when_replaced() {
        let mut cache = Cache::default();
        let page = Arc::new(Page { text: b"a 1\n".to_vec(), ..Page::default() });
        let first = cache.front(&page).unwrap();
        assert!(Arc::ptr_eq(&first, &cache.front(&page).unwrap()));
        cache.sweep(&page);
        assert_eq!(Arc::strong_count(&first), 2);
        cache.sweep(&Arc::new(Page::default()));
        assert_eq!(Arc::strong_count(&first), 1);
    }
}
