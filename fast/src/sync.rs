//! The atomics of the cores: the standard ones, or loom's where it tries every order in which threads may meet.

#[cfg(not(all(loom, test)))]
pub use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

#[cfg(all(loom, test))]
pub use loom::sync::atomic::{AtomicI64, AtomicU64, Ordering};
