//! What the engine needs to know of the Python side: classes, enum members and a few functions, looked up once.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

use super::call::{call, class_of};
use super::message::{self, MessageType};
use crate::ring::{Kind, Outcome};

/// Classes, members and functions of `meridian`.
pub struct Names {
    message: Py<PyType>,
    to: Py<PyAny>,
    inherit: Py<PyAny>,
    /// `coalesced(policy, old, new)` merges.
    pub coalesced: Py<PyAny>,
    /// `payload_bytes(payload)` is the size of a payload unless an edge has a function of its own.
    pub payload_bytes: Py<PyAny>,
    /// `Hops(clock)` times items.
    pub hops: Py<PyAny>,
    policies: [(Py<PyAny>, Kind); 4],
    coalesce: Py<PyAny>,
    results: [Py<PyAny>; 5],
}

static NAMES: PyOnceLock<Names> = PyOnceLock::new();

/// What is to be known of the Python side.
///
/// # Errors
///
/// `meridian` can't be imported, or isn't the one that this module belongs to.
pub fn names(py: Python<'_>) -> PyResult<&'static Names> {
    NAMES.get_or_try_init(py, || Names::look_up(py))
}

impl Names {
    fn look_up(py: Python<'_>) -> PyResult<Self> {
        let message = py.import("meridian.core.message")?;
        let policies = py.import("meridian.core.policies")?;
        let step = py.import("meridian.engine.step")?;
        let ring = py.import("meridian.engine.ring")?;
        let hops = py.import("meridian.engine.hops")?;
        let sizes = py.import("meridian.engine.sizes")?;
        let of = |module: &Bound<'_, PyModule>, name: &str| -> PyResult<Py<PyAny>> {
            Ok(module.getattr(name)?.unbind())
        };
        let result = of(&policies, "PutResult")?;
        let member = |name: &str| -> PyResult<Py<PyAny>> { Ok(result.bind(py).getattr(name)?.unbind()) };
        Ok(Self {
            message: message.getattr("Message")?.cast_into::<PyType>()?.unbind(),
            to: of(&step, "To")?,
            inherit: of(&step, "inherit")?,
            coalesced: of(&ring, "coalesced")?,
            payload_bytes: of(&sizes, "payload_bytes")?,
            hops: of(&hops, "Hops")?,
            policies: [
                (of(&policies, "Block")?, Kind::Block),
                (of(&policies, "Drop")?, Kind::Drop),
                (of(&policies, "Latest")?, Kind::Latest),
                (of(&policies, "Coalesce")?, Kind::Coalesce),
            ],
            coalesce: of(&policies, "Coalesce")?,
            results: [
                member("OK")?,
                member("BLOCKED")?,
                member("DROPPED")?,
                member("REPLACED")?,
                member("COALESCED")?,
            ],
        })
    }

    /// Says whether `object` is exactly a `Message`.
    #[inline]
    pub fn is_message(&self, object: &Py<PyAny>) -> bool {
        class_of(object).cast::<ffi::PyObject>() == self.message.as_ptr()
    }

    /// Says whether `object` is a `Message` or of a subclass.
    #[inline]
    pub fn is_a_message(&self, object: &Py<PyAny>) -> bool {
        // SAFETY: both are alive classes.
        self.is_message(object)
            || unsafe { ffi::PyType_IsSubtype(class_of(object), self.message.as_ptr().cast()) } != 0
    }

    /// Says whether a message is CONTROL.
    ///
    /// # Errors
    ///
    /// It has no `type`.
    #[inline]
    pub fn is_control(py: Python<'_>, message: &Py<PyAny>) -> PyResult<bool> {
        Ok(message::type_of(message.bind(py))? == Some(MessageType::Control))
    }

    /// Says whether a message is DATA.
    ///
    /// # Errors
    ///
    /// It has no `type`.
    #[inline]
    pub fn is_data(py: Python<'_>, message: &Py<PyAny>) -> PyResult<bool> {
        Ok(message::type_of(message.bind(py))? == Some(MessageType::Data))
    }

    /// Gives a function's result the trace of the message it came from.
    ///
    /// # Errors
    ///
    /// `parent` is no message.
    pub fn inherit(&self, py: Python<'_>, parent: &Py<PyAny>, result: &Py<PyAny>) -> PyResult<Py<PyAny>> {
        if self.is_a_message(result) {
            return Ok(result.clone_ref(py));
        }
        let made = if class_of(result).cast::<ffi::PyObject>() == self.to.as_ptr() {
            call(py, &self.inherit, [parent.as_ptr(), result.as_ptr()])?
        } else {
            message::derive(parent.bind(py), result.bind(py).clone())?
        };
        Ok(made.unbind())
    }

    /// What a policy object means. Subclasses of the built-in ones are the user's own.
    pub fn kind_of(&self, policy: &Py<PyAny>) -> Kind {
        let class = class_of(policy).cast::<ffi::PyObject>();
        self.policies
            .iter()
            .find(|(known, _)| known.as_ptr() == class)
            .map_or(Kind::Custom, |(_, kind)| *kind)
    }

    /// Says whether a policy is a `Coalesce`, or of a subclass.
    ///
    /// # Errors
    ///
    /// A class of the user's that doesn't let itself be asked.
    pub fn is_a_coalesce(&self, py: Python<'_>, policy: &Py<PyAny>) -> PyResult<bool> {
        policy.bind(py).is_instance(self.coalesce.bind(py))
    }

    /// The member of `PutResult` for an outcome.
    pub fn result(&self, outcome: Outcome) -> &Py<PyAny> {
        &self.results[outcome as usize]
    }

    /// The outcome that a member of `PutResult` stands for, or `None` if it is none.
    pub fn outcome(&self, result: &Bound<'_, PyAny>) -> Option<Outcome> {
        const ALL: [Outcome; 5] =
            [Outcome::Ok, Outcome::Blocked, Outcome::Dropped, Outcome::Replaced, Outcome::Coalesced];
        ALL.into_iter().find(|outcome| result.is(self.result(*outcome)))
    }
}

/// The class of a ring's items at a glance: whether any of `items` is exactly a `Message`.
pub fn any_message(names: &Names, items: &[Py<PyAny>]) -> bool {
    let Some(first) = items.first() else { return false };
    // Batches are mostly of one class, so one comparison of classes decides for most items.
    let class = class_of(first);
    names.is_message(first) || items[1..].iter().any(|item| class_of(item) != class && names.is_message(item))
}
