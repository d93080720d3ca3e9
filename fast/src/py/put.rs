//! Putting one item on a [`Ring`]: the policies, and the code of the user's that some of them run.

use pyo3::exceptions::{PyException, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;

use super::call::call;
use super::limits::Weighed;
use super::names::{names, Names};
use super::ring::{Fx, Ring};
use crate::faults::{fault, Fault};
use crate::gate::Inside;
use crate::limits::Bytes;
use crate::ring::{signed, Kind, Outcome};

impl Ring {
    /// Puts one item by `policy`, or by the ring's own, without waking anybody. The caller has entered.
    pub(super) fn put_quietly(
        &self,
        py: Python<'_>,
        names: &Names,
        item: Py<PyAny>,
        policy: Option<&Py<PyAny>>,
        weighed: &Weighed,
        is_control: bool,
    ) -> PyResult<Outcome> {
        let mut fx = Fx::default();
        if self.limited {
            self.core.with(py, |core| core.expire(weighed.now, &mut fx));
        }
        if is_control {
            let refused = self.core.with(py, |core| core.put_control(item));
            self.carry_out(py, fx)?;
            return Ok(if refused.is_err() { Outcome::Blocked } else { Outcome::Ok });
        }
        if weighed.never_fits {
            self.core.with(py, |core| core.lose("invalid", 1, &mut fx));
            self.carry_out(py, fx)?;
            return Ok(Outcome::Dropped);
        }
        let kind = match policy {
            Some(policy) => names.kind_of(policy),
            None => self.kind_now(py),
        };
        if kind == Kind::Custom {
            self.carry_out(py, fx)?;
            return self.put_by_users_policy(py, names, item, policy, weighed);
        }
        let put = self.core.with(py, |core| core.put(item, kind, weighed.bytes, weighed.now, &mut fx));
        if let Err((Outcome::Coalesced, item)) = put {
            self.carry_out(py, fx)?;
            return self.coalesce(py, names, item, policy, weighed);
        }
        let outcome = settled(put);
        self.carry_out(py, fx)?;
        Ok(outcome)
    }

    fn policy_or(&self, py: Python<'_>, policy: Option<&Py<PyAny>>) -> Py<PyAny> {
        match policy {
            Some(policy) => policy.clone_ref(py),
            None => self.links.with(py, |links| links.policy.clone_ref(py)),
        }
    }

    #[cold]
    fn put_by_users_policy(
        &self,
        py: Python<'_>,
        names: &Names,
        item: Py<PyAny>,
        policy: Option<&Py<PyAny>>,
        weighed: &Weighed,
    ) -> PyResult<Outcome> {
        let policy = self.policy_or(py, policy);
        let inside = self.go_in(py)?;
        let (full, size, capacity) =
            self.core.with(py, |core| (core.is_full(weighed.bytes), signed(core.depth()), core.capacity));
        let shown = if full { size.max(capacity) } else { size };
        let answer = policy.bind(py).call_method1(intern!(py, "on_enqueue"), (capacity, shown, &item))?;
        let mut fx = Fx::default();
        let outcome = match names.outcome(&answer) {
            Some(Outcome::Ok) if !full => {
                self.core.with(py, |core| core.append(item, weighed.bytes, weighed.now));
                Outcome::Ok
            }
            Some(Outcome::Blocked) => Outcome::Blocked,
            Some(Outcome::Dropped) => {
                self.core.with(py, |core| core.lose("dropped", 1, &mut fx));
                Outcome::Dropped
            }
            Some(Outcome::Replaced) => {
                let put =
                    self.core.with(py, |core| core.replace_oldest(item, weighed.bytes, weighed.now, &mut fx));
                settled(put)
            }
            Some(Outcome::Coalesced) if names.is_a_coalesce(py, &policy)? => {
                return self.merge_or_drop(py, names, item, &policy, weighed, inside);
            }
            _ => {
                drop(inside);
                let id = self.links.with(py, |links| links.id.clone_ref(py));
                return Err(PyValueError::new_err(format!(
                    "policy {} answered {} for edge {} at size {size} of {capacity}: a full edge can't take it, and only \
                     a Coalesce can answer COALESCED",
                    policy.bind(py).get_type().name()?,
                    answer.repr()?,
                    id.bind(py),
                )));
            }
        };
        drop(inside);
        self.carry_out(py, fx)?;
        Ok(outcome)
    }

    /// Merges an item into the newest one of a full ring.
    #[cold]
    fn coalesce(
        &self,
        py: Python<'_>,
        names: &Names,
        item: Py<PyAny>,
        policy: Option<&Py<PyAny>>,
        weighed: &Weighed,
    ) -> PyResult<Outcome> {
        let policy = self.policy_or(py, policy);
        let inside = self.go_in(py)?;
        let mut fx = Fx::default();
        // Whoever was told of losses, or went in first, may have made room meanwhile.
        let put =
            self.core.with(py, |core| core.put(item, Kind::Coalesce, weighed.bytes, weighed.now, &mut fx));
        if let Err((Outcome::Coalesced, item)) = put {
            return self.merge_or_drop(py, names, item, &policy, weighed, inside);
        }
        let outcome = settled(put);
        drop(inside);
        self.carry_out(py, fx)?;
        Ok(outcome)
    }

    /// Merges an item into the newest one, inside the gate, which opens when the result is in its place.
    fn merge_or_drop(
        &self,
        py: Python<'_>,
        names: &Names,
        item: Py<PyAny>,
        policy: &Py<PyAny>,
        weighed: &Weighed,
        inside: Inside<'_>,
    ) -> PyResult<Outcome> {
        let mut fx = Fx::default();
        let Some(newest) = self.core.with(py, |core| core.items.back().map(|newest| newest.clone_ref(py)))
        else {
            self.core.with(py, |core| core.lose("dropped", 1, &mut fx));
            drop(inside);
            self.carry_out(py, fx)?;
            return Ok(Outcome::Dropped);
        };
        let (old, new) =
            if fault(Fault::CoalescesInTheWrongOrder) { (&item, &newest) } else { (&newest, &item) };
        let answer = if names.is_a_message(old) || names.is_a_message(new) {
            call(py, &names.coalesced, [policy.as_ptr(), old.as_ptr(), new.as_ptr()])
        } else {
            let merge = policy.bind(py).getattr(intern!(py, "fn"))?.unbind();
            if fault(Fault::CoalescesTwice) {
                call(py, &merge, [old.as_ptr(), new.as_ptr()])?;
            }
            call(py, &merge, [old.as_ptr(), new.as_ptr()])
        };
        let (merged, error) = match answer {
            Ok(merged) => {
                let merged = merged.unbind();
                let weight = self.weighed(py, &merged, None)?;
                (Some((merged, weight)), None)
            }
            Err(error) if error.is_instance_of::<PyException>(py) => (None, Some(error)),
            Err(error) => return Err(error),
        };
        let fitting = merged.filter(|(_, weight)| self.may_replace_newest(py, weight));
        let failed = fitting.is_none();
        let (placed, weight) = match &fitting {
            Some((merged, weight)) => (merged.clone_ref(py), weight),
            None if fault(Fault::KeepsTheOlderWhenCoalesceFails) => (newest.clone_ref(py), weighed),
            None => (item.clone_ref(py), weighed), // the newer one alone may still fit
        };
        if failed && !self.may_replace_newest(py, weight) {
            self.core.with(py, |core| core.lose("dropped", 1, &mut fx));
            drop(inside);
            self.carry_out(py, fx)?;
            return Ok(Outcome::Dropped);
        }
        if names.is_a_message(&placed) {
            self.mixed.set(py, true);
        }
        self.core.with(py, |core| {
            core.replace_newest(placed, weight.bytes, &mut fx);
            if failed {
                core.lost.add("coalesce_error".into(), 1);
            } else {
                core.merged += 1;
                core.taken += u64::from(fault(Fault::CountsMergedAsDelivered));
            }
        });
        if failed && fault(Fault::StaysInsideWhenCoalesceFails) {
            std::mem::forget(inside);
        } else {
            drop(inside);
        }
        self.carry_out(py, fx)?;
        if failed {
            self.tell_of_loss(py, "coalesce_error", 1, error)?;
        }
        Ok(Outcome::Coalesced)
    }

    fn may_replace_newest(&self, py: Python<'_>, weight: &Weighed) -> bool {
        !weight.never_fits && self.core.with(py, |core| core.may_replace_newest(weight.bytes))
    }

    /// Puts one item, whose bytes the caller may know, and says what became of it.
    pub fn put_one(
        slf: &Py<Self>,
        py: Python<'_>,
        item: Py<PyAny>,
        policy: Option<&Py<PyAny>>,
        weight: Option<Bytes>,
    ) -> PyResult<Outcome> {
        let ring = slf.get();
        let names = names(py)?;
        let is_message = names.is_a_message(&item);
        let is_control = is_message && Names::is_control(py, &item)?;
        let weighed = if is_control {
            Weighed { bytes: 0, now: ring.now_if_it_matters(py)?, never_fits: false }
        } else {
            ring.weighed(py, &item, weight)?
        };
        let own = ring.enter(py)?;
        if is_message && !weighed.never_fits {
            ring.mixed.set(py, true);
        }
        let was_empty = ring.is_empty(py);
        let outcome = ring.put_quietly(py, names, item, policy, &weighed, is_control)?;
        if was_empty && !ring.is_empty(py) {
            Self::wake(slf, py, own)?;
        }
        let control = ring.core.with(py, |core| !core.control.is_empty());
        if control {
            if let Some(engine) = ring.engine_now(py) {
                engine.bind(py).call_method1(intern!(py, "wake_control"), (slf, own))?;
            }
        }
        Ok(outcome)
    }
}

/// What became of an item, which is dropped if it didn't stay.
fn settled(put: Result<Outcome, (Outcome, Py<PyAny>)>) -> Outcome {
    match put {
        Ok(outcome) | Err((outcome, _)) => outcome,
    }
}
