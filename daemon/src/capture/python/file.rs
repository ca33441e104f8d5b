//! A file of a stranger, in small pieces and up to a limit.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::os::unix::fs::FileExt;

/// Pieces looked at in one file. A `libpython` takes a few hundred, one more for each section and its name.
pub(super) const PIECES_MAX: u32 = 65_536;
/// Blocks read of one file: 4 MiB in all.
pub(super) const BLOCKS_MAX: u32 = 1024;
const BLOCK_BYTES: usize = 4096;
/// Blocks kept while a file is read.
const BLOCKS_KEPT: usize = 16;

/// Bytes at offsets.
pub(super) trait Source {
    /// Fills the buffer from an offset; `None` if not all of it is there, or if too much was asked for already.
    fn fill(&self, offset: u64, buffer: &mut [u8]) -> Option<()>;

    /// Whether anything was refused because too much was asked for.
    fn is_exhausted(&self) -> bool {
        false
    }
}

#[cfg(test)]
impl Source for [u8] {
    fn fill(&self, offset: u64, buffer: &mut [u8]) -> Option<()> {
        let begin = usize::try_from(offset).ok()?;
        buffer.copy_from_slice(self.get(begin..begin.checked_add(buffer.len())?)?);
        Some(())
    }
}

/// What may still be read of one file.
pub(super) struct Pieces<'a, F = File> {
    file: &'a F,
    kept: RefCell<[Option<Block>; BLOCKS_KEPT]>,
    fills_left: Cell<u32>,
    blocks_left: Cell<u32>,
    is_exhausted: Cell<bool>,
}

/// A block by its number; the last one of a file is shorter.
#[derive(Clone)]
struct Block {
    number: u64,
    bytes: Box<[u8; BLOCK_BYTES]>,
    length: usize,
}

impl<'a, F: FileExt> Pieces<'a, F> {
    pub(super) fn of(file: &'a F) -> Self {
        Self {
            file,
            kept: RefCell::default(),
            fills_left: Cell::new(PIECES_MAX),
            blocks_left: Cell::new(BLOCKS_MAX),
            is_exhausted: Cell::new(false),
        }
    }

    fn take(&self, left: &Cell<u32>) -> Option<()> {
        let rest = left.get().checked_sub(1);
        match rest {
            Some(rest) => left.set(rest),
            None => self.is_exhausted.set(true),
        }
        rest.map(drop)
    }

    fn read(&self, number: u64) -> Option<Block> {
        self.take(&self.blocks_left)?;
        let mut bytes = Box::new([0; BLOCK_BYTES]);
        let length = self.file.read_at(bytes.as_mut_slice(), number.checked_mul(BLOCK_BYTES as u64)?).ok()?;
        Some(Block { number, bytes, length })
    }
}

impl<F: FileExt> Source for Pieces<'_, F> {
    fn fill(&self, offset: u64, buffer: &mut [u8]) -> Option<()> {
        self.take(&self.fills_left)?;
        let mut kept = self.kept.borrow_mut();
        let mut filled = 0;
        while filled < buffer.len() {
            let at = offset.checked_add(filled as u64)?;
            let (number, within) = (at / BLOCK_BYTES as u64, usize::try_from(at % BLOCK_BYTES as u64).ok()?);
            let place = &mut kept[usize::try_from(number % BLOCKS_KEPT as u64).ok()?];
            if place.as_ref().is_none_or(|block| block.number != number) {
                *place = Some(self.read(number)?);
            }
            let block = place.as_ref()?;
            let bytes = block.bytes.get(within..block.length).filter(|bytes| !bytes.is_empty())?;
            let count = bytes.len().min(buffer.len() - filled);
            buffer[filled..filled + count].copy_from_slice(&bytes[..count]);
            filled += count;
        }
        Some(())
    }

    fn is_exhausted(&self) -> bool {
        self.is_exhausted.get()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    #[test]
    fn pieces_are_the_bytes_of_the_file_wherever_they_begin_and_end() {
        let bytes: Vec<u8> = (0..3 * BLOCK_BYTES + 100).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let file = file(&bytes);
        let pieces = Pieces::of(&file);
        for (offset, length) in [(0, 64), (4090, 20), (4096, 4096), (10, 9000), (3 * BLOCK_BYTES, 100), (5, 0)] {
            let mut buffer = vec![0; length];
            pieces.fill(offset as u64, &mut buffer).unwrap();
            assert_eq!(buffer, bytes[offset..offset + length]);
        }
        for offset in [bytes.len() as u64 - 3, bytes.len() as u64, 1 << 40, u64::MAX] {
            assert_eq!(pieces.fill(offset, &mut [0; 4]), None, "{offset}");
        }
        assert!(!pieces.is_exhausted());
    }

    #[test]
    fn no_more_than_the_limits_is_read() {
        let file = file(b"");
        file.set_len(1 << 40).unwrap();
        let blocks = Pieces::of(&file);
        let read = (0..u64::MAX).map_while(|number| blocks.fill(number << 20, &mut [0; 8])).count();
        assert_eq!((read, blocks.is_exhausted()), (BLOCKS_MAX as usize, true));
        let pieces = Pieces::of(&file);
        let read = (0..u64::MAX).map_while(|_| pieces.fill(8, &mut [0; 8])).count();
        assert_eq!((read, pieces.is_exhausted()), (PIECES_MAX as usize, true));
    }
}
