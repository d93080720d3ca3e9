//! A ring's lane as Python sees it: a sequence that can be looked at, and changed from outside as a deque can.

use pyo3::exceptions::PyIndexError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use super::ring::Ring;
use crate::ring::signed;

/// One lane of a ring. Always up to date, since it holds nothing itself.
#[pyclass(frozen, module = "meridian_fast")]
pub struct Lane {
    ring: Py<Ring>,
    control: bool,
}

impl Lane {
    /// The control lane of `ring`, or its data.
    pub fn new(ring: Py<Ring>, control: bool) -> Self {
        Self { ring, control }
    }

    fn with<R>(&self, py: Python<'_>, f: impl FnOnce(&mut std::collections::VecDeque<Py<PyAny>>) -> R) -> R {
        self.ring
            .get()
            .core
            .with(py, |core| f(if self.control { &mut core.control } else { &mut core.items }))
    }

    fn copy(&self, py: Python<'_>) -> Vec<Py<PyAny>> {
        self.with(py, |lane| lane.iter().map(|item| item.clone_ref(py)).collect())
    }
}

#[pymethods]
impl Lane {
    fn __len__(&self, py: Python<'_>) -> usize {
        self.with(py, |lane| lane.len())
    }

    fn __iter__(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(self.copy(py).into_pyobject(py)?.try_iter()?.into_any().unbind())
    }

    fn __getitem__(&self, py: Python<'_>, index: isize) -> PyResult<Py<PyAny>> {
        self.with(py, |lane| {
            let at = if index < 0 { index + signed(lane.len()) } else { index };
            usize::try_from(at).ok().and_then(|at| lane.get(at)).map(|item| item.clone_ref(py))
        })
        .ok_or_else(|| PyIndexError::new_err("deque index out of range"))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.ring)
    }
}
