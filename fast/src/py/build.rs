//! The Python face of [`crate::build`].

use pyo3::prelude::*;

/// What this binary is, in one line: version, profile, target, interface.
#[pyfunction]
#[pyo3(text_signature = "()")]
pub fn build_info() -> String {
    crate::build::info()
}
