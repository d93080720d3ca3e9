//! Native bases with object slots: what `__slots__` gives a Python class, with fields that Rust reads and writes directly.
//!
//! [`base`] makes the type: `N` member slots of the same kind that `__slots__` makes, so that attribute access costs and
//! behaves the same (writable through `object.__setattr__`, an `AttributeError` when empty), an instance is as large,
//! and the cyclic collector sees what it holds. A Python class derives from it, adds no slots, and is handed back as a
//! [`Layout`]: the proof that instances of exactly this class have these fields.
//!
//! A field may be read, written and emptied by any Python code at any time; so nothing borrowed from one outlives a call.

use std::ffi::{c_int, c_uint, c_void, CStr};
use std::mem::{offset_of, size_of};
use std::ptr;

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyType;

/// An instance in memory: the object's head, then its fields. A Python subclass may append more.
#[repr(C)]
struct Instance<const N: usize> {
    head: ffi::PyObject,
    held: [*mut ffi::PyObject; N],
}

/// Makes a base class with the fields `names`; `new` is its `tp_new`, or `None` for `object`'s.
///
/// `name` is the full dotted name; `doc` may begin with a text signature.
///
/// # Errors
///
/// The interpreter refuses, for want of memory.
pub fn base<'py, const N: usize>(
    py: Python<'py>,
    name: &'static CStr,
    doc: &'static CStr,
    names: [&'static CStr; N],
    new: Option<ffi::newfunc>,
) -> PyResult<Bound<'py, PyType>> {
    let mut members = Vec::with_capacity(N + 1);
    for (index, name) in names.iter().enumerate() {
        let offset = offset_of!(Instance<N>, held) + index * size_of::<*mut ffi::PyObject>();
        members.push(ffi::PyMemberDef {
            name: name.as_ptr(),
            type_code: ffi::Py_T_OBJECT_EX,
            offset: offset.try_into()?,
            flags: 0,
            doc: ptr::null(),
        });
    }
    members.push(ffi::PyMemberDef { name: ptr::null(), type_code: 0, offset: 0, flags: 0, doc: ptr::null() });
    let slot = |slot: c_int, pfunc: *mut c_void| ffi::PyType_Slot { slot, pfunc };
    let mut slots = vec![
        slot(ffi::Py_tp_doc, doc.as_ptr().cast_mut().cast()),
        slot(ffi::Py_tp_members, members.as_mut_ptr().cast()),
        slot(ffi::Py_tp_traverse, traverse::<N> as ffi::traverseproc as *mut c_void),
        slot(ffi::Py_tp_clear, clear::<N> as ffi::inquiry as *mut c_void),
        slot(ffi::Py_tp_dealloc, dealloc::<N> as ffi::destructor as *mut c_void),
    ];
    if let Some(new) = new {
        slots.push(slot(ffi::Py_tp_new, new as *mut c_void));
    }
    slots.push(slot(0, ptr::null_mut()));
    let mut spec = ffi::PyType_Spec {
        name: name.as_ptr(),
        basicsize: size_of::<Instance<N>>().try_into()?,
        itemsize: 0,
        flags: c_uint::try_from(
            ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_BASETYPE | ffi::Py_TPFLAGS_HAVE_GC,
        )?,
        slots: slots.as_mut_ptr(),
    };
    // SAFETY: the spec and both arrays are complete, end as they must and outlive the call, which copies them; names and
    // doc are static. The slots fit the flags: a type that is collected has traverse, clear and a dealloc of its own.
    let made = unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyType_FromSpec(&raw mut spec)) }?;
    Ok(made.cast_into::<PyType>()?)
}

/// Shows the collector what an instance holds.
unsafe extern "C" fn traverse<const N: usize>(
    object: *mut ffi::PyObject,
    visit: ffi::visitproc,
    arg: *mut c_void,
) -> c_int {
    // SAFETY: the interpreter passes an instance, which starts with an `Instance<N>`; fields are null or alive. An instance
    // of a heap type owns a reference to its type, and the topmost native base is who has to visit it.
    unsafe {
        let seen = visit(ffi::Py_TYPE(object).cast(), arg);
        if seen != 0 {
            return seen;
        }
        for held in (*object.cast::<Instance<N>>()).held {
            if !held.is_null() {
                let seen = visit(held, arg);
                if seen != 0 {
                    return seen;
                }
            }
        }
    }
    0
}

/// Empties the fields, one after the other: what a finalizer sees is a field that is empty or whole.
unsafe extern "C" fn clear<const N: usize>(object: *mut ffi::PyObject) -> c_int {
    for index in 0..N {
        // SAFETY: as in `traverse`; the field is emptied before its reference is given back, as that may run any code.
        unsafe {
            let held = ptr::replace(&raw mut (*object.cast::<Instance<N>>()).held[index], ptr::null_mut());
            ffi::Py_XDECREF(held);
        }
    }
    0
}

/// Frees an instance. Deep nesting is bounded by the Python subclass, whose own deallocator calls this one.
unsafe extern "C" fn dealloc<const N: usize>(object: *mut ffi::PyObject) {
    // SAFETY: nobody else has a reference. It leaves the collector's sight before its fields are gone; it was made by
    // `PyType_GenericAlloc` for a collected heap type, hence `PyObject_GC_Del` and the reference to its type.
    unsafe {
        let class = ffi::Py_TYPE(object);
        ffi::PyObject_GC_UnTrack(object.cast());
        clear::<N>(object);
        ffi::PyObject_GC_Del(object.cast());
        ffi::Py_DECREF(class.cast());
    }
}

/// A class whose instances begin with the fields of a [`base`].
pub struct Layout<const N: usize>(Py<PyType>);

impl<const N: usize> Layout<N> {
    /// Takes `class` for one that was derived from `base`, the result of [`base`] for the same `N`.
    ///
    /// # Errors
    ///
    /// `class` doesn't derive from `base`.
    ///
    /// # Safety
    ///
    /// `base` was made by `base::<N>`.
    pub unsafe fn of(class: Bound<'_, PyType>, base: &Bound<'_, PyType>) -> PyResult<Self> {
        if !class.is_subclass(base)? {
            return Err(PyTypeError::new_err(format!("{class} doesn't derive from {base}")));
        }
        Ok(Self(class.unbind()))
    }

    /// Returns the class.
    pub fn class<'py>(&self, py: Python<'py>) -> &Bound<'py, PyType> {
        self.0.bind(py)
    }

    /// Returns the fields of `object`, if it is an instance of this very class.
    #[inline]
    pub fn fields<'a, 'py>(&self, object: &'a Bound<'py, PyAny>) -> Option<Fields<'a, 'py, N>> {
        // SAFETY: every object has a type.
        let is_exact = unsafe { ffi::Py_TYPE(object.as_ptr()).cast() } == self.0.as_ptr();
        is_exact.then_some(Fields(object))
    }

    /// Makes an instance of this class that holds `held`.
    ///
    /// # Errors
    ///
    /// There is no memory for it.
    #[inline]
    pub fn make<'py>(&self, py: Python<'py>, held: [Bound<'py, PyAny>; N]) -> PyResult<Bound<'py, PyAny>> {
        // SAFETY: the class derives from a `base::<N>`, as `of` made sure.
        unsafe { make(py, self.0.as_ptr().cast(), held) }
    }
}

/// Makes an instance of `class` that holds `held`; `__init__` isn't called.
///
/// # Errors
///
/// There is no memory for it.
///
/// # Safety
///
/// `class` is a `base::<N>` or derives from it.
#[inline]
pub unsafe fn make<'py, const N: usize>(
    py: Python<'py>,
    class: *mut ffi::PyTypeObject,
    held: [Bound<'py, PyAny>; N],
) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: the allocator of every class made in Python and of `base`; it returns an instance with empty fields, or
    // null with an error set. The fields are at the start, as the caller promises, and take over the references.
    unsafe {
        let made = ffi::PyType_GenericAlloc(class, 0);
        let object = Bound::from_owned_ptr_or_err(py, made)?;
        (*made.cast::<Instance<N>>()).held = held.map(Bound::into_ptr);
        Ok(object)
    }
}

/// The fields of one object, by index.
#[derive(Clone, Copy)]
pub struct Fields<'a, 'py, const N: usize>(&'a Bound<'py, PyAny>);

impl<'py, const N: usize> Fields<'_, 'py, N> {
    #[inline]
    fn place<const I: usize>(self) -> *mut *mut ffi::PyObject {
        const { assert!(I < N) };
        // SAFETY: `Layout::fields` looked at the class, whose instances begin with an `Instance<N>`.
        unsafe {
            (&raw mut (*self.0.as_ptr().cast::<Instance<N>>()).held).cast::<*mut ffi::PyObject>().add(I)
        }
    }

    /// Returns what field `I` holds, or `None` if somebody emptied it.
    #[inline]
    pub fn get<const I: usize>(self) -> Option<Bound<'py, PyAny>> {
        // SAFETY: a field is null or alive, and the interpreter's lock is held, as a `Bound` shows.
        unsafe { Bound::from_borrowed_ptr_or_opt(self.0.py(), *self.place::<I>()) }
    }

    /// Returns `None` of the interpreter, for a field that is empty.
    #[inline]
    pub fn none(self) -> Bound<'py, PyAny> {
        self.0.py().None().into_bound(self.0.py())
    }

    /// Returns whether field `I` holds `other`.
    #[inline]
    pub fn holds<const I: usize, T>(self, other: &Py<T>) -> bool {
        // SAFETY: as in `get`; only the address is compared.
        unsafe { *self.place::<I>() == other.as_ptr() }
    }

    /// Lets field `I` hold `value`. What it held before is released last, as that may run any code.
    #[inline]
    pub fn set<const I: usize>(self, value: Bound<'py, PyAny>) {
        // SAFETY: as in `get`; the reference of the field is replaced by one that is handed over.
        unsafe {
            let before = ptr::replace(self.place::<I>(), value.into_ptr());
            ffi::Py_XDECREF(before);
        }
    }
}
