//! Moving batches onto a [`Ring`] and off it, on the engine's own thread.

use pyo3::prelude::*;

use super::limits::Weighed;
use super::names::{names, Names};
use super::ring::{Fx, Ring};
use crate::ring::{signed, Kind, Outcome};

impl Ring {
    /// Puts `items` in order, as many as the policy takes, and wakes the consumer. What isn't taken stays in `items`.
    ///
    /// # Errors
    ///
    /// What a policy of the user's raised; the items before that one were taken.
    #[inline]
    pub fn offer_all(slf: &Py<Self>, py: Python<'_>, items: &mut Vec<Py<PyAny>>) -> PyResult<usize> {
        let ring = slf.get();
        if ring.limited {
            return Self::offer_by_weight(slf, py, items);
        }
        ring.stay_outside(py)?;
        let (was_empty, n, done) = ring.core.with(py, |core| {
            let was_empty = core.items.is_empty();
            let fits = core.room() >= items.len();
            if core.kind == Kind::Block || (fits && core.kind != Kind::Custom) {
                (was_empty, core.extend(items), true)
            } else {
                (was_empty, 0, false)
            }
        });
        let n = if done { n } else { ring.offer_full(py, items)? };
        if was_empty && !ring.is_empty(py) {
            Self::wake(slf, py, true)?;
        }
        Ok(n)
    }

    #[cold]
    fn offer_full(&self, py: Python<'_>, items: &mut Vec<Py<PyAny>>) -> PyResult<usize> {
        if self.kind_now(py) == Kind::Drop {
            let mut fx = Fx::default();
            let all = items.len();
            self.core.with(py, |core| {
                core.extend(items);
                core.lose("dropped", items.len() as u64, &mut fx);
            });
            fx.discarded.append(items);
            self.carry_out(py, fx)?;
            return Ok(all);
        }
        let names = names(py)?;
        let unlimited = Weighed { bytes: 0, now: 0, never_fits: false };
        let mut n = 0;
        let mut failed = None;
        for item in items.iter() {
            let is_message = names.is_a_message(item);
            if is_message {
                self.mixed.set(py, true);
            }
            let is_control = is_message && Names::is_control(py, item)?;
            match self.put_quietly(py, names, item.clone_ref(py), None, &unlimited, is_control) {
                Ok(Outcome::Blocked) => break,
                Ok(_) => n += 1,
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        drop(items.drain(..n).collect::<Vec<_>>());
        match failed {
            Some(error) => Err(error),
            None => Ok(n),
        }
    }

    fn offer_by_weight(slf: &Py<Self>, py: Python<'_>, items: &mut Vec<Py<PyAny>>) -> PyResult<usize> {
        let mut n = 0;
        let mut result = Ok(());
        for item in items.iter() {
            match Self::put_one(slf, py, item.clone_ref(py), None, None) {
                Ok(Outcome::Blocked) => break,
                Ok(_) => n += 1,
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
        }
        drop(items.drain(..n).collect::<Vec<_>>());
        result.map(|()| n)
    }

    /// Puts one item on a blocking ring and wakes the consumer; gives it back if there is no room.
    #[inline]
    pub fn offer_single(slf: &Py<Self>, py: Python<'_>, item: Py<PyAny>) -> PyResult<Option<Py<PyAny>>> {
        let ring = slf.get();
        ring.stay_outside(py)?;
        let put = ring.core.with(py, |core| {
            if core.room() == 0 {
                return Err(item);
            }
            core.append(item, 0, 0);
            Ok(core.items.len() == 1)
        });
        match put {
            Err(item) => return Ok(Some(item)),
            Ok(true) => Self::wake(slf, py, true)?,
            Ok(false) => {}
        }
        Ok(None)
    }

    /// Moves up to `k` data items to the end of `into`, and lets producers on.
    #[inline]
    pub fn take_into(
        &self,
        py: Python<'_>,
        k: usize,
        put_back: bool,
        into: &mut Vec<Py<PyAny>>,
    ) -> PyResult<usize> {
        let now = if self.limited { self.now_if_it_matters(py)? } else { 0 };
        self.stay_outside(py)?;
        let mut fx = Fx::default();
        let (k, at_low) = self.core.with(py, |core| {
            if self.limited {
                core.expire(now, &mut fx);
            }
            let k = core.take(k, put_back, into, &mut fx);
            (k, signed(core.items.len()) <= core.low)
        });
        self.carry_out(py, fx)?;
        self.let_on(py, at_low)?;
        Ok(k)
    }

    /// Takes the oldest data item of a plain ring, and lets producers on.
    #[inline]
    pub fn take_one(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        self.stay_outside(py)?;
        let (item, at_low) = self.core.with(py, |core| {
            let item = core.items.pop_front();
            core.taken += u64::from(item.is_some());
            (item, signed(core.items.len()) <= core.low)
        });
        self.let_on(py, at_low)?;
        Ok(item)
    }

    /// Lets producers on: those of a plain ring when it is half empty, those of a limited one whenever there is room.
    #[inline]
    fn let_on(&self, py: Python<'_>, at_low: bool) -> PyResult<()> {
        if !self.has_waiters(py) {
            return Ok(());
        }
        if if self.limited { self.room_now(py)? > 0 } else { at_low } {
            self.release_now(py, true)?;
        }
        Ok(())
    }

    /// Ends a batch of `k` items that was taken with `put_back`; `rest` comes back. So it does with a `k` of 0, which says that it
    /// was taken for good, even where others have taken its room meanwhile.
    pub fn settle_with(&self, py: Python<'_>, k: usize, rest: Vec<Py<PyAny>>) -> PyResult<()> {
        let again =
            if k == 0 && self.limited && !rest.is_empty() { Some(self.weigh_all(py, &rest)?) } else { None };
        self.stay_outside(py)?;
        let mut fx = Fx::default();
        let at_low = self.core.with(py, |core| {
            if let (Some(notes), Some(limits)) = (again, &mut core.limits) {
                limits.keep(notes);
            }
            core.settle(k, rest, &mut fx);
            signed(core.items.len()) <= core.low
        });
        self.carry_out(py, fx)?;
        self.let_on(py, at_low)
    }
}
