//! Putting one item on a [`Ring`]: the policies, and the code of the user's that some of them run.

use pyo3::exceptions::{PyException, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;

use super::call::call;
use super::limits::Weighed;
use super::names::{names, Names};
use super::ring::{Fx, Ring};
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
        let outcome = match put {
            Ok(outcome) => outcome,
            Err((Outcome::Coalesced, item)) => {
                self.carry_out(py, fx)?;
                let policy = self.policy_or(py, policy);
                return self.merge_or_drop(py, names, item, &policy, weighed);
            }
            Err((outcome, item)) => {
                drop(item);
                outcome
            }
        };
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
        let (full, size, capacity) =
            self.core.with(py, |core| (core.is_full(weighed.bytes), signed(core.depth()), core.capacity));
        let shown = if full { size.max(capacity) } else { size };
        let answer = self.inside(py, || {
            policy.bind(py).call_method1(intern!(py, "on_enqueue"), (capacity, shown, &item))
        })?;
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
                match put {
                    Ok(outcome) => outcome,
                    Err((outcome, item)) => {
                        drop(item);
                        outcome
                    }
                }
            }
            Some(Outcome::Coalesced) if names.is_a_coalesce(py, &policy)? => {
                if self.is_empty(py) {
                    self.core.with(py, |core| core.lose("dropped", 1, &mut fx));
                    Outcome::Dropped
                } else {
                    return self.merge_or_drop(py, names, item, &policy, weighed);
                }
            }
            _ => {
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
        self.carry_out(py, fx)?;
        Ok(outcome)
    }

    /// Merges an item into the newest one.
    fn merge_or_drop(
        &self,
        py: Python<'_>,
        names: &Names,
        item: Py<PyAny>,
        policy: &Py<PyAny>,
        weighed: &Weighed,
    ) -> PyResult<Outcome> {
        let Some(newest) = self.core.with(py, |core| core.items.back().map(|newest| newest.clone_ref(py)))
        else {
            return Ok(Outcome::Dropped);
        };
        let merging = self.inside(py, || -> PyResult<_> {
            let merged = if names.is_a_message(&newest) || names.is_a_message(&item) {
                call(py, &names.coalesced, [policy.as_ptr(), newest.as_ptr(), item.as_ptr()])
            } else {
                let merge = policy.bind(py).getattr(intern!(py, "fn"))?.unbind();
                call(py, &merge, [newest.as_ptr(), item.as_ptr()])
            };
            match merged {
                Ok(merged) => {
                    let merged = merged.unbind();
                    let weight = self.weigh(py, &merged)?;
                    Ok((Some((merged, weight)), None))
                }
                Err(error) if error.is_instance_of::<PyException>(py) => Ok((None, Some(error))),
                Err(error) => Err(error),
            }
        });
        drop(newest);
        let (merged, error) = merging?;
        let mut fx = Fx::default();
        let fitting = merged.filter(|(_, weight)| self.may_replace_newest(py, weight));
        let failed = fitting.is_none();
        let (placed, weight) = match &fitting {
            Some((merged, weight)) => (merged.clone_ref(py), weight),
            None => (item.clone_ref(py), weighed), // the newer one alone may still fit
        };
        if failed && !self.may_replace_newest(py, weight) {
            self.core.with(py, |core| core.lose("dropped", 1, &mut fx));
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
            }
        });
        self.carry_out(py, fx)?;
        if failed {
            self.tell_of_loss(py, "coalesce_error", 1, error)?;
        }
        Ok(Outcome::Coalesced)
    }

    fn may_replace_newest(&self, py: Python<'_>, weight: &Weighed) -> bool {
        !weight.never_fits && self.core.with(py, |core| core.may_replace_newest(weight.bytes))
    }

    /// Puts one item and says what became of it.
    pub fn put_one(
        slf: &Py<Self>,
        py: Python<'_>,
        item: Py<PyAny>,
        policy: Option<&Py<PyAny>>,
    ) -> PyResult<Outcome> {
        let ring = slf.get();
        let names = names(py)?;
        let is_message = names.is_a_message(&item);
        let is_control = is_message && Names::is_control(py, &item)?;
        let weighed = if is_control {
            Weighed { bytes: 0, now: ring.now_if_it_matters(py)?, never_fits: false }
        } else {
            ring.weigh(py, &item)?
        };
        let own = ring.enter(py)?;
        if is_message {
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
