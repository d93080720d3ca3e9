//! The gate of a [`Ring`]: how one waits at it, and what is said to who would wait for itself.
//!
//! Two threads whose user code puts on each other's edge wait for each other, as they do with the locks of the Python engine.

use std::time::Duration;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use super::call::thread_id;
use super::ring::Ring;
use crate::gate::{Inside, Shut};

/// How long a thread sleeps before it looks again whether another one left the user code of a ring.
const PATIENCE: Duration = Duration::from_micros(20);

impl Ring {
    /// Waits until no user code runs in this ring; returns whether this is the engine's thread.
    ///
    /// # Errors
    ///
    /// As for [`Ring::stay_outside`].
    #[inline]
    pub fn enter(&self, py: Python<'_>) -> PyResult<bool> {
        self.stay_outside(py)?;
        Ok(self.owner.get(py) == thread_id(py))
    }

    /// Waits until no user code runs in this ring.
    ///
    /// What follows has the ring for itself as long as it runs no Python code.
    ///
    /// # Errors
    ///
    /// This thread is in that user code, or a signal handler raised while it waited.
    #[inline]
    pub fn stay_outside(&self, py: Python<'_>) -> PyResult<()> {
        if self.timing.get(py) {
            self.note_hops(py)?; // first, as the clock is Python code
        }
        while let Err(shut) = self.gate.look(|| thread_id(py)) {
            self.wait_outside(py, shut)?;
        }
        Ok(())
    }

    /// Goes inside, to run user code there.
    ///
    /// Whoever has entered may have run Python code since, and so may have let another thread in; what it knew of the ring is
    /// to be asked again.
    ///
    /// # Errors
    ///
    /// As for [`Ring::stay_outside`].
    pub(super) fn go_in(&self, py: Python<'_>) -> PyResult<Inside<'_>> {
        let me = thread_id(py);
        loop {
            match self.gate.go_in(me) {
                Ok(inside) => return Ok(inside),
                Err(shut) => self.wait_outside(py, shut)?,
            }
        }
    }

    #[cold]
    fn wait_outside(&self, py: Python<'_>, shut: Shut) -> PyResult<()> {
        if shut == Shut::Own {
            let id = self.links.with(py, |links| links.id.clone_ref(py));
            return Err(PyRuntimeError::new_err(format!(
                "a coalesce function or policy must not put on or take from its own edge, {}",
                id.bind(py)
            )));
        }
        py.detach(|| std::thread::sleep(PATIENCE));
        py.check_signals()
    }
}
