//! An allocator that counts what one thread holds, so that a parser's appetite can be bounded.
#![allow(
    unsafe_code,
    reason = "an allocator is an unsafe trait; every call is handed on to the system's as it came"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    // Initialised in place: an initialiser that allocates would come back here.
    static HELD: Cell<usize> = const { Cell::new(0) };
    static MOST: Cell<usize> = const { Cell::new(0) };
}

/// Counts for [`peak`].
pub struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

fn add(bytes: usize) {
    HELD.set(HELD.get().wrapping_add(bytes));
    // What was allocated before the count began may be freed within it, and the count is then below zero.
    if HELD.get().cast_signed() > MOST.get().cast_signed() {
        MOST.set(HELD.get());
    }
}

fn take(bytes: usize) {
    HELD.set(HELD.get().wrapping_sub(bytes));
}

// SAFETY: every pointer and layout is the system allocator's; what is added is arithmetic on two thread-local cells
// without destructors, which never allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: the caller's promises are the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: the caller's promises are the system's.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        take(layout.size());
        // SAFETY: the pointer came from the system with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both exist while one is copied into the other.
        add(size);
        take(layout.size());
        // SAFETY: the pointer came from the system with this layout.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// Runs `act`; the most bytes that this thread held at once on top of what it held before.
pub fn peak(act: impl FnOnce()) -> usize {
    HELD.set(0);
    MOST.set(0);
    act();
    MOST.get()
}
