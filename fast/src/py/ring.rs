//! The Python face of [`crate::ring`]: user code, wake-ups and waiting turns around the core.
//!
//! **Threads.** Any thread may put and get. What runs no user code is one piece under the interpreter's lock. Where a coalesce
//! function or a policy of the user's runs in the middle, the ring is marked with the thread that is in there: others wait
//! until it is out, and the thread itself is refused.

use pyo3::exceptions::{PyIndexError, PyRuntimeError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString};

use super::call::thread_id;
use super::cell::{GilCell, GilValue};
use super::engine::Engine;
use super::lane::Lane;
use super::limits::{Budget, Given};
use super::names::{any_message, names};
use super::ready::Turn;
use crate::faults::{fault, Fault};
use crate::gate::Gate;
use crate::limits::{Bytes, Limits};
use crate::ring::{signed, Effects, Kind, Outcome, Passed, Ring as Core};

/// One edge's items. See `meridian.engine.ring.Ring`.
#[pyclass(frozen, subclass, module = "meridian_fast", weakref)]
pub struct Ring {
    pub(super) core: GilCell<Core<Py<PyAny>>>,
    /// At least one item was a `Message`.
    pub(super) mixed: GilValue<bool>,
    pub(super) gate: Gate,
    pub(super) owner: GilValue<u64>,
    waits: GilValue<i64>,
    blocked_ns: GilValue<i64>,
    /// Each section begins by telling `hops`.
    pub(super) timing: GilValue<bool>,
    node: GilValue<i64>,
    pub(super) limited: bool,
    pub(super) links: GilCell<Links>,
}

pub(super) struct Links {
    pub(super) id: Py<PyAny>,
    pub(super) policy: Py<PyAny>,
    pub(super) check: Option<Py<PyAny>>,
    pub(super) port: Option<Py<PyAny>>,
    pub(super) waiters: Option<Vec<Py<Turn>>>,
    pub(super) turn: Option<Py<Turn>>,
    pub(super) control_turn: Option<Py<Turn>>,
    pub(super) engine: Option<Py<Engine>>,
    pub(super) on_loss: Option<Py<PyAny>>,
    pub(super) size: Option<Py<PyAny>>,
    pub(super) clock: Option<Py<PyAny>>,
    pub(super) budget: Option<Py<Budget>>,
    pub(super) hops: Option<Py<PyAny>>,
}

/// What a ring has only while it is attached; whoever takes it drops it.
type Attached = (Option<Py<Turn>>, Option<Py<Turn>>, Option<Vec<Py<Turn>>>);

impl Links {
    fn leave(&mut self) -> Attached {
        (self.turn.take(), self.control_turn.take(), self.waiters.take())
    }
}

pub(super) type Fx = Effects<Py<PyAny>>;

impl Ring {
    pub(super) fn build(
        py: Python<'_>,
        id: Py<PyAny>,
        capacity: isize,
        policy: Py<PyAny>,
        check: Option<Py<PyAny>>,
        limits: Option<Box<Limits>>,
    ) -> PyResult<Self> {
        let mut core = Core::new(capacity, names(py)?.kind_of(&policy));
        let limited = limits.is_some();
        core.limits = limits;
        Ok(Self {
            core: GilCell::new(core),
            mixed: GilValue::new(false),
            gate: Gate::new(),
            owner: GilValue::new(0),
            waits: GilValue::new(0),
            blocked_ns: GilValue::new(0),
            timing: GilValue::new(false),
            node: GilValue::new(-1),
            limited,
            links: GilCell::new(Links {
                id,
                policy,
                check,
                port: Some(intern!(py, "").clone().into_any().unbind()),
                waiters: None,
                turn: None,
                control_turn: None,
                engine: None,
                on_loss: None,
                size: None,
                clock: None,
                budget: None,
                hops: None,
            }),
        })
    }

    /// What a full ring does.
    #[inline]
    pub fn kind_now(&self, py: Python<'_>) -> Kind {
        self.core.with(py, |core| core.kind)
    }

    /// It also bounds bytes or age.
    #[inline]
    pub fn is_limited(&self) -> bool {
        self.limited
    }

    /// No data waits.
    #[inline]
    pub fn is_empty(&self, py: Python<'_>) -> bool {
        self.core.with(py, |core| core.items.is_empty())
    }

    /// How many data items wait.
    #[inline]
    pub fn len(&self, py: Python<'_>) -> usize {
        self.core.with(py, |core| core.items.len())
    }

    /// There is no room by count.
    #[inline]
    pub fn is_full_now(&self, py: Python<'_>) -> bool {
        self.core.with(py, |core| core.room() == 0)
    }

    /// Says whether any of `items`, which came from this ring, is exactly a `Message`.
    ///
    /// # Errors
    ///
    /// Meridian's own classes can't be imported.
    #[inline]
    pub fn has_message_among(&self, py: Python<'_>, items: &[Py<PyAny>]) -> PyResult<bool> {
        Ok(self.mixed.get(py) && any_message(names(py)?, items))
    }

    /// Knows, from now on, that some items are envelopes, if they are.
    #[inline]
    pub fn note_mixed(&self, py: Python<'_>, has_message: bool) {
        if has_message {
            self.mixed.set(py, true);
        }
    }

    /// Something must be satisfied by data.
    pub fn is_checked(&self, py: Python<'_>) -> bool {
        self.links.with(py, |links| links.check.is_some())
    }

    /// The input that it leads to.
    pub fn port_now(&self, py: Python<'_>) -> Py<PyAny> {
        self.links
            .with(py, |links| links.port.as_ref().map(|port| port.clone_ref(py)))
            .unwrap_or_else(|| py.None())
    }

    pub(super) fn has_waiters(&self, py: Python<'_>) -> bool {
        self.links.with(py, |links| links.waiters.as_ref().is_some_and(|waiters| !waiters.is_empty()))
    }

    pub(super) fn engine_now(&self, py: Python<'_>) -> Option<Py<Engine>> {
        self.links.with(py, |links| links.engine.as_ref().map(|engine| engine.clone_ref(py)))
    }

    // ---- timing --------------------------------------------------------------------------------------------------

    fn hops_now(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.links.with(py, |links| links.hops.as_ref().map(|hops| hops.clone_ref(py)))
    }

    /// A section begins whose times somebody wants to know.
    #[cold]
    pub(super) fn note_hops(&self, py: Python<'_>) -> PyResult<()> {
        let goes_on = match self.hops_now(py) {
            Some(hops) => self.tell_hops(py, &hops, intern!(py, "note"))?.is_truthy()?,
            None => false,
        };
        if !goes_on {
            self.timing.set(py, false);
        }
        Ok(())
    }

    fn tell_hops<'py>(
        &self,
        py: Python<'py>,
        hops: &Py<PyAny>,
        what: &Bound<'py, PyString>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let Passed { came, left, gone, kept } = self.core.with(py, |core| core.passed());
        hops.bind(py).call_method1(what, (came, left, gone, kept))
    }

    // ---- after an operation --------------------------------------------------------------------------------------

    /// Carries out what an operation did besides: drops what was discarded, tells of losses, lets others use freed bytes.
    #[inline]
    pub(super) fn carry_out(&self, py: Python<'_>, fx: Fx) -> PyResult<()> {
        if fx.discarded.is_empty() && fx.losses.is_empty() && !fx.freed {
            return Ok(());
        }
        self.carry_out_all(py, fx)
    }

    #[cold]
    fn carry_out_all(&self, py: Python<'_>, fx: Fx) -> PyResult<()> {
        drop(fx.discarded);
        for (cause, n) in fx.losses {
            self.tell_of_loss(py, cause, n, None)?;
        }
        if fx.freed {
            let budget =
                self.links.with(py, |links| links.budget.as_ref().map(|budget| budget.clone_ref(py)));
            if let Some(budget) = budget {
                budget.get().let_on(py)?;
            }
        }
        Ok(())
    }

    pub(super) fn tell_of_loss(
        &self,
        py: Python<'_>,
        cause: &str,
        n: u64,
        error: Option<PyErr>,
    ) -> PyResult<()> {
        let (on_loss, id) = self.links.with(py, |links| {
            (links.on_loss.as_ref().map(|on_loss| on_loss.clone_ref(py)), links.id.clone_ref(py))
        });
        if let Some(on_loss) = on_loss {
            let error = error.map(|error| error.into_value(py));
            on_loss.bind(py).call1((id, cause, n, error))?;
        }
        Ok(())
    }

    /// Data came to the empty ring: queues its turn.
    #[inline]
    pub fn wake(slf: &Py<Self>, py: Python<'_>, own: bool) -> PyResult<()> {
        let ring = slf.get();
        if fault(Fault::ForgetsToWake) {
            return Ok(());
        }
        if own {
            // Whoever drops a reference with the token in hand is spared the question whether the lock is held.
            let (turn, idle) = ring.links.with(py, |links| {
                let idle = links.engine.as_ref().filter(|engine| !engine.get().running.get(py));
                let turn = links.turn.as_ref().map(|turn| turn.clone_ref(py));
                (turn, idle.map(|engine| engine.clone_ref(py)))
            });
            if let Some(turn) = turn {
                let was_queued = turn.get().queued.get(py);
                let queued = Turn::queue(&turn, py);
                turn.drop_ref(py);
                return match idle {
                    Some(engine) if !was_queued => queued.and_then(|()| engine.get().arm_now(py)),
                    _ => queued,
                };
            }
        }
        if let Some(engine) = ring.engine_now(py) {
            engine.bind(py).call_method1(intern!(py, "wake"), (slf, own))?;
        }
        Ok(())
    }

    // ---- waiting for room ----------------------------------------------------------------------------------------

    /// How many more data items fit now.
    #[inline]
    pub fn room_now(&self, py: Python<'_>) -> PyResult<usize> {
        if !self.limited {
            return Ok(self.core.with(py, |core| core.room()));
        }
        let now = self.now_if_it_matters(py)?;
        self.stay_outside(py)?;
        let mut fx = Fx::default();
        let room = self.core.with(py, |core| {
            core.expire(now, &mut fx);
            if core.limits.as_ref().is_some_and(|limits| limits.is_used_up()) {
                0
            } else {
                core.room()
            }
        });
        self.carry_out(py, fx)?;
        Ok(room)
    }

    /// Lets `turn` run again when there is room. It counts as queued meanwhile.
    pub fn wait_for_room(slf: &Py<Self>, py: Python<'_>, turn: Py<Turn>) -> PyResult<()> {
        let ring = slf.get();
        let Some(engine) = ring.engine_now(py) else {
            return Err(PyRuntimeError::new_err("nobody waits on a ring that isn't attached"));
        };
        let waiter = turn.get();
        waiter.queued.set(py, true);
        if fault(Fault::SpinsWhileItWaits) {
            return Turn::push(&turn, py);
        }
        ring.waits.set(py, ring.waits.get(py) + 1);
        waiter.wait_for(py, Some(slf.clone_ref(py)));
        waiter.since.set(py, engine.get().now.get(py));
        let first = ring.links.with(py, |links| {
            let waiters = links.waiters.get_or_insert_default();
            waiters.push(turn);
            waiters.len() == 1
        });
        if first {
            engine.get().note_waited(py, slf)?;
        }
        Ok(())
    }

    /// Lets every turn that waits for room try again, in the order in which they came.
    pub fn release_now(&self, py: Python<'_>, own: bool) -> PyResult<()> {
        let Some(engine) = self.engine_now(py) else { return Ok(()) };
        debug_assert!(own, "other threads knock");
        let mut waiters = self.links.with(py, |links| links.waiters.take()).unwrap_or_default();
        if fault(Fault::ForgetsOneOfTwoWhoWait) {
            waiters.truncate(1);
        }
        let kernel = engine.get();
        let running = kernel.running.get(py);
        let now = if running { kernel.now.get(py) } else { kernel.time(py)? };
        for turn in waiters {
            let waiter = turn.get();
            waiter.wait_for(py, None);
            self.blocked_ns
                .set(py, self.blocked_ns.get(py).saturating_add(now.saturating_sub(waiter.since.get(py))));
            Turn::push(&turn, py)?;
        }
        if !running {
            kernel.arm_now(py)?;
        }
        Ok(())
    }
}

#[pymethods]
impl Ring {
    #[new]
    #[pyo3(signature = (id, capacity, policy, check = None))]
    fn new(
        py: Python<'_>,
        id: Py<PyAny>,
        capacity: isize,
        policy: Py<PyAny>,
        check: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        Self::build(py, id, capacity, policy, check, None)
    }

    // ---- reading -------------------------------------------------------------------------------------------------

    #[getter]
    fn get_id(&self, py: Python<'_>) -> Py<PyAny> {
        self.links.with(py, |links| links.id.clone_ref(py))
    }

    #[setter]
    fn set_id(&self, py: Python<'_>, id: Py<PyAny>) {
        let old = self.links.with(py, |links| std::mem::replace(&mut links.id, id));
        drop(old);
    }

    #[getter]
    fn limited(&self) -> bool {
        self.limited
    }

    #[getter]
    fn items(slf: &Bound<'_, Self>) -> Lane {
        Lane::new(slf.clone().unbind(), false)
    }

    #[getter]
    fn control(slf: &Bound<'_, Self>) -> Option<Lane> {
        let had = slf.get().core.with(slf.py(), |core| core.had_control);
        had.then(|| Lane::new(slf.clone().unbind(), true))
    }

    #[getter]
    fn capacity(&self, py: Python<'_>) -> isize {
        self.core.with(py, |core| core.capacity)
    }

    #[getter]
    fn space(&self, py: Python<'_>) -> isize {
        self.core.with(py, |core| core.space)
    }

    #[getter]
    fn low(&self, py: Python<'_>) -> isize {
        self.core.with(py, |core| core.low)
    }

    #[getter]
    fn kind(&self, py: Python<'_>) -> u8 {
        self.kind_now(py) as u8
    }

    #[getter]
    fn policy(&self, py: Python<'_>) -> Py<PyAny> {
        self.links.with(py, |links| links.policy.clone_ref(py))
    }

    #[getter]
    fn get_check(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.links.with(py, |links| links.check.as_ref().map(|check| check.clone_ref(py)))
    }

    #[setter]
    fn set_check(&self, py: Python<'_>, check: Option<Py<PyAny>>) {
        let old = self.links.with(py, |links| std::mem::replace(&mut links.check, check));
        drop(old);
    }

    #[getter]
    fn get_mixed(&self, py: Python<'_>) -> bool {
        self.mixed.get(py)
    }

    #[setter]
    fn set_mixed(&self, py: Python<'_>, mixed: bool) {
        self.mixed.set(py, mixed);
    }

    #[getter]
    fn get_taken(&self, py: Python<'_>) -> u64 {
        self.core.with(py, |core| core.taken)
    }

    #[setter]
    fn set_taken(&self, py: Python<'_>, taken: u64) {
        self.core.with(py, |core| core.taken = taken);
    }

    #[getter]
    fn get_taken_control(&self, py: Python<'_>) -> u64 {
        self.core.with(py, |core| core.taken_control)
    }

    #[setter]
    fn set_taken_control(&self, py: Python<'_>, taken_control: u64) {
        self.core.with(py, |core| core.taken_control = taken_control);
    }

    #[getter]
    fn get_merged(&self, py: Python<'_>) -> u64 {
        self.core.with(py, |core| core.merged)
    }

    #[setter]
    fn set_merged(&self, py: Python<'_>, merged: u64) {
        self.core.with(py, |core| core.merged = merged);
    }

    #[getter]
    fn get_lost<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let lost = self.core.with(py, |core| core.lost.clone());
        if lost.is_empty() {
            return Ok(None);
        }
        let by_cause = PyDict::new(py);
        for (cause, n) in lost.iter() {
            by_cause.set_item(cause, n)?;
        }
        Ok(Some(by_cause))
    }

    #[setter]
    fn set_lost(&self, py: Python<'_>, lost: Option<Vec<(String, u64)>>) {
        self.core.with(py, |core| {
            core.lost = crate::counters::Losses::default();
            for (cause, n) in lost.unwrap_or_default() {
                core.lost.add(cause.into(), n);
            }
        });
    }

    #[getter]
    fn get_hops(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.hops_now(py)
    }

    #[getter]
    fn get_timing(&self, py: Python<'_>) -> bool {
        self.timing.get(py)
    }

    #[getter]
    fn get_blocked_ns(&self, py: Python<'_>) -> i64 {
        self.blocked_ns.get(py)
    }

    #[setter]
    fn set_blocked_ns(&self, py: Python<'_>, blocked_ns: i64) {
        self.blocked_ns.set(py, blocked_ns);
    }

    #[getter]
    fn get_waits(&self, py: Python<'_>) -> i64 {
        self.waits.get(py)
    }

    #[setter]
    fn set_waits(&self, py: Python<'_>, waits: i64) {
        self.waits.set(py, waits);
    }

    #[getter]
    fn get_waiters(&self, py: Python<'_>) -> Option<Vec<Py<Turn>>> {
        self.links.with(py, |links| {
            links.waiters.as_ref().map(|turns| turns.iter().map(|turn| turn.clone_ref(py)).collect())
        })
    }

    #[setter]
    fn set_waiters(&self, py: Python<'_>, waiters: Option<Vec<Py<Turn>>>) {
        let old = self.links.with(py, |links| std::mem::replace(&mut links.waiters, waiters));
        drop(old);
    }

    #[getter]
    fn get_turn(&self, py: Python<'_>) -> Option<Py<Turn>> {
        self.links.with(py, |links| links.turn.as_ref().map(|turn| turn.clone_ref(py)))
    }

    #[setter]
    fn set_turn(&self, py: Python<'_>, turn: Option<Py<Turn>>) {
        let old = self.links.with(py, |links| std::mem::replace(&mut links.turn, turn));
        drop(old);
    }

    #[getter]
    fn get_control_turn(&self, py: Python<'_>) -> Option<Py<Turn>> {
        self.links.with(py, |links| links.control_turn.as_ref().map(|turn| turn.clone_ref(py)))
    }

    #[setter]
    fn set_control_turn(&self, py: Python<'_>, turn: Option<Py<Turn>>) {
        let old = self.links.with(py, |links| std::mem::replace(&mut links.control_turn, turn));
        drop(old);
    }

    #[getter]
    fn get_engine(&self, py: Python<'_>) -> Option<Py<Engine>> {
        self.engine_now(py)
    }

    #[setter]
    fn set_engine(&self, py: Python<'_>, engine: Option<Py<Engine>>) {
        let old = self.links.with(py, |links| std::mem::replace(&mut links.engine, engine));
        drop(old);
    }

    #[getter]
    fn get_node(&self, py: Python<'_>) -> i64 {
        self.node.get(py)
    }

    #[setter]
    fn set_node(&self, py: Python<'_>, node: i64) {
        self.node.set(py, node);
    }

    #[getter]
    fn get_port(&self, py: Python<'_>) -> Py<PyAny> {
        self.port_now(py)
    }

    #[setter]
    fn set_port(&self, py: Python<'_>, port: Py<PyAny>) {
        let old = self.links.with(py, |links| links.port.replace(port));
        drop(old);
    }

    #[getter]
    fn get_on_loss(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.links.with(py, |links| links.on_loss.as_ref().map(|on_loss| on_loss.clone_ref(py)))
    }

    #[setter]
    fn set_on_loss(&self, py: Python<'_>, on_loss: Option<Py<PyAny>>) {
        let old = self.links.with(py, |links| std::mem::replace(&mut links.on_loss, on_loss));
        drop(old);
    }

    #[getter]
    fn get_owner(&self, py: Python<'_>) -> u64 {
        self.owner.get(py)
    }

    #[setter]
    fn set_owner(&self, py: Python<'_>, owner: u64) {
        self.owner.set(py, owner);
    }

    #[getter]
    fn get_inside(&self) -> u64 {
        self.gate.thread()
    }

    fn depth(&self, py: Python<'_>) -> usize {
        self.core.with(py, |core| core.depth())
    }

    fn __len__(&self, py: Python<'_>) -> usize {
        self.depth(py)
    }

    fn room(&self, py: Python<'_>) -> PyResult<usize> {
        self.room_now(py)
    }

    fn weigh(&self, py: Python<'_>, item: Py<PyAny>) -> PyResult<Option<Bytes>> {
        self.bytes_that_fit(py, &item)
    }

    #[pyo3(name = "use")]
    #[allow(clippy::unused_self)] // a limited ring asks its limits
    fn use_(&self, budget: Option<Py<Budget>>, clock: &Bound<'_, PyAny>) {
        let _ = (budget, clock);
    }

    fn accepted(&self, py: Python<'_>) -> u64 {
        self.core.with(py, |core| core.accepted())
    }

    fn fits(&self, py: Python<'_>, item: Py<PyAny>) -> PyResult<bool> {
        if !self.limited {
            return Ok(self.core.with(py, |core| core.room() > 0));
        }
        let weighed = self.weighed(py, &item, None)?;
        self.stay_outside(py)?;
        let mut fx = Fx::default();
        let fits = self.core.with(py, |core| {
            if weighed.never_fits {
                return true;
            }
            core.expire(weighed.now, &mut fx);
            !core.is_full(weighed.bytes)
        });
        self.carry_out(py, fx)?;
        Ok(fits)
    }

    // ---- one item ------------------------------------------------------------------------------------------------

    #[pyo3(signature = (item, policy = None, weight = None))]
    fn put(
        slf: &Bound<'_, Self>,
        item: Py<PyAny>,
        policy: Option<Py<PyAny>>,
        weight: Option<Given>,
    ) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let weight = weight.map(|Given(bytes)| bytes);
        let outcome = Self::put_one(slf.as_unbound(), py, item, policy.as_ref(), weight)?;
        Ok(names(py)?.result(outcome).clone_ref(py))
    }

    #[pyo3(signature = (items, policy = None, weights = None))]
    fn put_many(
        slf: &Bound<'_, Self>,
        items: &Bound<'_, PyAny>,
        policy: Option<Py<PyAny>>,
        weights: Option<Vec<Given>>,
    ) -> PyResult<usize> {
        let (py, weights) = (slf.py(), weights.unwrap_or_default());
        let mut n = 0;
        for item in items.try_iter()? {
            let weight = weights.get(n).map(|Given(bytes)| *bytes);
            let outcome = Self::put_one(slf.as_unbound(), py, item?.unbind(), policy.as_ref(), weight)?;
            if outcome == Outcome::Blocked {
                break;
            }
            n += 1;
        }
        Ok(n)
    }

    fn take_many(slf: &Bound<'_, Self>, n: usize) -> PyResult<Vec<Py<PyAny>>> {
        let py = slf.py();
        let ring = slf.get();
        let now = ring.now_if_it_matters(py)?;
        let own = ring.enter(py)?;
        let mut fx = Fx::default();
        let mut items = Vec::new();
        ring.core.with(py, |core| {
            if ring.limited && n > core.control.len() {
                core.expire(now, &mut fx);
            }
            items.extend((0..n).map_while(|_| core.get(&mut fx)));
        });
        ring.carry_out(py, fx)?;
        if !items.is_empty() && ring.has_waiters(py) {
            Self::release(slf, own)?;
        }
        Ok(items)
    }

    fn get(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let ring = slf.get();
        let now = ring.now_if_it_matters(py)?;
        let own = ring.enter(py)?;
        let mut fx = Fx::default();
        let item = ring.core.with(py, |core| {
            if core.control.is_empty() && ring.limited {
                core.expire(now, &mut fx);
            }
            core.get(&mut fx)
        });
        ring.carry_out(py, fx)?;
        let item = item.ok_or_else(|| PyIndexError::new_err("pop from an empty deque"))?;
        if ring.has_waiters(py) && !fault(Fault::ForgetsWhoWaits) {
            Self::release(slf, own)?;
        }
        Ok(item)
    }

    #[pyo3(signature = (cause, n, error = None))]
    fn lose(&self, py: Python<'_>, cause: String, n: u64, error: Option<Bound<'_, PyAny>>) -> PyResult<()> {
        let tell = cause != "replaced";
        let told = cause.clone();
        self.core.with(py, |core| core.lost.add(cause.into(), n));
        if tell {
            self.tell_of_loss(py, &told, n, error.map(PyErr::from_value))?;
        }
        Ok(())
    }

    #[pyo3(signature = (cause, n = 1))]
    fn refuse(&self, py: Python<'_>, cause: String, n: u64) -> PyResult<()> {
        self.stay_outside(py)?;
        self.lose(py, cause, n, None)
    }

    // ---- batches -------------------------------------------------------------------------------------------------

    fn offer(slf: &Bound<'_, Self>, items: &Bound<'_, PyList>) -> PyResult<usize> {
        let mut items: Vec<Py<PyAny>> = items.iter().map(Bound::unbind).collect();
        Self::offer_all(slf.as_unbound(), slf.py(), &mut items)
    }

    fn offer_one(slf: &Bound<'_, Self>, item: Py<PyAny>) -> PyResult<bool> {
        Ok(Self::offer_single(slf.as_unbound(), slf.py(), item)?.is_none())
    }

    #[pyo3(signature = (k, put_back = false))]
    fn take(&self, py: Python<'_>, k: usize, put_back: bool) -> PyResult<Vec<Py<PyAny>>> {
        let mut items = Vec::new();
        self.take_into(py, k, put_back, &mut items)?;
        Ok(items)
    }

    fn settle(&self, py: Python<'_>, k: usize, rest: Vec<Py<PyAny>>) -> PyResult<()> {
        self.settle_with(py, k, rest)
    }

    fn take_control(&self, py: Python<'_>, k: usize) -> PyResult<Vec<Py<PyAny>>> {
        self.stay_outside(py)?;
        let mut messages = Vec::new();
        self.core.with(py, |core| core.take_control(k, &mut messages));
        if !messages.is_empty() && self.has_waiters(py) {
            self.release_now(py, true)?;
        }
        Ok(messages)
    }

    // ---- waiting for room ----------------------------------------------------------------------------------------

    fn wait(slf: &Bound<'_, Self>, turn: Py<Turn>) -> PyResult<()> {
        Self::wait_for_room(slf.as_unbound(), slf.py(), turn)
    }

    fn forget(&self, py: Python<'_>, turn: &Bound<'_, Turn>) {
        let gone = self.links.with(py, |links| {
            let waiters = links.waiters.as_mut()?;
            let at = waiters.iter().position(|waiter| waiter.is(turn))?;
            Some(waiters.remove(at))
        });
        drop(gone);
    }

    pub(super) fn release(slf: &Bound<'_, Self>, own: bool) -> PyResult<()> {
        let py = slf.py();
        if own {
            return slf.get().release_now(py, true);
        }
        if let Some(engine) = slf.get().engine_now(py) {
            engine.bind(py).call_method1(intern!(py, "knock"), (slf,))?;
        }
        Ok(())
    }

    fn blocked_s(&self, py: Python<'_>, now: i64) -> f64 {
        let turns = self.get_waiters(py).unwrap_or_default();
        let still: i64 = turns
            .iter()
            .map(|turn| now.saturating_sub(turn.get().since.get(py)))
            .fold(0, i64::saturating_add);
        #[allow(clippy::cast_precision_loss)]
        // nanoseconds as seconds: 53 bits are a hundred days to the nanosecond
        let ns = self.blocked_ns.get(py).saturating_add(still) as f64;
        ns / 1e9
    }

    // ---- timing --------------------------------------------------------------------------------------------------

    /// Times what comes next, for a while; never waits.
    fn time_hops<'py>(&self, py: Python<'py>, clock: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        if self.gate.thread() != 0 {
            return Ok(py.None().into_bound(py)); // user code is at work in here; the next look will do
        }
        let hops = if let Some(hops) = self.hops_now(py) {
            hops
        } else {
            let made = names(py)?.hops.bind(py).call1((clock,))?.unbind();
            let old = self.links.with(py, |links| links.hops.replace(made.clone_ref(py)));
            drop(old);
            made
        };
        let since = self.tell_hops(py, &hops, intern!(py, "look"))?;
        self.timing.set(py, true);
        Ok(since)
    }

    // ---- settings ------------------------------------------------------------------------------------------------

    fn attach(&self, py: Python<'_>, engine: Py<Engine>, node: i64, port: Py<PyAny>, owner: u64) {
        self.node.set(py, node);
        self.owner.set(py, owner);
        let old = self
            .links
            .with(py, |links| (links.engine.replace(engine), links.port.replace(port), links.leave()));
        drop(old);
    }

    fn detach(&self, py: Python<'_>) {
        self.owner.set(py, 0);
        self.blocked_ns.set(py, 0);
        self.core.with(py, |core| {
            core.taken = 0;
            core.taken_control = 0;
            core.merged = 0;
            core.lost = crate::counters::Losses::default();
        });
        let old = self.links.with(py, |links| (links.engine.take(), links.hops.take(), links.leave()));
        drop(old);
    }

    fn set_capacity(slf: &Bound<'_, Self>, capacity: isize) -> PyResult<()> {
        let py = slf.py();
        let ring = slf.get();
        let own = ring.enter(py)?;
        ring.core.with(py, |core| core.set_capacity(capacity));
        if ring.has_waiters(py) && ring.room_now(py)? > 0 {
            Self::release(slf, own)?;
        }
        Ok(())
    }

    fn set_policy(slf: &Bound<'_, Self>, policy: Py<PyAny>) -> PyResult<()> {
        let py = slf.py();
        let ring = slf.get();
        let kind = names(py)?.kind_of(&policy);
        ring.core.with(py, |core| core.set_kind(kind));
        let old = ring.links.with(py, |links| std::mem::replace(&mut links.policy, policy));
        drop(old);
        if ring.has_waiters(py) {
            let own = ring.owner.get(py) == thread_id(py);
            Self::release(slf, own)?;
        }
        Ok(())
    }

    /// Take all that `other` holds, and its counts; nothing is lost, even where it is more than the limits allow.
    fn take_over(&self, py: Python<'_>, other: &Bound<'_, PyAny>) -> PyResult<()> {
        let now = if self.limited { self.now(py)? } else { 0 };
        let mut items = Vec::new();
        for item in other.getattr(intern!(py, "items"))?.try_iter()? {
            let item = item?.unbind();
            // What nobody can tell the size of counts for nothing.
            let bytes = if self.limited { self.size_of(py, &item).unwrap_or(0) } else { 0 };
            items.push((item, bytes));
        }
        let control = other.getattr(intern!(py, "control"))?;
        let messages: Vec<Py<PyAny>> = if control.is_none() {
            Vec::new()
        } else {
            control.try_iter()?.map(|message| message.map(Bound::unbind)).collect::<PyResult<_>>()?
        };
        let taken: u64 = other.getattr(intern!(py, "taken"))?.extract()?;
        let taken_control: u64 = other.getattr(intern!(py, "taken_control"))?.extract()?;
        let merged: u64 = other.getattr(intern!(py, "merged"))?.extract()?;
        let lost = other.getattr(intern!(py, "lost"))?;
        let lost: Vec<(String, u64)> = if lost.is_none() {
            Vec::new()
        } else {
            lost.call_method0(intern!(py, "items"))?
                .try_iter()?
                .map(|pair| pair.and_then(|pair| pair.extract()))
                .collect::<PyResult<_>>()?
        };
        self.mixed.set(py, other.getattr(intern!(py, "mixed"))?.extract()?);
        self.core.with(py, |core| {
            for (item, bytes) in items {
                core.append(item, bytes, now);
            }
            core.space -= signed(messages.len());
            core.had_control |= !messages.is_empty();
            core.control.extend(messages);
            core.taken = taken;
            core.taken_control = taken_control;
            core.merged = merged;
        });
        self.set_lost(py, Some(lost));
        Ok(())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.core
            .try_with(|core| core.items.iter().chain(&core.control).try_for_each(|item| visit.call(item)))
            .unwrap_or(Ok(()))?;
        self.links
            .try_with(|links| {
                visit.call(&links.id)?;
                visit.call(&links.policy)?;
                visit.call(&links.check)?;
                visit.call(&links.port)?;
                links.waiters.iter().flatten().try_for_each(|turn| visit.call(turn))?;
                visit.call(&links.turn)?;
                visit.call(&links.control_turn)?;
                visit.call(&links.engine)?;
                visit.call(&links.on_loss)?;
                visit.call(&links.size)?;
                visit.call(&links.clock)?;
                visit.call(&links.budget)?;
                visit.call(&links.hops)
            })
            .unwrap_or(Ok(()))
    }

    fn __clear__(&self) {
        let lanes =
            self.core.try_with(|core| (std::mem::take(&mut core.items), std::mem::take(&mut core.control)));
        let links = self.links.try_with(|links| {
            (
                (links.check.take(), links.port.take(), links.waiters.take(), links.turn.take()),
                (links.control_turn.take(), links.engine.take(), links.on_loss.take()),
                (links.size.take(), links.clock.take(), links.budget.take(), links.hops.take()),
            )
        });
        drop((lanes, links));
    }
}
