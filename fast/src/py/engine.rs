//! The loop that runs slices: the hot part of `meridian.engine.kernel.PythonEngine`, which has the rest.

use pyo3::exceptions::{PyAttributeError, PyRuntimeError};
use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::call::call;
use super::cell::{GilCell, GilValue};
use super::ready::{ReadyQueue, Turn};
use super::ring::Ring;
use super::step::{self, Step};

/// A slice that took longer makes the next one of the same turn smaller, down to a single message.
const SLICE_CAP_NS: i64 = 200_000;

/// A turn that took so long is told. See `meridian.engine.kernel.SLOW_NS`.
const SLOW_NS: i64 = 100_000_000;

/// What drives rings and turns. `meridian.engine.native.RustEngine` adds what is rare.
#[pyclass(frozen, subclass, module = "meridian_fast")]
pub struct Engine {
    /// A slice is running.
    pub(super) running: GilValue<bool>,
    /// When the turn before this one ended, in nanoseconds.
    pub(super) now: GilValue<i64>,
    max_batch: GilValue<i64>,
    reads_clock_itself: GilValue<bool>,
    links: GilCell<Links>,
}

#[derive(Default)]
struct Links {
    clock: Option<Py<PyAny>>,
    queue: Option<Py<ReadyQueue>>,
    arm: Option<Py<PyAny>>,
    waited: Option<Py<PyAny>>,
    knocks: Option<Py<PyAny>>,
    scope: Option<Py<PyAny>>,
    failures: Option<Py<PyAny>>,
}

fn unset(name: &'static str) -> PyErr {
    PyAttributeError::new_err(name)
}

impl Engine {
    /// Nanoseconds.
    ///
    /// # Errors
    ///
    /// What the clock raised.
    #[inline]
    pub fn time(&self, py: Python<'_>) -> PyResult<i64> {
        if self.reads_clock_itself.get(py) {
            if let Some(now) = monotonic_ns() {
                return Ok(now);
            }
        }
        let clock = self.links.with(py, |links| links.clock.as_ref().map(|clock| clock.clone_ref(py)));
        call(py, &clock.ok_or_else(|| unset("clock"))?, [])?.extract()
    }

    /// Asks for a slice.
    ///
    /// # Errors
    ///
    /// What whoever was asked raised.
    pub fn arm_now(&self, py: Python<'_>) -> PyResult<()> {
        let arm = self.links.with(py, |links| links.arm.as_ref().map(|arm| arm.clone_ref(py)));
        if let Some(arm) = arm {
            call(py, &arm, [])?;
        }
        Ok(())
    }

    /// Somebody waits for room on `ring`.
    ///
    /// # Errors
    ///
    /// The set of such rings is none.
    pub fn note_waited(&self, py: Python<'_>, ring: &Py<Ring>) -> PyResult<()> {
        let waited = self.links.with(py, |links| links.waited.as_ref().map(|waited| waited.clone_ref(py)));
        if let Some(waited) = waited {
            waited.bind(py).call_method1(intern!(py, "add"), (ring,))?;
        }
        Ok(())
    }

    /// Where the message in hand is noted.
    pub fn scope_now(&self, py: Python<'_>) -> Py<PyAny> {
        self.links
            .with(py, |links| links.scope.as_ref().map(|scope| scope.clone_ref(py)))
            .unwrap_or_else(|| py.None())
    }

    /// Says whether an error counts as a failure of a node's code; anything else ends the run.
    pub fn is_failure(&self, py: Python<'_>, error: &PyErr) -> bool {
        let failures =
            self.links.with(py, |links| links.failures.as_ref().map(|failures| failures.clone_ref(py)));
        failures.is_some_and(|failures| error.matches(py, failures.bind(py)).unwrap_or(false))
    }

    fn is_some_due(&self, py: Python<'_>, queue: &ReadyQueue) -> PyResult<bool> {
        Ok(!queue.is_empty(py) || self.is_true(py, |links| links.knocks.as_ref())?)
    }

    #[inline]
    fn is_true(&self, py: Python<'_>, of: impl FnOnce(&Links) -> Option<&Py<PyAny>>) -> PyResult<bool> {
        match self.links.with(py, |links| of(links).map(|object| object.clone_ref(py))) {
            Some(object) => object.bind(py).is_truthy(),
            None => Ok(false),
        }
    }

    fn run_turns(
        slf: &Bound<'_, Self>,
        queue: &Bound<'_, ReadyQueue>,
        mut messages: i64,
        nanoseconds: i64,
    ) -> PyResult<()> {
        let py = slf.py();
        let engine = slf.get();
        let most = engine.max_batch.get(py);
        let drawn = queue.get().is_drawn(py) || !queue.is_exact_instance_of::<ReadyQueue>();
        let mut now = engine.time(py)?;
        engine.now.set(py, now);
        let end = now.saturating_add(nanoseconds);
        loop {
            let turn = if drawn {
                if queue.get().is_empty(py) {
                    break;
                }
                queue.call_method0(intern!(py, "pick"))?.cast_into::<Turn>()?.unbind()
            } else {
                match queue.get().next(py) {
                    Some(turn) => turn,
                    None => break,
                }
            };
            let turn = turn.get();
            turn.queued.set(py, false);
            let run = turn.run_now(py).ok_or_else(|| PyAttributeError::new_err("run"))?;
            let handled = match run.cast_bound::<Step>(py) {
                Ok(step) => step::run(step)?,
                Err(_) => call(py, &run, [])?.extract()?,
            };
            let last = engine.time(py)?;
            let spent = last.saturating_sub(now);
            now = last;
            engine.now.set(py, now);
            turn.busy_ns.set(py, turn.busy_ns.get(py).saturating_add(spent));
            turn.slices.set(py, turn.slices.get(py) + 1);
            let batch = turn.batch.get(py);
            if spent > SLICE_CAP_NS {
                if spent >= SLOW_NS {
                    slf.call_method1(intern!(py, "on_slow"), (turn.node, spent))?;
                }
                if batch > 1 {
                    turn.batch
                        .set(py, (handled.max(1).min(batch).saturating_mul(SLICE_CAP_NS) / spent).max(1));
                }
            } else if handled >= batch {
                turn.batch.set(py, handled.saturating_mul(2).min(most));
            }
            messages = messages.saturating_sub(handled.max(1));
            if messages <= 0 || now >= end {
                break;
            }
        }
        if queue.get().is_empty(py) && engine.is_true(py, |links| links.waited.as_ref())? {
            slf.call_method0(intern!(py, "_let_on"))?;
        }
        Ok(())
    }
}

#[pymethods]
impl Engine {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self {
            running: GilValue::new(false),
            now: GilValue::new(0),
            max_batch: GilValue::new(64),
            reads_clock_itself: GilValue::new(false),
            links: GilCell::default(),
        }
    }

    #[getter]
    fn get_running(&self, py: Python<'_>) -> bool {
        self.running.get(py)
    }

    #[setter]
    fn set_running(&self, py: Python<'_>, running: bool) {
        self.running.set(py, running);
    }

    #[getter]
    fn get_now(&self, py: Python<'_>) -> i64 {
        self.now.get(py)
    }

    #[setter]
    fn set_now(&self, py: Python<'_>, now: i64) {
        self.now.set(py, now);
    }

    #[getter]
    fn get_max_batch(&self, py: Python<'_>) -> i64 {
        self.max_batch.get(py)
    }

    #[setter]
    fn set_max_batch(&self, py: Python<'_>, max_batch: i64) {
        self.max_batch.set(py, max_batch);
    }

    #[getter]
    fn get_clock(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.links
            .with(py, |links| links.clock.as_ref().map(|clock| clock.clone_ref(py)))
            .ok_or_else(|| unset("clock"))
    }

    #[setter]
    fn set_clock(&self, py: Python<'_>, clock: Py<PyAny>) -> PyResult<()> {
        let usual = py.import("time")?.getattr("perf_counter_ns")?;
        self.reads_clock_itself.set(py, clock.is(&usual) && monotonic_ns().is_some());
        let old = self.links.with(py, |links| links.clock.replace(clock));
        drop(old);
        Ok(())
    }

    #[getter]
    fn get_queue(&self, py: Python<'_>) -> PyResult<Py<ReadyQueue>> {
        self.links
            .with(py, |links| links.queue.as_ref().map(|queue| queue.clone_ref(py)))
            .ok_or_else(|| unset("queue"))
    }

    #[setter]
    fn set_queue(&self, py: Python<'_>, queue: Py<ReadyQueue>) {
        let old = self.links.with(py, |links| links.queue.replace(queue));
        drop(old);
    }

    #[getter]
    fn get_arm(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.links
            .with(py, |links| links.arm.as_ref().map(|arm| arm.clone_ref(py)))
            .ok_or_else(|| unset("arm"))
    }

    #[setter]
    fn set_arm(&self, py: Python<'_>, arm: Py<PyAny>) {
        let old = self.links.with(py, |links| links.arm.replace(arm));
        drop(old);
    }

    #[getter]
    fn get_waited(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.links
            .with(py, |links| links.waited.as_ref().map(|waited| waited.clone_ref(py)))
            .ok_or_else(|| unset("waited"))
    }

    #[setter]
    fn set_waited(&self, py: Python<'_>, waited: Py<PyAny>) {
        let old = self.links.with(py, |links| links.waited.replace(waited));
        drop(old);
    }

    #[getter]
    fn get_knocks(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.links
            .with(py, |links| links.knocks.as_ref().map(|knocks| knocks.clone_ref(py)))
            .ok_or_else(|| unset("knocks"))
    }

    #[setter]
    fn set_knocks(&self, py: Python<'_>, knocks: Py<PyAny>) {
        let old = self.links.with(py, |links| links.knocks.replace(knocks));
        drop(old);
    }

    #[getter]
    fn get_scope(&self, py: Python<'_>) -> Py<PyAny> {
        self.scope_now(py)
    }

    #[setter]
    fn set_scope(&self, py: Python<'_>, scope: Py<PyAny>) {
        let old = self.links.with(py, |links| links.scope.replace(scope));
        drop(old);
    }

    #[getter]
    fn get_failures(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.links
            .with(py, |links| links.failures.as_ref().map(|failures| failures.clone_ref(py)))
            .ok_or_else(|| unset("failures"))
    }

    #[setter]
    fn set_failures(&self, py: Python<'_>, failures: Py<PyAny>) {
        let old = self.links.with(py, |links| links.failures.replace(failures));
        drop(old);
    }

    /// Make a turn in the line of `band`.
    fn turn<'py>(&self, py: Python<'py>, node: i64, band: usize) -> PyResult<Bound<'py, PyAny>> {
        let turn = py.get_type::<Turn>().call1((node, band))?;
        turn.cast::<Turn>()?.get().belongs_to(py, self.get_queue(py)?);
        Ok(turn)
    }

    /// Put `turn` in its line.
    fn ready(&self, py: Python<'_>, turn: Py<Turn>) -> PyResult<()> {
        turn.get().queued.set(py, true);
        Turn::push(&turn, py)?;
        if !self.running.get(py) {
            self.arm_now(py)?;
        }
        Ok(())
    }

    /// Make the native step that serves `ring` to `node`, or return `None` where there is none for that kind of node.
    fn native_step(
        slf: &Bound<'_, Self>,
        node: &Bound<'_, PyAny>,
        ring: &Bound<'_, Ring>,
        turn: &Bound<'_, Turn>,
    ) -> PyResult<Option<Py<Step>>> {
        step::compile(slf, node, ring, turn)
    }

    /// Make the native step of a plain source.
    fn native_source(
        slf: &Bound<'_, Self>,
        node: &Bound<'_, PyAny>,
        items: &Bound<'_, PyAny>,
        turn: &Bound<'_, Turn>,
    ) -> PyResult<Py<Step>> {
        step::compile_source(slf, node, items, turn)
    }

    /// Run turns until about `messages` are handled or `nanoseconds` have passed, or nothing is due.
    fn run(slf: &Bound<'_, Self>, messages: i64, nanoseconds: i64) -> PyResult<bool> {
        let py = slf.py();
        let engine = slf.get();
        if engine.running.get(py) {
            return Err(PyRuntimeError::new_err("the engine runs a slice already"));
        }
        if engine.is_true(py, |links| links.knocks.as_ref())? {
            slf.call_method0(intern!(py, "_answer_knocks"))?;
        }
        let queue = engine.get_queue(py)?;
        let queue = queue.bind(py);
        engine.running.set(py, true);
        let result = Self::run_turns(slf, queue, messages, nanoseconds);
        engine.running.set(py, false);
        result?;
        engine.is_some_due(py, queue.get())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.links
            .try_with(|links| {
                visit.call(&links.clock)?;
                visit.call(&links.queue)?;
                visit.call(&links.arm)?;
                visit.call(&links.waited)?;
                visit.call(&links.knocks)?;
                visit.call(&links.scope)?;
                visit.call(&links.failures)
            })
            .unwrap_or(Ok(()))
    }

    fn __clear__(&self) {
        let links = self.links.try_with(std::mem::take);
        drop(links);
    }
}

/// What `time.perf_counter_ns()` tells, where that is known to be the system's monotonic clock.
#[cfg(target_os = "linux")]
#[inline]
fn monotonic_ns() -> Option<i64> {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes the time into a structure of ours.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    #[allow(clippy::useless_conversion)] // they are 32 bits wide on some platforms
    (failed == 0).then(|| i64::from(now.tv_sec) * 1_000_000_000 + i64::from(now.tv_nsec))
}

#[cfg(not(target_os = "linux"))]
#[inline]
fn monotonic_ns() -> Option<i64> {
    None
}

/// The class of an object's class, kept alive by the interpreter for as long as the object is.
pub type Class = *mut ffi::PyTypeObject;
