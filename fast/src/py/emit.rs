//! A node's `emit`: an append to a list in the common case, handed on when the slice ends.

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use super::call::thread_id;
use super::names::Names;
use super::node::NodeCore;

/// `emit(port, msg)` of one node. See `meridian.engine.node.NodeState.make_emit`.
#[pyclass(frozen, module = "meridian_fast")]
pub struct Emit {
    node: Py<PyAny>,
    core: Py<NodeCore>,
    /// Where what was emitted waits for the end of the slice, by port; ports that need a closer look have none.
    boxes: Vec<(Py<PyAny>, Py<PyList>)>,
    owner: u64,
}

impl Emit {
    #[inline]
    fn box_of(&self, py: Python<'_>, port: &Bound<'_, PyAny>) -> Option<&Py<PyList>> {
        // Names of ports are mostly the same object; others are compared.
        let same = self.boxes.iter().find(|(name, _)| name.is(port));
        same.or_else(|| self.boxes.iter().find(|(name, _)| name.bind(py).eq(port).unwrap_or(false)))
            .map(|(_, items)| items)
    }
}

#[pymethods]
impl Emit {
    #[new]
    fn new(node: Py<PyAny>, core: Py<NodeCore>, boxes: &Bound<'_, PyDict>, owner: u64) -> Self {
        let boxes = boxes
            .iter()
            .filter_map(|(port, items)| Some((port.unbind(), items.cast_into::<PyList>().ok()?.unbind())))
            .collect();
        Self { node, core, boxes, owner }
    }

    #[pyo3(signature = (port, msg))]
    fn __call__<'py>(
        &self,
        py: Python<'py>,
        port: &Bound<'py, PyAny>,
        msg: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        if let Some(items) = self.box_of(py, port) {
            let items = items.bind(py);
            let quota = usize::try_from(self.core.get().quota.get(py)).unwrap_or(0);
            // What has no type is no message, which is said in full below.
            let is_data = Names::is_data(py, msg.as_unbound()).unwrap_or(false);
            if is_data && items.len() < quota && thread_id(py) == self.owner {
                items.append(msg)?;
                return Ok(msg.clone());
            }
        }
        self.node.bind(py).call_method1(intern!(py, "emit_now"), (port, msg))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.node)?;
        visit.call(&self.core)?;
        self.boxes.iter().try_for_each(|(port, items)| visit.call(port).and_then(|()| visit.call(items)))
    }
}
