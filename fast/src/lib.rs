//! The Rust engine of Meridian: the mirror of `meridian/engine/`, file by file.
//!
//! This file lists the modules and exports them; it holds no logic. Cores know nothing of Python and build with
//! `--no-default-features`; the Python faces are in [`py`], behind the feature `python`.

pub mod bucket;
pub mod build;
pub mod counters;
pub mod faults;
pub mod gate;
pub mod limits;
pub mod ready;
pub mod ring;
mod sync;

#[cfg(all(test, loom))]
mod models;
#[cfg(all(test, not(loom)))]
mod properties;

#[cfg(feature = "python")]
mod py;

#[cfg(feature = "python")]
#[pyo3::pymodule(gil_used = true)]
mod meridian_fast {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::py::build::build_info;
    #[pymodule_export]
    use crate::py::emit::Emit;
    #[pymodule_export]
    use crate::py::engine::Engine;
    #[pymodule_export]
    use crate::py::limits::{Budget, LimitedRing};
    #[pymodule_export]
    use crate::py::message::{bases, bind, derive, rewrap, wrap_as};
    #[pymodule_export]
    use crate::py::node::NodeCore;
    #[pymodule_export]
    use crate::py::ready::{ReadyQueue, Turn};
    #[pymodule_export]
    use crate::py::ring::Ring;
    #[pymodule_export]
    use crate::py::sweep::Sweep;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        #[cfg(feature = "faults")]
        crate::py::faults::add_to(module)?;
        module.add("__version__", crate::build::VERSION)
    }
}
