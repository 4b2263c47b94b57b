//! The program's allocator: blocks are aligned, do not overlap and keep their content.
//!
//! Input is a list of operations of four bytes.

use std::alloc::{GlobalAlloc, Layout};

use sampan::sys::rt::heap::Heap;

use crate::{Form, Target};

/// See the module.
pub const TARGET: Target = Target {
    name: "heap",
    run,
    seeds,
    form: Form::Bytes,
    words: "",
    longest: 512,
    changes: 8_000,
};

/// One heap for all inputs, as in the program: blocks that one input frees are reused by the next.
static HEAP: Heap = Heap::new();

fn seeds() -> Vec<Vec<u8>> {
    let mixed = |factor: usize| {
        let byte = |at: usize| ((at * factor) >> 2) as u8;
        (0..256).map(byte).collect()
    };
    vec![vec![0; 64], mixed(7), mixed(37), mixed(101)]
}

struct Block {
    start: *mut u8,
    layout: Layout,
    /// The value of each byte of the block.
    fill: u8,
}

impl Block {
    fn new(start: *mut u8, layout: Layout, fill: u8) -> Self {
        assert!(start.addr().is_multiple_of(layout.align()), "{layout:?}");
        // SAFETY: the caller owns the block, which is as large as its layout.
        unsafe { start.write_bytes(fill, layout.size()) };
        Self {
            start,
            layout,
            fill,
        }
    }

    fn check(&self, length: usize) {
        // SAFETY: the block was written from end to end, and nothing else uses it.
        let bytes = unsafe { std::slice::from_raw_parts(self.start, length) };
        // The first byte must be right, and each other byte equal to the previous one. That is one
        // long comparison without a branch for each byte.
        let same = bytes[..length - 1] == bytes[1..];
        let whole = same && bytes[0] == self.fill;
        assert!(whole, "{:?} was written to by another", self.layout);
    }

    fn free(self) {
        self.check(self.layout.size());
        // SAFETY: the block has this layout, and nothing uses it afterwards.
        unsafe { HEAP.dealloc(self.start, self.layout) };
    }
}

/// Sizes around the limits of the heap's lists, and above all of them.
fn size(kind: u8, more: u8) -> usize {
    let base = [0, 16, 256, 1 << 10, 2 << 10, 8 << 10, 32 << 10, 33 << 10];
    let size = base[usize::from(kind % 8)] + usize::from(more);
    size.max(1)
}

fn run(data: &[u8]) {
    let mut blocks: Vec<Block> = Vec::new();
    for (turn, operation) in data.chunks_exact(4).enumerate() {
        let &[what, kind, more, which] = operation else {
            continue;
        };
        let align = 1 << (which % 13);
        let layout = Layout::from_size_align(size(kind, more), align).expect("a small layout");
        let at = usize::from(which) % blocks.len().max(1);
        let fill = turn as u8 ^ 0x5a;
        match what % 8 {
            0..3 => {
                // SAFETY: no layout here is empty.
                let start = unsafe { HEAP.alloc(layout) };
                assert!(!start.is_null(), "{layout:?}");
                blocks.push(Block::new(start, layout, fill));
            }
            3 => {
                // SAFETY: as above.
                let start = unsafe { HEAP.alloc_zeroed(layout) };
                assert!(!start.is_null(), "{layout:?}");
                let zero = Block {
                    start,
                    layout,
                    fill: 0,
                };
                zero.check(layout.size());
                blocks.push(Block::new(start, layout, fill));
            }
            4 | 5 if !blocks.is_empty() => {
                let block = blocks.swap_remove(at);
                block.check(block.layout.size());
                let new = size(kind, more);
                // SAFETY: the block has this layout and is replaced by the result.
                let start = unsafe { HEAP.realloc(block.start, block.layout, new) };
                assert!(!start.is_null(), "{:?} to {new}", block.layout);
                let kept = block.layout.size().min(new);
                Block { start, ..block }.check(kept);
                let layout = Layout::from_size_align(new, block.layout.align());
                blocks.push(Block::new(start, layout.expect("a small layout"), fill));
            }
            _ if !blocks.is_empty() => blocks.swap_remove(at).free(),
            _ => {}
        }
    }
    blocks.into_iter().for_each(Block::free);
}
