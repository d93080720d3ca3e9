//! What is left of the batch in hand, as an iterator that others may empty.

use std::collections::VecDeque;

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use super::cell::GilCell;

/// The messages of a slice that its handler hasn't seen yet. An emit that has to park something ends the batch by emptying it.
#[pyclass(frozen, module = "meridian_fast")]
#[derive(Default)]
pub struct Batch(GilCell<VecDeque<Py<PyAny>>>);

impl Batch {
    /// A batch of these items.
    pub fn new(items: Vec<Py<PyAny>>) -> Self {
        Self(GilCell::new(items.into()))
    }

    /// The next item.
    #[inline]
    pub fn pop(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.0.with(py, VecDeque::pop_front)
    }

    /// All that is left.
    pub fn rest(&self, py: Python<'_>) -> Vec<Py<PyAny>> {
        self.0.with(py, std::mem::take).into()
    }
}

#[pymethods]
impl Batch {
    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.pop(py)
    }

    fn __length_hint__(&self, py: Python<'_>) -> usize {
        self.0.with(py, |items| items.len())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.0.try_with(|items| items.iter().try_for_each(|item| visit.call(item))).unwrap_or(Ok(()))
    }

    fn __clear__(&self) {
        let items = self.0.try_with(std::mem::take);
        drop(items);
    }
}
