//! The atomics of the cores: the standard ones, or loom's where it tries every order in which threads may meet.

#[cfg(not(all(loom, test)))]
pub use std::sync::{
    atomic::{AtomicU64, Ordering},
    Mutex,
};

#[cfg(all(loom, test))]
pub use loom::sync::{
    atomic::{AtomicU64, Ordering},
    Mutex,
};
