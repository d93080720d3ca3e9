//! The Python faces: convert, call the core, map errors. One file per core.

pub mod build;
