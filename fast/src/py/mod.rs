//! The Python faces: convert, call the core, map errors. One file per core, and what the kernel needs besides.

pub mod batch;
pub mod build;
pub mod call;
pub mod cell;
pub mod emit;
pub mod engine;
#[cfg(feature = "faults")]
pub mod faults;
pub mod gate;
pub mod lane;
pub mod limits;
pub mod message;
pub mod names;
pub mod node;
pub mod put;
pub mod ready;
pub mod ring;
pub mod slots;
pub mod step;
pub mod sweep;
pub mod transfer;
