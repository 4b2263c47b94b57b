//! The allocator of a program that lives for milliseconds.
//!
//! Most runs need less memory than comes with the program, so they ask the kernel for none. Freed
//! blocks wait in lists by size for the next one of that size, so that a long run does not grow. Large
//! ones that nobody wants are cut up: their pages are there already, and a new one costs more than
//! all else here.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::UnsafeCell;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

/// What comes with the program: pages that are not touched cost nothing.
const ARENA: usize = 128 << 10;
/// What the kernel is asked for when that is used up.
const CHUNK: usize = 256 << 10;
/// Blocks above have a mapping each.
const LARGEST: usize = 32 << 10;
const PAGE: usize = 4 << 10;
/// The unit of small sizes, and the alignment of each block.
const UNIT: usize = 16;
/// Up to here sizes are multiples of the unit; above they are powers of two.
const SMALL: usize = 1 << 10;
const LISTS: usize = SMALL / UNIT + (LARGEST / SMALL).ilog2() as usize;
/// Free blocks from here on are cut up into small ones. Those of a page serve for reading files.
const CUT: usize = 8 << 10;

/// The heap. There is to be one, as a `static`.
#[repr(C)]
pub struct Heap {
    busy: AtomicBool,
    state: UnsafeCell<State>,
    arena: Arena,
}

/// Aligned as a block and no more, so that it begins on the page of the state.
#[repr(align(16))]
struct Arena(UnsafeCell<[u8; ARENA]>);

struct State {
    /// Where the next new block begins, and how much is left there.
    next: *mut u8,
    left: usize,
    /// What is left of the free block that is being cut up.
    cut: *mut u8,
    cut_left: usize,
    started: bool,
    /// The first free block of each size; each begins with the address of the next.
    free: [*mut u8; LISTS],
}

// SAFETY: `busy` lets one thread at a time reach the state and the arena.
unsafe impl Sync for Heap {}

impl Heap {
    /// An empty heap.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            busy: AtomicBool::new(false),
            state: UnsafeCell::new(State {
                next: ptr::null_mut(),
                left: 0,
                cut: ptr::null_mut(),
                cut_left: 0,
                started: false,
                free: [ptr::null_mut(); LISTS],
            }),
            arena: Arena(UnsafeCell::new([0; ARENA])),
        }
    }

    fn locked<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        while self.busy.swap(true, Ordering::Acquire) {
            std::hint::spin_loop();
        }
        // SAFETY: whoever has set `busy` is the only one here.
        let state = unsafe { &mut *self.state.get() };
        if !state.started {
            state.started = true;
            state.next = self.arena.0.get().cast();
            state.left = ARENA;
        }
        let done = work(state);
        self.busy.store(false, Ordering::Release);
        done
    }
}

impl Default for Heap {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    fn take(&mut self, size: Size) -> *mut u8 {
        let free = self.take_free(size.list);
        if !free.is_null() {
            return free;
        }
        let piece = self.take_piece(size);
        if !piece.is_null() {
            return piece;
        }
        if self.left < size.bytes {
            // The rest of the old chunk is given up.
            self.next = map(CHUNK);
            self.left = if self.next.is_null() { 0 } else { CHUNK };
        }
        if self.left < size.bytes {
            return ptr::null_mut();
        }
        let block = self.next;
        // SAFETY: at least that much is left.
        self.next = unsafe { block.add(size.bytes) };
        self.left -= size.bytes;
        block
    }

    /// A free block from a list; null if it is empty.
    fn take_free(&mut self, list: usize) -> *mut u8 {
        let free = self.free[list];
        if !free.is_null() {
            // SAFETY: a free block begins with the address of the next one.
            self.free[list] = unsafe { free.cast::<*mut u8>().read() };
        }
        free
    }

    /// A small block out of a free large one; null if there is none.
    fn take_piece(&mut self, size: Size) -> *mut u8 {
        if size.bytes > SMALL {
            return ptr::null_mut();
        }
        if self.cut_left < size.bytes {
            let large = (large_list(CUT)..LISTS).find(|list| !self.free[*list].is_null());
            let Some(list) = large else {
                return ptr::null_mut();
            };
            // The rest of the old one, less than a small block, is given up.
            self.cut = self.take_free(list);
            self.cut_left = CUT << (list - large_list(CUT));
        }
        let piece = self.cut;
        // SAFETY: at least that much is left.
        self.cut = unsafe { piece.add(size.bytes) };
        self.cut_left -= size.bytes;
        piece
    }

    /// `block` has the given size and is in no list.
    fn give(&mut self, block: *mut u8, size: Size) {
        // SAFETY: a block has room for an address and is aligned for it.
        unsafe { block.cast::<*mut u8>().write(self.free[size.list]) };
        self.free[size.list] = block;
    }

    /// Whether `block` could be made larger or smaller where it is, as the newest of all. Not while
    /// one of the new size is free: those would pile up.
    fn resize(&mut self, block: *mut u8, old: Size, new: Size) -> bool {
        let newest = block.wrapping_add(old.bytes) == self.next;
        let fits = new.bytes <= self.left + old.bytes;
        if !newest || !fits || !self.free[new.list].is_null() {
            return false;
        }
        self.next = block.wrapping_add(new.bytes);
        self.left = self.left + old.bytes - new.bytes;
        true
    }
}

/// The size of a block, and the list for it.
#[derive(Clone, Copy)]
struct Size {
    bytes: usize,
    list: usize,
}

impl Size {
    /// Nothing for what gets a mapping.
    fn of(layout: Layout) -> Option<Self> {
        let bytes = layout.size();
        if bytes > LARGEST || layout.align() > UNIT {
            None
        } else if bytes <= SMALL {
            let units = bytes.max(1).div_ceil(UNIT);
            Some(Self {
                bytes: units * UNIT,
                list: units - 1,
            })
        } else {
            let bytes = bytes.next_power_of_two();
            Some(Self {
                bytes,
                list: large_list(bytes),
            })
        }
    }
}

/// The list of a size that is a power of two and above the small ones.
const fn large_list(bytes: usize) -> usize {
    SMALL / UNIT - 1 + (bytes / SMALL).ilog2() as usize
}

/// mmap(2); null on failure.
fn map(bytes: usize) -> *mut u8 {
    let (access, kind) = (
        libc::PROT_READ | libc::PROT_WRITE,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
    );
    // SAFETY: a new mapping touches no other one.
    let mapped = unsafe { libc::mmap(ptr::null_mut(), bytes, access, kind, -1, 0) };
    if mapped == libc::MAP_FAILED {
        return ptr::null_mut();
    }
    mapped.cast()
}

// SAFETY: blocks do not overlap: each is cut from memory that no other one has, or comes from a
// list that it leaves. They are as large as asked for. A block is aligned to the unit, because the
// arena, the chunks and all sizes are; what needs more, up to a page, has a mapping of its own.
// Out of line: the compiler would copy them to each of thousands of places.
unsafe impl GlobalAlloc for Heap {
    #[inline(never)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match Size::of(layout) {
            Some(size) => self.locked(|state| state.take(size)),
            None if layout.align() > PAGE => ptr::null_mut(),
            None => map(layout.size()),
        }
    }

    #[inline(never)]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller has it.
        let block = unsafe { self.alloc(layout) };
        // New mappings are zero.
        if !block.is_null() && Size::of(layout).is_some() {
            // SAFETY: the block has this size.
            unsafe { block.write_bytes(0, layout.size()) };
        }
        block
    }

    #[inline(never)]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match Size::of(layout) {
            Some(size) => self.locked(|state| state.give(block, size)),
            // SAFETY: the mapping was made for this block alone. A failure leaves it in place.
            None => drop(unsafe { libc::munmap(block.cast(), layout.size()) }),
        }
    }

    #[inline(never)]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        // SAFETY: the caller has made sure of the size, and the alignment comes from a layout.
        let new = unsafe { Layout::from_size_align_unchecked(bytes, layout.align()) };
        if let (Some(old), Some(size)) = (Size::of(layout), Size::of(new))
            && (old.list == size.list || self.locked(|state| state.resize(block, old, size)))
        {
            return block;
        }
        // SAFETY: the layout is valid; both blocks have room for what is copied, and the old one
        // is the caller's to give up.
        unsafe {
            let moved = self.alloc(new);
            if !moved.is_null() {
                block.copy_to_nonoverlapping(moved, bytes.min(layout.size()));
                self.dealloc(block, layout);
            }
            moved
        }
    }
}

#[cfg(test)]
mod tests {
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
        // SAFETY: the block is as large as asked for.
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
        // SAFETY: the callers give blocks of this size that they have written.
        let bytes = unsafe { std::slice::from_raw_parts(block, size) };
        bytes.iter().all(|found| *found == byte)
    }

    const SIZES: [usize; 14] = [
        1, 8, 16, 17, 100, 1023, 1024, 1025, 2048, 2049, 5000, 32768, 32769, 300_000,
    ];

    #[test]
    fn blocks_of_all_sizes_keep_what_is_in_them() {
        let heap = heap();
        let mut blocks = Vec::new();
        for round in 0..20 {
            for size in SIZES {
                let byte = blocks.len() as u8;
                blocks.push((filled(heap, size, byte), size, byte));
            }
            // Every third one is given back, and what comes next is put in its place.
            if round % 2 == 1 {
                let mut at = 0_u32;
                blocks.retain(|(block, size, _)| {
                    at += 1;
                    if at.is_multiple_of(3) {
                        // SAFETY: the block has this layout and is forgotten.
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
    fn what_is_given_back_is_used_again() {
        let heap = heap();
        let round = || {
            for size in SIZES {
                let block = filled(heap, size, 1);
                // SAFETY: the blocks have these layouts, the first one the second after its growth.
                unsafe {
                    let block = heap.realloc(block, layout(size), size * 3);
                    let newer = filled(heap, size / 2 + 1, 2);
                    heap.dealloc(block, layout(size * 3));
                    heap.dealloc(newer, layout(size / 2 + 1));
                }
            }
            // SAFETY: no other thread has this heap.
            unsafe { ((*heap.state.get()).next, (*heap.state.get()).left) }
        };
        (0..10).for_each(|_| {
            round();
        });
        let settled = round();
        for _ in 0..1000 {
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

    #[test]
    fn threads_take_turns() {
        let heap = heap();
        std::thread::scope(|scope| {
            for byte in 0..4 {
                scope.spawn(move || {
                    for _ in 0..2000 {
                        let block = filled(heap, 24, byte);
                        assert!(is_filled(block, 24, byte));
                        // SAFETY: the block has this layout.
                        unsafe { heap.dealloc(block, layout(24)) };
                    }
                });
            }
        });
    }
}
