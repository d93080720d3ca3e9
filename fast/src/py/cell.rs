//! State of Python objects, guarded by the interpreter's lock.
//!
//! One rule makes it sound, and every use is a few lines in which it can be checked: while a cell is borrowed, no Python code
//! runs and no Python object is dropped, since either may come back to the same cell, or let another thread in.

use std::cell::{Cell, RefCell};

use pyo3::prelude::*;

/// State that is borrowed for a few instructions at a time.
#[derive(Debug, Default)]
pub struct GilCell<T>(RefCell<T>);

// SAFETY: every access needs a `Python` token, so it happens with the interpreter's lock held, and borrows end before the lock
// can be given away (the rule above). The module refuses interpreters without that lock (see `lib.rs`).
unsafe impl<T: Send> Sync for GilCell<T> {}

impl<T> GilCell<T> {
    /// A cell that holds `value`.
    pub const fn new(value: T) -> Self {
        Self(RefCell::new(value))
    }

    /// Lets `f` see and change the state. `f` must neither run Python code nor drop Python objects.
    #[inline]
    pub fn with<R>(&self, _py: Python<'_>, f: impl FnOnce(&mut T) -> R) -> R {
        f(&mut self.0.borrow_mut())
    }

    /// The same for the garbage collector, which has no token; `None` if the cell is borrowed at the moment.
    pub fn try_with<R>(&self, f: impl FnOnce(&mut T) -> R) -> Option<R> {
        self.0.try_borrow_mut().ok().map(|mut state| f(&mut state))
    }
}

/// A plain value.
#[derive(Debug, Default)]
pub struct GilValue<T: Copy>(Cell<T>);

// SAFETY: as for `GilCell`; a `Cell` is never borrowed at all.
unsafe impl<T: Copy + Send> Sync for GilValue<T> {}

impl<T: Copy> GilValue<T> {
    /// A cell that holds `value`.
    pub const fn new(value: T) -> Self {
        Self(Cell::new(value))
    }

    /// Reads it.
    #[inline]
    pub fn get(&self, _py: Python<'_>) -> T {
        self.0.get()
    }

    /// Writes it.
    #[inline]
    pub fn set(&self, _py: Python<'_>, value: T) {
        self.0.set(value);
    }
}
