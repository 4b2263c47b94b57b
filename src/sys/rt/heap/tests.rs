//! Blocks do not overlap, keep their content, and are reused. scripts/test also runs these tests
//! under Miri, which reports every access that violates Rust's rules.

use super::*;

/// A heap with an arena of its own.
fn heap() -> &'static Heap {
    Box::leak(Box::new(Heap::new()))
}

fn layout(size: usize) -> Layout {
    Layout::from_size_align(size, 8).expect("a layout")
}

/// Takes a block and fills it with `byte`.
fn filled(heap: &Heap, size: usize, byte: u8) -> *mut u8 {
    // SAFETY: the block has the requested size.
    unsafe {
        let block = heap.alloc(layout(size));
        assert!(
            !block.is_null() && block.addr().is_multiple_of(UNIT),
            "{size}"
        );
        block.write_bytes(byte, size);
        block
    }
}

fn is_filled(block: *mut u8, size: usize, byte: u8) -> bool {
    // SAFETY: the callers pass blocks of this size that they have written.
    let bytes = unsafe { std::slice::from_raw_parts(block, size) };
    // memcmp(3) is one step for Miri.
    bytes == vec![byte; size]
}

const SIZES: [usize; 14] = [
    1, 8, 16, 17, 100, 1023, 1024, 1025, 2048, 2049, 5000, 32768, 32769, 70_000,
];

/// The number of repetitions. Miri is a thousand times slower than a processor.
const fn times(count: usize) -> usize {
    if cfg!(miri) {
        count.div_ceil(100)
    } else {
        count
    }
}

#[test]
fn blocks_of_all_sizes_keep_what_is_in_them() {
    let heap = heap();
    let mut blocks = Vec::new();
    for round in 0..times(200) {
        for size in SIZES {
            let byte = blocks.len() as u8;
            blocks.push((filled(heap, size, byte), size, byte));
        }
        // Every third block is freed, and the next one takes its place.
        if round % 2 == 1 {
            let mut at = 0_u32;
            blocks.retain(|(block, size, _)| {
                at += 1;
                if at.is_multiple_of(3) {
                    // SAFETY: the block has this layout, and nothing uses it afterwards.
                    unsafe { heap.dealloc(*block, layout(*size)) };
                }
                !at.is_multiple_of(3)
            });
        }
    }
    for (block, size, byte) in blocks {
        assert!(is_filled(block, size, byte), "{size}");
    }
}

#[test]
fn a_block_keeps_its_content_when_it_grows_and_shrinks() {
    for neighbour in [false, true] {
        let heap = heap();
        let (mut block, mut size) = (filled(heap, 1, 7), 1);
        for next in SIZES.into_iter().chain(SIZES.into_iter().rev()) {
            if neighbour {
                filled(heap, 40, 9);
            }
            // SAFETY: the block has this layout, and the new size is not zero.
            unsafe {
                block = heap.realloc(block, layout(size), next);
                assert!(!block.is_null());
                assert!(is_filled(block, size.min(next), 7), "{size} to {next}");
                block.write_bytes(7, next);
            }
            size = next;
        }
    }
}

#[test]
fn the_newest_block_grows_in_place_as_long_as_the_chunk_has_room() {
    // The arena has room for four of the largest blocks. These are two and a half, three, and
    // slightly more.
    for (rest, has_room) in [
        (&[LARGEST / 2][..], true),
        (&[LARGEST], true),
        (&[LARGEST, UNIT], false),
    ] {
        let heap = heap();
        for size in [LARGEST, LARGEST].iter().chain(rest) {
            filled(heap, *size, 1);
        }
        let newest = filled(heap, LARGEST / 2, 3);
        // SAFETY: the block has this layout.
        let grown = unsafe { heap.realloc(newest, layout(LARGEST / 2), LARGEST) };
        assert_eq!(grown == newest, has_room);
        assert!(is_filled(grown, LARGEST / 2, 3));
    }
}

#[test]
fn what_is_given_back_is_used_again() {
    let heap = heap();
    let round = || {
        for size in SIZES {
            let block = filled(heap, size, 1);
            // SAFETY: the blocks have these layouts; the first one has grown to the second.
            unsafe {
                let block = heap.realloc(block, layout(size), size * 3);
                let newer = filled(heap, size / 2 + 1, 2);
                heap.dealloc(block, layout(size * 3));
                heap.dealloc(newer, layout(size / 2 + 1));
            }
        }
        // SAFETY: no other thread uses this heap.
        unsafe { ((*heap.state.get()).next, (*heap.state.get()).left) }
    };
    (0..10).for_each(|_| {
        round();
    });
    let settled = round();
    for _ in 0..times(1000) {
        assert_eq!(round(), settled);
    }
}

#[test]
fn large_blocks_become_small_ones() {
    let heap = heap();
    let large = filled(heap, 4 * CUT, 1);
    // SAFETY: the block has this layout.
    unsafe { heap.dealloc(large, layout(4 * CUT)) };
    let small: Vec<_> = (0..4 * CUT / SMALL)
        .map(|index| filled(heap, SMALL, index as u8))
        .collect();
    for (index, block) in small.into_iter().enumerate() {
        assert_eq!(block, large.wrapping_add(index * SMALL));
        assert!(is_filled(block, SMALL, index as u8), "{index}");
    }
    let outside = filled(heap, 16, 9);
    assert!(!(large..large.wrapping_add(4 * CUT)).contains(&outside));
}

#[test]
fn zeroed_blocks_are_zero_and_alignment_is_kept() {
    let heap = heap();
    for size in SIZES {
        let used = filled(heap, size, 0xff);
        // SAFETY: the blocks have these layouts.
        unsafe {
            heap.dealloc(used, layout(size));
            assert!(
                is_filled(heap.alloc_zeroed(layout(size)), size, 0),
                "{size}"
            );
            let aligned = Layout::from_size_align(size, 64).expect("a layout");
            assert_eq!(heap.alloc(aligned).addr() % 64, 0);
        }
    }
    let aligned = Layout::from_size_align(8, 2 * PAGE).expect("a layout");
    // SAFETY: the layout has a size.
    assert!(unsafe { heap.alloc(aligned) }.is_null());
}

/// A block of the random walk.
struct Block {
    start: *mut u8,
    layout: Layout,
    byte: u8,
}

impl Block {
    fn range(&self) -> std::ops::Range<usize> {
        self.start.addr()..self.start.addr() + self.layout.size()
    }

    /// Panics unless the block is aligned, does not overlap `others`, and holds what was written to
    /// it.
    fn check(&self, others: &[Self]) {
        let range = self.range();
        assert!(range.start.is_multiple_of(self.layout.align()));
        for other in others.iter().map(Self::range) {
            assert!(range.end <= other.start || other.end <= range.start);
        }
        assert!(is_filled(self.start, self.layout.size(), self.byte));
    }
}

/// Pseudo-random numbers, the same in every run. Source: Marsaglia, Xorshift RNGs.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }

    /// Small sizes are as likely as large ones.
    fn layout(&mut self) -> Layout {
        let most = 1 << self.below(17);
        let aligns = if self.below(8) == 0 { 13 } else { 5 };
        let align = 1 << self.below(aligns);
        Layout::from_size_align(1 + self.below(most), align).expect("a layout")
    }
}

#[test]
fn a_random_walk_finds_every_block_as_it_left_it() {
    let heap = heap();
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let mut blocks: Vec<Block> = Vec::new();
    for step in 0..times(10_000) {
        let byte = step as u8;
        // The number of blocks grows and shrinks in turns.
        let grows = blocks.is_empty() || numbers.below(100) < 30 + step / 50 % 30;
        let mut block = if grows {
            let layout = numbers.layout();
            // SAFETY: the layout has a size, and the block has that many bytes.
            let start = unsafe {
                if numbers.below(4) == 0 {
                    let start = heap.alloc_zeroed(layout);
                    assert!(is_filled(start, layout.size(), 0));
                    start
                } else {
                    heap.alloc(layout)
                }
            };
            Block {
                start,
                layout,
                byte,
            }
        } else {
            blocks.swap_remove(numbers.below(blocks.len()))
        };
        if !grows {
            block.check(&blocks);
            if numbers.below(3) > 0 {
                // SAFETY: the block has this layout, and nothing uses it afterwards.
                unsafe { heap.dealloc(block.start, block.layout) };
                continue;
            }
            let size = numbers.layout().size();
            let kept = size.min(block.layout.size());
            // SAFETY: the block has this layout, and the new size is not zero.
            block.start = unsafe { heap.realloc(block.start, block.layout, size) };
            assert!(is_filled(block.start, kept, block.byte));
            let layout = Layout::from_size_align(size, block.layout.align());
            block.layout = layout.expect("a layout");
            block.byte = byte;
        }
        // SAFETY: the block is as large as its layout says.
        unsafe { block.start.write_bytes(block.byte, block.layout.size()) };
        block.check(&blocks);
        blocks.push(block);
    }
    while let Some(block) = blocks.pop() {
        block.check(&blocks);
        // SAFETY: the block has this layout, and nothing uses it afterwards.
        unsafe { heap.dealloc(block.start, block.layout) };
    }
}

#[test]
fn threads_take_turns() {
    let heap = heap();
    std::thread::scope(|scope| {
        for byte in 0..4 {
            scope.spawn(move || {
                for _ in 0..times(2000) {
                    let block = filled(heap, 24, byte);
                    assert!(is_filled(block, 24, byte));
                    // SAFETY: the block has this layout.
                    unsafe { heap.dealloc(block, layout(24)) };
                }
            });
        }
    });
}
