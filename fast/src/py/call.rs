//! Calls into Python at the lowest cost there is, and the few questions that every step asks.

use std::os::raw::c_ulong;

use pyo3::ffi;
use pyo3::prelude::*;

extern "C" {
    // Part of the stable interface since CPython 3.12; exported with the same meaning by 3.11, the oldest that we support,
    // for which the bindings don't declare it.
    fn PyObject_Vectorcall(
        callable: *mut ffi::PyObject,
        args: *const *mut ffi::PyObject,
        nargsf: usize,
        kwnames: *mut ffi::PyObject,
    ) -> *mut ffi::PyObject;
}

/// Lets the callee borrow the slot before the first argument (for `self` of a bound method), which saves it a copy.
const ARGUMENTS_OFFSET: usize = 1 << (usize::BITS - 1);

/// Calls `callable` with `N` positional arguments.
///
/// # Errors
///
/// Whatever it raises.
#[inline]
pub fn call<'py, const N: usize>(
    py: Python<'py>,
    callable: &Py<PyAny>,
    args: [*mut ffi::PyObject; N],
) -> PyResult<Bound<'py, PyAny>> {
    const { assert!(N <= 3) };
    let mut slots = [std::ptr::null_mut(); 4];
    slots[1..=N].copy_from_slice(&args);
    // SAFETY: `callable` and the arguments are alive, since the caller holds references to them; `slots` has `N` arguments
    // behind one spare slot, as the offset flag promises; no keyword names. The result is a new reference or null with an error.
    unsafe {
        let result = PyObject_Vectorcall(
            callable.as_ptr(),
            slots.as_ptr().add(1),
            N | ARGUMENTS_OFFSET,
            std::ptr::null_mut(),
        );
        Bound::from_owned_ptr_or_err(py, result)
    }
}

/// Calls `callable` with one argument; the hot call of every step.
///
/// # Errors
///
/// Whatever it raises.
#[inline]
pub fn call1<'py>(py: Python<'py>, callable: &Py<PyAny>, arg: &Py<PyAny>) -> PyResult<Bound<'py, PyAny>> {
    call(py, callable, [arg.as_ptr()])
}

/// The running thread, as `_thread.get_ident()` tells it.
#[inline]
pub fn thread_id(_py: Python<'_>) -> u64 {
    // SAFETY: may be called at any time by a thread that is attached, as the token shows.
    let id: c_ulong = unsafe { ffi::PyThread_get_thread_ident() };
    #[allow(clippy::useless_conversion)] // it is 32 bits wide on some platforms
    u64::from(id)
}

/// The next item of `iterator`, which has to be one, or `None` at its end.
///
/// # Errors
///
/// Whatever it raises.
#[inline]
pub fn next(py: Python<'_>, iterator: &Py<PyAny>) -> PyResult<Option<Py<PyAny>>> {
    // SAFETY: the iterator is alive, and one, as whoever made the step looked at; the result is a new reference, or null with or without an error.
    unsafe {
        let item = ffi::PyIter_Next(iterator.as_ptr());
        if item.is_null() {
            return match PyErr::take(py) {
                Some(error) => Err(error),
                None => Ok(None),
            };
        }
        Ok(Some(Bound::from_owned_ptr(py, item).unbind()))
    }
}

/// The class of `object`, for comparing.
#[inline]
pub fn class_of(object: &Py<PyAny>) -> *mut ffi::PyTypeObject {
    // SAFETY: the object is alive; its class is read, not kept.
    unsafe { ffi::Py_TYPE(object.as_ptr()) }
}
