//! The part of a node's record that every slice looks at.
//!
//! The record itself is a `meridian.engine.node.NodeState`, shared with the Python engine; `meridian.engine.native` lets these
//! few of its fields lie here, where a step reads them without asking Python.

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use super::cell::{GilCell, GilValue};

/// Fields of one node's record. See `meridian.engine.node.NodeState` for what they mean.
#[pyclass(frozen, module = "meridian_fast")]
pub struct NodeCore {
    /// Why the node must not run now, as bits.
    pub(super) held: GilValue<i64>,
    /// How many messages the running handler may emit on each port without asking for room.
    pub(super) quota: GilValue<i64>,
    /// A source that will produce nothing more.
    pub(super) closed: GilValue<bool>,
    /// What a source has produced.
    pub(super) produced: GilValue<i64>,
    /// Messages came to it, so its results may be envelopes, too.
    pub(super) enveloped: GilValue<bool>,
    /// Inputs that no data is taken from now.
    paused: GilCell<Option<Py<PyAny>>>,
    batch: GilCell<InHand>,
}

/// The batch in hand.
#[derive(Default)]
struct InHand {
    rest: Option<Py<PyAny>>,
    left: Option<Py<PyAny>>,
}

impl NodeCore {
    /// The inputs that no data is taken from now.
    #[inline]
    pub fn paused_now(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.paused.with(py, |paused| paused.as_ref().map(|paused| paused.clone_ref(py)))
    }

    /// Begins a batch: what is left of it can be asked for, and emptied.
    pub fn begin(&self, py: Python<'_>, rest: Py<PyAny>) {
        let old = self.batch.with(py, |batch| batch.rest.replace(rest));
        drop(old);
    }

    /// Ends the batch; returns what it was ended before, if it was.
    pub fn end(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        let InHand { rest, left } = self.batch.with(py, std::mem::take);
        drop(rest);
        left
    }
}

#[pymethods]
impl NodeCore {
    #[new]
    fn new() -> Self {
        Self {
            held: GilValue::new(0),
            quota: GilValue::new(0),
            closed: GilValue::new(false),
            produced: GilValue::new(0),
            enveloped: GilValue::new(false),
            paused: GilCell::default(),
            batch: GilCell::default(),
        }
    }

    #[getter]
    fn get_paused(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.paused_now(py)
    }

    #[setter]
    fn set_paused(&self, py: Python<'_>, paused: Option<Py<PyAny>>) {
        let old = self.paused.with(py, |held| std::mem::replace(held, paused));
        drop(old);
    }

    #[getter]
    fn get_held(&self, py: Python<'_>) -> i64 {
        self.held.get(py)
    }

    #[setter]
    fn set_held(&self, py: Python<'_>, held: i64) {
        self.held.set(py, held);
    }

    #[getter]
    fn get_quota(&self, py: Python<'_>) -> i64 {
        self.quota.get(py)
    }

    #[setter]
    fn set_quota(&self, py: Python<'_>, quota: i64) {
        self.quota.set(py, quota);
    }

    #[getter]
    fn get_closed(&self, py: Python<'_>) -> bool {
        self.closed.get(py)
    }

    #[setter]
    fn set_closed(&self, py: Python<'_>, closed: bool) {
        self.closed.set(py, closed);
    }

    #[getter]
    fn get_produced(&self, py: Python<'_>) -> i64 {
        self.produced.get(py)
    }

    #[setter]
    fn set_produced(&self, py: Python<'_>, produced: i64) {
        self.produced.set(py, produced);
    }

    #[getter]
    fn get_enveloped(&self, py: Python<'_>) -> bool {
        self.enveloped.get(py)
    }

    #[setter]
    fn set_enveloped(&self, py: Python<'_>, enveloped: bool) {
        self.enveloped.set(py, enveloped);
    }

    #[getter]
    fn get_rest(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.batch.with(py, |batch| batch.rest.as_ref().map(|rest| rest.clone_ref(py)))
    }

    #[setter]
    fn set_rest(&self, py: Python<'_>, rest: Option<Py<PyAny>>) {
        let old = self.batch.with(py, |batch| std::mem::replace(&mut batch.rest, rest));
        drop(old);
    }

    #[getter]
    fn get_left(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.batch.with(py, |batch| batch.left.as_ref().map(|left| left.clone_ref(py)))
    }

    #[setter]
    fn set_left(&self, py: Python<'_>, left: Option<Py<PyAny>>) {
        let old = self.batch.with(py, |batch| std::mem::replace(&mut batch.left, left));
        drop(old);
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.paused.try_with(|paused| visit.call(&*paused)).unwrap_or(Ok(()))?;
        self.batch
            .try_with(|batch| {
                visit.call(&batch.rest)?;
                visit.call(&batch.left)
            })
            .unwrap_or(Ok(()))
    }

    fn __clear__(&self) {
        let paused = self.paused.try_with(std::mem::take);
        drop(paused);
        let batch = self.batch.try_with(std::mem::take);
        drop(batch);
    }
}
