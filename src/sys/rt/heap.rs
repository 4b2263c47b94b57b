//! An allocator for a program that lives for milliseconds: `docs/decisions/own-heap.md`.
//!
//! Most runs fit into the arena, which is part of the program, and ask the kernel for no memory.
//! Freed blocks are kept in lists by size and reused for the same size, so that a long run does not
//! grow. Large free blocks are cut up into small ones: their pages are mapped already, and a fault
//! on a new page costs more than anything this allocator does.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::UnsafeCell;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

/// The size of the arena. Pages of it that are never touched cost nothing.
const ARENA: usize = 128 << 10;
/// The size of the mappings that follow when the arena is full.
const CHUNK: usize = 256 << 10;
/// Larger blocks get a mapping of their own.
const LARGEST: usize = 32 << 10;
const PAGE: usize = 4 << 10;
/// The granularity of small sizes, and the alignment of each block.
const UNIT: usize = 16;
/// Sizes up to this one are multiples of the unit. Larger ones are powers of two.
const SMALL: usize = 1 << 10;
const LISTS: usize = SMALL / UNIT + (LARGEST / SMALL).ilog2() as usize;
/// Free blocks of at least this size are cut up into small ones. Blocks of a page are kept whole,
/// because reading files uses them again and again.
const CUT: usize = 8 << 10;

/// The heap. A program has one, as a `static`.
#[repr(C)]
pub struct Heap {
    busy: AtomicBool,
    state: UnsafeCell<State>,
    arena: Arena,
}

/// Aligned as a block, not as a page, so that it begins on the page that holds the state.
#[repr(align(16))]
struct Arena(UnsafeCell<[u8; ARENA]>);

struct State {
    /// The start of the next new block, and the bytes left from there.
    next: *mut u8,
    left: usize,
    /// The rest of the free block that is being cut up.
    cut: *mut u8,
    cut_left: usize,
    started: bool,
    /// The first free block of each size. Each free block begins with the address of the next one.
    free: [*mut u8; LISTS],
}

// SAFETY: `busy` lets one thread at a time access the state and the arena.
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
        // SAFETY: only the thread that has set `busy` gets here.
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
            // The rest of the old chunk stays unused.
            self.next = map(CHUNK);
            self.left = CHUNK;
        }
        let block = self.next;
        // SAFETY: at least `size.bytes` are left.
        self.next = unsafe { block.add(size.bytes) };
        self.left -= size.bytes;
        block
    }

    /// Takes a free block from a list. Null if the list is empty.
    fn take_free(&mut self, list: usize) -> *mut u8 {
        let free = self.free[list];
        if !free.is_null() {
            // SAFETY: a free block begins with the address of the next one.
            self.free[list] = unsafe { free.cast::<*mut u8>().read() };
        }
        free
    }

    /// Cuts a small block out of a free large one. Null if there is none.
    fn take_piece(&mut self, size: Size) -> *mut u8 {
        if size.bytes > SMALL {
            return ptr::null_mut();
        }
        if self.cut_left < size.bytes {
            let large = (large_list(CUT)..LISTS).find(|list| !self.free[*list].is_null());
            let Some(list) = large else {
                return ptr::null_mut();
            };
            // The rest of the previous one, less than a small block, stays unused.
            self.cut = self.take_free(list);
            self.cut_left = CUT << (list - large_list(CUT));
        }
        let piece = self.cut;
        // SAFETY: at least `size.bytes` are left.
        self.cut = unsafe { piece.add(size.bytes) };
        self.cut_left -= size.bytes;
        piece
    }

    /// Puts `block`, which has the given size and is in no list, into its list.
    fn give(&mut self, block: *mut u8, size: Size) {
        // SAFETY: a block has room for an address and is aligned for it.
        unsafe { block.cast::<*mut u8>().write(self.free[size.list]) };
        self.free[size.list] = block;
    }

    /// Resizes `block` in place if it is the newest block. Returns false otherwise, and also if a
    /// block of the new size is free, because such blocks would pile up.
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
    /// `None` if the block gets a mapping of its own.
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

/// The list for a large size, which is a power of two.
const fn large_list(bytes: usize) -> usize {
    SMALL / UNIT - 1 + (bytes / SMALL).ilog2() as usize
}

/// mmap(2). Exits if there is no memory. The library's reaction would be abort(3), which ends the
/// process by a signal, and init, the first process of its namespace, would not even get that
/// signal.
fn map(bytes: usize) -> *mut u8 {
    let (access, kind) = (
        libc::PROT_READ | libc::PROT_WRITE,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
    );
    // SAFETY: a new mapping touches no other one.
    let mapped = unsafe { libc::mmap(ptr::null_mut(), bytes, access, kind, -1, 0) };
    if mapped == libc::MAP_FAILED {
        out_of_memory();
    }
    mapped.cast()
}

/// Writes the error to standard error. The log would need memory.
#[cold]
fn out_of_memory() -> ! {
    let reason = nix::errno::Errno::last().desc().as_bytes();
    for part in [b"sampan: out of memory: mmap: ", reason, b"\n"] {
        // SAFETY: the part is readable for its length.
        unsafe { libc::write(2, part.as_ptr().cast(), part.len()) };
    }
    crate::sys::process::exit(1)
}

// SAFETY: blocks do not overlap: each is cut from memory that is in use nowhere else, or taken from
// a list. They are at least as large as requested. They are aligned to the unit, because the arena,
// the chunks and all sizes are; a block with a larger alignment, up to a page, gets a mapping of
// its own.
// The functions are not inlined: the compiler would copy them into thousands of callers.
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
        // SAFETY: the caller guarantees it.
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
            // SAFETY: the mapping holds this block only. If munmap(2) fails, the mapping stays.
            None => drop(unsafe { libc::munmap(block.cast(), layout.size()) }),
        }
    }

    #[inline(never)]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        // SAFETY: the caller guarantees the size, and the alignment comes from a valid layout.
        let new = unsafe { Layout::from_size_align_unchecked(bytes, layout.align()) };
        if let (Some(old), Some(size)) = (Size::of(layout), Size::of(new))
            && (old.list == size.list || self.locked(|state| state.resize(block, old, size)))
        {
            return block;
        }
        // SAFETY: the layout is valid, both blocks have room for the copied bytes, and the caller
        // passes ownership of the old one.
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
mod tests;
