//! The Python faces of [`crate::limits`]: what a limited ring asks of its user's functions, and the budget of a graph.

use std::sync::Arc;

use pyo3::exceptions::{PyException, PyOverflowError, PyValueError};
use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyInt, PyList};

use super::call::{call, class_of, thread_id};
use super::names::{names, Names};
use super::ring::Ring;
use crate::limits::{Budget as BudgetCore, Bytes, Limits, Note, MOST_BYTES};

/// What a put needs to know before it begins, since finding it out runs code of the user's.
pub(super) struct Weighed {
    pub(super) bytes: Bytes,
    pub(super) now: i64,
    pub(super) never_fits: bool,
}

/// A whole number as a number of bytes, which is [`MOST_BYTES`] at most, and not less than as many below zero.
fn bytes_of(number: &Bound<'_, PyAny>) -> PyResult<Bytes> {
    if let Ok(bytes) = number.extract::<i64>() {
        return Ok(bytes.into());
    }
    let bytes = match number.extract::<Bytes>() {
        Ok(bytes) => bytes,
        Err(error) if !error.is_instance_of::<PyOverflowError>(number.py()) => return Err(error),
        Err(_) if number.lt(0)? => Bytes::MIN,
        Err(_) => Bytes::MAX,
    };
    Ok(bytes.clamp(-MOST_BYTES, MOST_BYTES))
}

/// What `payload_bytes` says of plain bytes and of plain ASCII text, which is what most payloads with a size are.
fn bytes_at_a_glance(py: Python<'_>, payload: &Py<PyAny>) -> PyResult<Option<Bytes>> {
    let class = class_of(payload);
    if class == &raw mut ffi::PyBytes_Type {
        return Ok(Some(payload.bind(py).len()? as Bytes));
    }
    if class == &raw mut ffi::PyUnicode_Type
        && payload.bind(py).call_method0(intern!(py, "isascii"))?.is_truthy()?
    {
        return Ok(Some(payload.bind(py).len()? as Bytes));
    }
    Ok(None)
}

/// A number of bytes as an argument.
#[derive(Clone, Copy)]
pub(super) struct Given(pub(super) Bytes);

impl<'py> FromPyObject<'_, 'py> for Given {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        bytes_of(&object).map(Self)
    }
}

/// Sizes and times, which are the user's to tell.
impl Ring {
    pub(super) fn now(&self, py: Python<'_>) -> PyResult<i64> {
        let clock = self.links.with(py, |links| links.clock.as_ref().map(|clock| clock.clone_ref(py)));
        match clock {
            Some(clock) => call(py, &clock, [])?.extract(),
            None => Ok(0),
        }
    }

    pub(super) fn now_if_it_matters(&self, py: Python<'_>) -> PyResult<i64> {
        let matters =
            self.core.with(py, |core| core.limits.as_ref().is_some_and(|limits| limits.max_age_ns.is_some()));
        if matters {
            self.now(py)
        } else {
            Ok(0)
        }
    }

    pub(super) fn size_of(&self, py: Python<'_>, item: &Py<PyAny>) -> PyResult<Bytes> {
        let (size, id) = self
            .links
            .with(py, |links| (links.size.as_ref().map(|size| size.clone_ref(py)), links.id.clone_ref(py)));
        let Some(size) = size else { return Ok(0) };
        let payload = if names(py)?.is_a_message(item) {
            item.bind(py).getattr(intern!(py, "payload"))?.unbind()
        } else {
            item.clone_ref(py)
        };
        if size.is(&names(py)?.payload_bytes) {
            if let Some(bytes) = bytes_at_a_glance(py, &payload)? {
                return Ok(bytes);
            }
        }
        let answer = call(py, &size, [payload.as_ptr()])?;
        // What merely converts to a whole number is none.
        match answer.cast::<PyInt>().map(|number| bytes_of(number)) {
            Ok(Ok(bytes)) if bytes >= 0 => Ok(bytes),
            _ => {
                let shown =
                    py.import("meridian.redaction")?.getattr(intern!(py, "type_name"))?.call1((&answer,))?;
                Err(PyValueError::new_err(format!(
                    "size of edge {} answered {shown}: it has to tell a number of bytes",
                    id.bind(py)
                )))
            }
        }
    }

    /// Weighs items that come back. What nobody can tell the size of counts for nothing.
    pub(super) fn weigh_all(&self, py: Python<'_>, items: &[Py<PyAny>]) -> PyResult<Vec<Note>> {
        let now = self.now(py)?;
        Ok(items.iter().map(|item| (self.size_of(py, item).unwrap_or(0), now)).collect())
    }

    /// Weighs an item, unless somebody did already.
    pub(super) fn weighed(
        &self,
        py: Python<'_>,
        item: &Py<PyAny>,
        known: Option<Bytes>,
    ) -> PyResult<Weighed> {
        if !self.limited {
            return Ok(Weighed { bytes: 0, now: 0, never_fits: false });
        }
        let now = self.now(py)?;
        let bytes = match known {
            Some(bytes) => Some(bytes),
            None => self.bytes_that_fit(py, item)?,
        };
        Ok(Weighed { bytes: bytes.unwrap_or(0), now, never_fits: bytes.is_none() })
    }

    /// How many bytes an item counts for, CONTROL for none; `None` if it never fits, or nobody can tell its size.
    pub(super) fn bytes_that_fit(&self, py: Python<'_>, item: &Py<PyAny>) -> PyResult<Option<Bytes>> {
        if !self.limited {
            return Ok(Some(0));
        }
        if names(py)?.is_a_message(item) && Names::is_control(py, item)? {
            return Ok(Some(0));
        }
        let bytes = match self.size_of(py, item) {
            Ok(bytes) => bytes,
            Err(error) if error.is_instance_of::<PyException>(py) => return Ok(None),
            Err(error) => return Err(error),
        };
        let never_fits =
            self.core.with(py, |core| core.limits.as_ref().is_some_and(|limits| limits.never_fits(bytes)));
        Ok((!never_fits).then_some(bytes))
    }
}

/// A ring that also bounds the bytes it holds and the age of what it delivers. See `meridian.engine.ring.LimitedRing`.
#[pyclass(frozen, extends = Ring, subclass, module = "meridian_fast")]
pub struct LimitedRing;

impl LimitedRing {
    fn limits<R>(slf: &Bound<'_, Self>, f: impl FnOnce(&mut Limits) -> R) -> Option<R> {
        slf.as_super().get().core.with(slf.py(), |core| core.limits.as_deref_mut().map(f))
    }
}

#[pymethods]
impl LimitedRing {
    #[new]
    #[pyo3(signature = (id, capacity, policy, check = None, *, max_bytes = None, max_age_ns = None, budget = None, size, clock))]
    #[allow(clippy::too_many_arguments)] // the arguments of the Python class that it mirrors
    fn new(
        py: Python<'_>,
        id: Py<PyAny>,
        capacity: isize,
        policy: Py<PyAny>,
        check: Option<Py<PyAny>>,
        max_bytes: Option<Given>,
        max_age_ns: Option<i64>,
        budget: Option<Py<Budget>>,
        size: Py<PyAny>,
        clock: Py<PyAny>,
    ) -> PyResult<PyClassInitializer<Self>> {
        let limits = Limits {
            max_bytes: max_bytes.map(|Given(bytes)| bytes),
            max_age_ns,
            budget: budget.as_ref().map(|budget| Arc::clone(&budget.get().core)),
            ..Limits::default()
        };
        let ring = Ring::build(py, id, capacity, policy, check, Some(Box::new(limits)))?;
        ring.links.with(py, |links| {
            links.size = Some(size);
            links.clock = Some(clock);
            links.budget = budget;
        });
        Ok(PyClassInitializer::from(ring).add_subclass(Self))
    }

    #[getter]
    fn bytes(slf: &Bound<'_, Self>) -> Bytes {
        Self::limits(slf, |limits| limits.bytes).unwrap_or(0)
    }

    #[getter]
    fn max_bytes(slf: &Bound<'_, Self>) -> Option<Bytes> {
        Self::limits(slf, |limits| limits.max_bytes).flatten()
    }

    #[getter]
    fn max_age_ns(slf: &Bound<'_, Self>) -> Option<i64> {
        Self::limits(slf, |limits| limits.max_age_ns).flatten()
    }

    #[getter]
    fn get_budget_share(slf: &Bound<'_, Self>) -> Bytes {
        Self::limits(slf, |limits| limits.budget_share).unwrap_or(0)
    }

    #[setter]
    fn set_budget_share(slf: &Bound<'_, Self>, share: Given) {
        Self::limits(slf, |limits| limits.budget_share = share.0);
    }

    #[getter]
    fn budget(slf: &Bound<'_, Self>) -> Option<Py<Budget>> {
        let py = slf.py();
        slf.as_super().get().links.with(py, |links| links.budget.as_ref().map(|budget| budget.clone_ref(py)))
    }

    #[getter]
    fn get_clock(slf: &Bound<'_, Self>) -> Option<Py<PyAny>> {
        let py = slf.py();
        slf.as_super().get().links.with(py, |links| links.clock.as_ref().map(|clock| clock.clone_ref(py)))
    }

    #[getter]
    fn get_size(slf: &Bound<'_, Self>) -> Option<Py<PyAny>> {
        let py = slf.py();
        slf.as_super().get().links.with(py, |links| links.size.as_ref().map(|size| size.clone_ref(py)))
    }

    /// Count for another budget, and tell ages by another clock, from now on.
    #[pyo3(name = "use")]
    fn use_(slf: &Bound<'_, Self>, budget: Option<Py<Budget>>, clock: Py<PyAny>) -> PyResult<()> {
        let py = slf.py();
        let ring = slf.as_super().get();
        let (now, then): (i64, i64) = (call(py, &clock, [])?.extract()?, ring.now(py)?);
        let own = ring.enter(py)?;
        debug_assert!(own || ring.owner.get(py) == 0 || !ring.has_waiters(py));
        let core = budget.as_ref().map(|budget| Arc::clone(&budget.get().core));
        let freed = Self::limits(slf, |limits| {
            for (_, entered) in &mut limits.notes {
                *entered = entered.saturating_add(now.saturating_sub(then));
            }
            let bytes = limits.bytes;
            if let Some(budget) = &limits.budget {
                budget.charge(-bytes);
            }
            if let Some(budget) = &core {
                budget.charge(bytes);
            }
            limits.budget = core;
            bytes > 0
        });
        let old = ring
            .links
            .with(py, |links| (std::mem::replace(&mut links.budget, budget), links.clock.replace(clock)));
        if let (Some(budget), Some(true)) = (&old.0, freed) {
            budget.get().let_on(py)?;
        }
        Ok(())
    }

    /// How long the oldest data item has waited, 0 when there is none.
    fn head_age_ns(slf: &Bound<'_, Self>) -> PyResult<i64> {
        let entered = Self::limits(slf, |limits| limits.notes.front().map(|(_, entered)| *entered)).flatten();
        match entered {
            Some(entered) => Ok(slf.as_super().get().now(slf.py())?.saturating_sub(entered)),
            None => Ok(0),
        }
    }
}

/// Bytes that all limited rings of one graph share. See `meridian.engine.ring.Budget`.
#[pyclass(frozen, module = "meridian_fast")]
pub struct Budget {
    core: Arc<BudgetCore>,
    rings: Py<PyList>,
}

impl Budget {
    /// Bytes came free: whoever waited for room on any edge may try again.
    pub(super) fn let_on(&self, py: Python<'_>) -> PyResult<()> {
        let me = thread_id(py);
        for ring in self.rings.bind(py).iter() {
            let ring = ring.cast_into::<Ring>()?;
            if ring.get().has_waiters(py) {
                let own = ring.get().owner.get(py) == me;
                Ring::release(&ring, own)?;
            }
        }
        Ok(())
    }
}

#[pymethods]
impl Budget {
    #[new]
    fn new(py: Python<'_>, limit: Given) -> Self {
        Self { core: Arc::new(BudgetCore::new(limit.0)), rings: PyList::empty(py).unbind() }
    }

    #[getter]
    fn limit(&self) -> Bytes {
        self.core.limit()
    }

    #[getter]
    fn used(&self) -> Bytes {
        self.core.used()
    }

    #[getter]
    fn rings(&self, py: Python<'_>) -> Py<PyList> {
        self.rings.clone_ref(py)
    }

    fn add(&self, py: Python<'_>, ring: &Bound<'_, LimitedRing>, share: Given) -> PyResult<()> {
        self.rings.bind(py).append(ring)?;
        LimitedRing::limits(ring, |limits| limits.budget_share = share.0);
        Ok(())
    }

    fn admits(&self, n: Given, share: Given) -> bool {
        self.core.admits(n.0, share.0)
    }

    fn charge(&self, py: Python<'_>, n: Given) -> PyResult<()> {
        self.core.charge(n.0);
        if n.0 < 0 {
            self.let_on(py)?;
        }
        Ok(())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.rings)
    }
}
