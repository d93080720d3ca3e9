//! Awaiting an asynchronous handler for message after message, without a line of Python in between.

use pyo3::exceptions::PyStopIteration;
use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyList;

use super::call::{call1, next};
use super::cell::GilCell;
use super::names::names;

/// An awaitable that calls `function` for each raw item of `rest`, awaits the call, and appends the result to `out`.
///
/// It is what `meridian.runtime.workers.BatchWorker` does in its loop. It ends at the end of `rest`, or with the next envelope,
/// which it returns: those are left to Python. What a call raises comes out of the await; awaited again, it goes on with the
/// item after that one.
#[pyclass(frozen, module = "meridian_fast")]
pub struct Sweep {
    function: Py<PyAny>,
    rest: Py<PyAny>,
    out: Py<PyList>,
    state: GilCell<State>,
}

#[derive(Default)]
struct State {
    /// The item in work.
    item: Option<Py<PyAny>>,
    /// What is awaited for it.
    awaited: Option<Py<PyAny>>,
}

/// What came of a step.
enum Step {
    /// It waits for this.
    Yields(Py<PyAny>),
    /// It returned this.
    Returns(Py<PyAny>),
}

impl Sweep {
    fn awaited(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.state.with(py, |state| state.awaited.as_ref().map(|awaited| awaited.clone_ref(py)))
    }

    fn put_down(&self, py: Python<'_>) {
        let old = self.state.with(py, |state| state.awaited.take());
        drop(old);
    }

    /// Takes up an item: calls the handler.
    fn take_up(&self, py: Python<'_>, item: Py<PyAny>) -> PyResult<Py<PyAny>> {
        let call = call1(py, &self.function, &item);
        let old = self.state.with(py, |state| state.item.replace(item));
        drop(old);
        let call = call?;
        // SAFETY: a flag of a class that is alive is read.
        let is_coroutine = unsafe { ffi::Py_TYPE(call.as_ptr()) } == coroutine_class(py)?;
        if is_coroutine {
            Ok(call.unbind())
        } else {
            Ok(call.call_method0(intern!(py, "__await__"))?.unbind())
        }
    }

    /// Goes on until something has to be waited for; `given` goes to what is awaited now.
    fn go_on(&self, py: Python<'_>, mut given: Option<Py<PyAny>>) -> PyResult<Step> {
        loop {
            let awaited = if let Some(awaited) = self.awaited(py) {
                awaited
            } else {
                let Some(item) = next(py, &self.rest)? else { return Ok(Step::Returns(py.None())) };
                if names(py)?.is_message(&item) {
                    return Ok(Step::Returns(item));
                }
                self.take_up(py, item)?
            };
            match send(py, &awaited, given.take()) {
                Ok(Step::Returns(result)) => {
                    self.put_down(py);
                    self.out.bind(py).append(result)?;
                }
                Ok(Step::Yields(waits_for)) => {
                    self.state.with(py, |state| {
                        if state.awaited.is_none() {
                            state.awaited = Some(awaited);
                        }
                    });
                    return Ok(Step::Yields(waits_for));
                }
                Err(error) => {
                    self.put_down(py);
                    return Err(error);
                }
            }
        }
    }

    fn answer(py: Python<'_>, step: Step) -> PyResult<Option<Py<PyAny>>> {
        match step {
            Step::Yields(waits_for) => Ok(Some(waits_for)),
            Step::Returns(result) if result.is_none(py) => Ok(None),
            Step::Returns(result) => Err(PyStopIteration::new_err(result)),
        }
    }
}

/// The class of coroutines, for comparing.
fn coroutine_class(py: Python<'_>) -> PyResult<*mut ffi::PyTypeObject> {
    use pyo3::sync::PyOnceLock;
    static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let class =
        CLASS.get_or_try_init(py, || PyResult::Ok(py.import("types")?.getattr("CoroutineType")?.unbind()))?;
    Ok(class.as_ptr().cast())
}

/// Sends a value into a coroutine or iterator.
fn send(py: Python<'_>, awaited: &Py<PyAny>, given: Option<Py<PyAny>>) -> PyResult<Step> {
    let given = given.unwrap_or_else(|| py.None());
    let mut result = std::ptr::null_mut();
    // SAFETY: both objects are alive; the result is a new reference unless there is an error.
    unsafe {
        match ffi::PyIter_Send(awaited.as_ptr(), given.as_ptr(), &raw mut result) {
            ffi::PySendResult::PYGEN_RETURN => {
                Ok(Step::Returns(Bound::from_owned_ptr_or_err(py, result)?.unbind()))
            }
            ffi::PySendResult::PYGEN_NEXT => {
                Ok(Step::Yields(Bound::from_owned_ptr_or_err(py, result)?.unbind()))
            }
            ffi::PySendResult::PYGEN_ERROR => Err(PyErr::fetch(py)),
        }
    }
}

#[pymethods]
impl Sweep {
    #[new]
    fn new(function: Py<PyAny>, rest: Py<PyAny>, out: Py<PyList>) -> Self {
        Self { function, rest, out, state: GilCell::default() }
    }

    /// The item that was taken up last.
    #[getter]
    fn item(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.state.with(py, |state| state.item.as_ref().map(|item| item.clone_ref(py)))
    }

    fn __await__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let step = self.go_on(py, None)?;
        Self::answer(py, step)
    }

    fn send(&self, py: Python<'_>, value: Py<PyAny>) -> PyResult<Py<PyAny>> {
        match self.go_on(py, Some(value))? {
            Step::Yields(waits_for) => Ok(waits_for),
            Step::Returns(result) => Err(PyStopIteration::new_err(result)),
        }
    }

    #[pyo3(signature = (*error))]
    fn throw(&self, py: Python<'_>, error: &Bound<'_, pyo3::types::PyTuple>) -> PyResult<Py<PyAny>> {
        let Some(awaited) = self.awaited(py) else {
            return Err(PyErr::from_value(error.get_item(0)?));
        };
        match awaited.bind(py).call_method1(intern!(py, "throw"), error) {
            Ok(waits_for) => Ok(waits_for.unbind()),
            Err(raised) => {
                self.put_down(py);
                if !raised.is_instance_of::<PyStopIteration>(py) {
                    return Err(raised);
                }
                let result = raised.value(py).getattr(intern!(py, "value"))?;
                self.out.bind(py).append(result)?;
                self.send(py, py.None())
            }
        }
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        if let Some(awaited) = self.awaited(py) {
            self.put_down(py);
            awaited.bind(py).call_method0(intern!(py, "close"))?;
        }
        Ok(())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.function)?;
        visit.call(&self.rest)?;
        visit.call(&self.out)?;
        self.state
            .try_with(|state| {
                visit.call(&state.item)?;
                visit.call(&state.awaited)
            })
            .unwrap_or(Ok(()))
    }

    fn __clear__(&self) {
        let state = self.state.try_with(std::mem::take);
        drop(state);
    }
}
