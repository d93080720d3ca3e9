//! The Python face of [`crate::faults`], which exists with the feature `faults` only.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::faults::{seed, ALL};

/// Make the mistake of that name from now on, or none.
#[pyfunction]
#[pyo3(signature = (name))]
fn set_fault(name: Option<&str>) -> PyResult<()> {
    if seed(name) {
        return Ok(());
    }
    Err(PyValueError::new_err(format!("there is no fault {}", name.unwrap_or_default())))
}

/// All faults: by name, the rule that has to catch each.
#[pyfunction]
fn faults(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let rules = PyDict::new(py);
    for (_, name, rule) in ALL {
        rules.set_item(name, rule)?;
    }
    Ok(rules)
}

/// Adds both to the module.
///
/// # Errors
///
/// It takes no attributes.
pub fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(set_fault, module)?)?;
    module.add_function(wrap_pyfunction!(faults, module)?)
}
