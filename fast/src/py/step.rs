//! What one slice of each kind of turn does: the mirror of `meridian/engine/step.py`, which explains the kinds.
//!
//! A step is made on first use and holds exactly what its inner loop touches. What is rare is asked of the node, a
//! `meridian.engine.kernel.NodeState`, as the Python steps do: parking, failures, results that need a second look.

use pyo3::exceptions::PyTypeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use super::batch::Batch;
use super::call::{call, call1, class_of, next};
use super::engine::{Class, Engine};
use super::message::{self, MessageType, Scope};
use super::names::{any_message, names, Names};
use super::ready::Turn;
use super::ring::Ring;
use crate::ring::Kind as Full;

/// How many messages a slice handled, as the loop counts them.
fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

type Items = Vec<Py<PyAny>>;

/// One node's slice on one of its inputs.
#[allow(clippy::struct_excessive_bools)] // facts about the node, as many as there are
#[pyclass(frozen, module = "meridian_fast")]
pub struct Step {
    kind: Kind,
    engine: Py<Engine>,
    node: Py<PyAny>,
    turn: Py<Turn>,
    /// The ring it serves; a source has none.
    ring: Option<Py<Ring>>,
    function: Py<PyAny>,
    scope: Py<PyAny>,
    port: Py<PyAny>,
    /// The output that results go to.
    default: Py<PyAny>,
    /// Rings of that output.
    targets: Vec<Py<Ring>>,
    /// All rings that leave the node.
    leaving: Vec<Py<Ring>>,
    wants_message: bool,
    untyped: bool,
    trusted: bool,
    /// A list that the function's own `emit` appends to.
    out: Option<Py<PyList>>,
    put: Option<Py<PyAny>>,
    name: Py<PyAny>,
    has_ports: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A function whose results need no second look, from one plain ring to another.
    Map,
    /// A function of a node without outputs.
    Sink,
    /// Any function that returns its result.
    General,
    /// Results leave through `emit`.
    Call,
    /// A plain source.
    Source,
}

/// Runs a slice; returns how many messages were handled.
///
/// # Errors
///
/// What the node's code raised that isn't a failure of the node, but the end of the run.
#[inline]
pub fn run(step: &Bound<'_, Step>) -> PyResult<i64> {
    let py = step.py();
    let this = step.get();
    match this.kind {
        Kind::Map => this.run_map(py),
        Kind::Sink => this.run_sink(py),
        Kind::General => this.run_general(py, None),
        Kind::Call => this.run_call(py),
        Kind::Source => this.run_source(py),
    }
}

/// Makes the step that serves `ring` to `node`, or `None` where there is no native one.
///
/// # Errors
///
/// The node isn't as the kernel makes it.
pub fn compile(
    engine: &Bound<'_, Engine>,
    node: &Bound<'_, PyAny>,
    ring: &Bound<'_, Ring>,
    turn: &Bound<'_, Turn>,
) -> PyResult<Option<Py<Step>>> {
    let py = engine.py();
    let style: String = node.getattr(intern!(py, "kind"))?.extract()?;
    let mut step = Step::of(engine, node, turn)?;
    step.port = ring.get().port_now(py);
    let ring = ring.clone().unbind();
    step.kind = match style.as_str() {
        "map" if !step.has_ports => Kind::Sink,
        "map" => {
            let plain = step.only(py)?.is_some_and(|target| !target.is(&ring));
            if plain && step.trusted && !step.wants_message && !ring.get().is_limited() {
                Kind::Map
            } else {
                Kind::General
            }
        }
        "call" | "emit" => Kind::Call,
        _ => return Ok(None),
    };
    step.ring = Some(ring);
    Ok(Some(Py::new(py, step)?))
}

/// Makes the step of a plain source.
///
/// # Errors
///
/// The node isn't as the kernel makes it.
pub fn compile_source(
    engine: &Bound<'_, Engine>,
    node: &Bound<'_, PyAny>,
    items: &Bound<'_, PyAny>,
    turn: &Bound<'_, Turn>,
) -> PyResult<Py<Step>> {
    let mut step = Step::of(engine, node, turn)?;
    step.function = items.clone().unbind();
    step.trusted = step.trusted && step.only(engine.py())?.is_some();
    Py::new(engine.py(), step)
}

impl Step {
    fn of(engine: &Bound<'_, Engine>, node: &Bound<'_, PyAny>, turn: &Bound<'_, Turn>) -> PyResult<Self> {
        let py = engine.py();
        let rings = |list: Bound<'_, PyAny>| -> PyResult<Vec<Py<Ring>>> {
            list.try_iter()?.map(|ring| Ok(ring?.cast_into::<Ring>()?.unbind())).collect()
        };
        let ports = node.getattr(intern!(py, "ports"))?.cast_into::<PyDict>()?;
        let default = node.getattr(intern!(py, "default"))?;
        let targets = match ports.get_item(&default)? {
            Some(list) => rings(list)?,
            None => Vec::new(),
        };
        let out = node.getattr(intern!(py, "out"))?;
        let put = node.getattr(intern!(py, "put"))?;
        Ok(Self {
            kind: Kind::Source,
            engine: engine.clone().unbind(),
            node: node.clone().unbind(),
            turn: turn.clone().unbind(),
            ring: None,
            function: node.getattr(intern!(py, "fn"))?.unbind(),
            scope: engine.get().scope_now(py),
            port: py.None(),
            default: default.unbind(),
            targets,
            leaving: rings(node.getattr(intern!(py, "rings"))?)?,
            wants_message: node.getattr(intern!(py, "wants_message"))?.extract()?,
            untyped: node.getattr(intern!(py, "untyped"))?.extract()?,
            trusted: node.getattr(intern!(py, "trusted"))?.extract()?,
            out: if out.is_none() { None } else { Some(out.cast_into::<PyList>()?.unbind()) },
            put: if put.is_none() { None } else { Some(put.unbind()) },
            name: node.getattr(intern!(py, "name"))?.unbind(),
            has_ports: !ports.is_empty(),
        })
    }

    /// The one plain blocking ring that all results go to, if there is one.
    fn only(&self, py: Python<'_>) -> PyResult<Option<&Py<Ring>>> {
        let ports = self.node.bind(py).getattr(intern!(py, "ports"))?.len()?;
        Ok(match self.leaving.as_slice() {
            [ring] if ports == 1 && ring.get().kind_now(py) == Full::Block && !ring.get().is_limited() => {
                Some(ring)
            }
            _ => None,
        })
    }

    fn served(&self) -> PyResult<&Py<Ring>> {
        self.ring.as_ref().ok_or_else(|| PyTypeError::new_err("a source serves no ring"))
    }

    // ---- what all kinds share ------------------------------------------------------------------------------------

    #[inline]
    fn held(&self, py: Python<'_>) -> PyResult<bool> {
        self.node.bind(py).getattr(intern!(py, "held"))?.is_truthy()
    }

    fn put_off(&self, py: Python<'_>) -> PyResult<i64> {
        self.node.bind(py).call_method1(intern!(py, "put_off"), (&self.turn,))?.extract()
    }

    /// How many results fit on every output; if none, the turn waits for room and this is 0.
    #[inline]
    fn credit(&self, py: Python<'_>) -> PyResult<usize> {
        let mut least = 1 << 30;
        for ring in &self.leaving {
            if ring.get().kind_now(py) != Full::Block {
                continue;
            }
            let mut room = ring.get().room_now(py)?;
            if room == 0 {
                if !self.turn.get().serves(py, ring) {
                    Ring::wait_for_room(ring, py, self.turn.clone_ref(py))?;
                    return Ok(0);
                }
                room = 1; // an edge from the node to itself: the message that leaves it makes room
            }
            least = least.min(room);
        }
        Ok(least)
    }

    #[inline]
    fn batch(&self, py: Python<'_>, credit: usize) -> usize {
        usize::try_from(self.turn.get().batch.get(py)).unwrap_or(1).min(credit)
    }

    /// Queues the turn again if there is more to do.
    #[inline]
    fn requeue(&self, py: Python<'_>, ring: &Py<Ring>) -> PyResult<()> {
        if ring.get().is_empty(py) {
            return Ok(());
        }
        Turn::queue(&self.turn, py)
    }

    fn note_handling(&self, py: Python<'_>, message: &Py<PyAny>) -> PyResult<()> {
        Scope::of(self.scope.bind(py)).set_handling(message.bind(py).clone())
    }

    fn note_nothing(&self, py: Python<'_>) -> PyResult<()> {
        Scope::of(self.scope.bind(py)).set_handling(py.None().into_bound(py))
    }

    fn slice_time<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Scope::of(self.scope.bind(py)).now()
    }

    /// Records a failure of the node's code, or passes on what isn't one.
    #[cold]
    fn fail(&self, py: Python<'_>, error: PyErr, item: &Py<PyAny>, out: Option<&mut Items>) -> PyResult<()> {
        if !self.engine.get().is_failure(py, &error) {
            return Err(error);
        }
        let fail = self.node.bind(py).getattr(intern!(py, "fail"))?;
        let error = error.into_value(py);
        match out {
            None => fail.call1(("on_message", error, item, &self.port))?,
            Some(out) => {
                let made = PyList::empty(py);
                let answer = fail.call1(("on_message", error, item, &self.port, &made))?;
                out.extend(made.iter().map(Bound::unbind));
                answer
            }
        };
        Ok(())
    }

    #[cold]
    fn park(&self, py: Python<'_>, items: Items) -> PyResult<()> {
        self.node.bind(py).call_method1(intern!(py, "park"), (&self.default, items))?;
        Ok(())
    }

    /// Puts results on the only ring there is, and parks what has no room.
    #[inline]
    fn offer(&self, py: Python<'_>, target: &Py<Ring>, mut results: Items) -> PyResult<()> {
        if results.is_empty() {
            return Ok(());
        }
        let offered = Ring::offer_all(target, py, &mut results);
        if results.is_empty() {
            return offered.map(drop);
        }
        offered?;
        self.park(py, results)
    }

    /// Puts results on every ring of the default output, or on none; what has no room is parked.
    fn deliver(&self, py: Python<'_>, results: Items, raw: bool) -> PyResult<()> {
        let plain = self
            .targets
            .iter()
            .all(|ring| !ring.get().is_limited() && ring.get().kind_now(py) != Full::Custom);
        if !plain || self.targets.is_empty() || self.has_parked(py)? {
            self.node.bind(py).call_method1(intern!(py, "deliver"), (&self.default, results, raw))?;
            return Ok(());
        }
        if results.is_empty() {
            return Ok(());
        }
        let names = names(py)?;
        let has_message = !raw && any_message(names, &results);
        let mut room = results.len();
        if self.targets.len() > 1 {
            for ring in &self.targets {
                if ring.get().kind_now(py) == Full::Block {
                    room = room.min(ring.get().room_now(py)?);
                }
            }
        }
        let mut now = results;
        let later = now.split_off(room);
        let Some((last, others)) = self.targets.split_last() else { return Ok(()) };
        let mut left = Vec::new();
        for ring in others {
            if has_message {
                ring.get().mixed.set(py, true);
            }
            let mut copies: Items = now.iter().map(|item| item.clone_ref(py)).collect();
            if !copies.is_empty() {
                Ring::offer_all(ring, py, &mut copies)?;
            }
            left.push((ring, copies)); // the coalesce function of another ring may have put something here meanwhile
        }
        if has_message {
            last.get().mixed.set(py, true);
        }
        if !now.is_empty() {
            Ring::offer_all(last, py, &mut now)?;
        }
        if self.targets.len() == 1 {
            now.extend(later);
            return if now.is_empty() { Ok(()) } else { self.park(py, now) };
        }
        left.push((last, now));
        for (ring, items) in left {
            for item in items {
                self.node.bind(py).call_method1(intern!(py, "park"), (ring, vec![item]))?;
            }
        }
        if later.is_empty() {
            return Ok(());
        }
        self.park(py, later)
    }

    fn has_parked(&self, py: Python<'_>) -> PyResult<bool> {
        self.node.bind(py).getattr(intern!(py, "parked"))?.is_truthy()
    }

    fn as_message<'py>(
        py: Python<'py>,
        names: &Names,
        item: Py<PyAny>,
        now: &Bound<'py, PyAny>,
        kind: MessageType,
    ) -> PyResult<Py<PyAny>> {
        if names.is_message(&item) {
            return Ok(item);
        }
        Ok(message::wrap(item.into_bound(py), now.clone(), kind)?.unbind())
    }

    // ---- map -----------------------------------------------------------------------------------------------------

    fn run_map(&self, py: Python<'_>) -> PyResult<i64> {
        if self.held(py)? {
            return self.put_off(py);
        }
        let ring = self.served()?;
        let [target] = self.targets.as_slice() else { return self.run_general(py, None) };
        let mut k = self.batch(py, usize::MAX);
        let room = target.get().room_now(py)?;
        if room < k {
            if room == 0 {
                Ring::wait_for_room(target, py, self.turn.clone_ref(py))?;
                return Ok(0);
            }
            k = room;
        }
        if ring.get().mixed.get(py) {
            return self.run_general(py, None);
        }
        let mut items = Vec::new();
        let k = ring.get().take_into(py, k, false, &mut items)?;
        if ring.get().mixed.get(py) {
            return self.run_general(py, Some(items));
        }
        if k == 1 {
            let Some(item) = items.pop() else { return Ok(0) };
            match call1(py, &self.function, &item) {
                Ok(result) => {
                    if let Some(result) = Ring::offer_single(target, py, result.unbind())? {
                        self.park(py, vec![result])?;
                    }
                }
                Err(error) => self.fail(py, error, &item, None)?,
            }
            self.requeue(py, ring)?;
            return Ok(1);
        }
        let mut results = Vec::with_capacity(k);
        for item in &items {
            match call1(py, &self.function, item) {
                Ok(result) => results.push(result.unbind()),
                Err(error) => self.fail(py, error, item, None)?,
            }
        }
        drop(items);
        self.offer(py, target, results)?;
        self.requeue(py, ring)?;
        Ok(count(k))
    }

    // ---- sink ----------------------------------------------------------------------------------------------------

    fn run_sink(&self, py: Python<'_>) -> PyResult<i64> {
        if self.held(py)? {
            return self.put_off(py);
        }
        let ring = self.served()?;
        let mut items = Vec::new();
        let k = ring.get().take_into(py, self.batch(py, usize::MAX), false, &mut items)?;
        let enveloped = self.wants_message || ring.get().mixed.get(py);
        if enveloped {
            self.sink_envelopes(py, items)?;
        } else {
            for item in items {
                if let Err(error) = call1(py, &self.function, &item) {
                    self.fail(py, error, &item, None)?;
                }
            }
        }
        self.requeue(py, ring)?;
        Ok(count(k))
    }

    fn sink_envelopes(&self, py: Python<'_>, items: Items) -> PyResult<()> {
        let names = names(py)?;
        let now = self.slice_time(py)?;
        for item in items {
            let (item, result) = if self.wants_message {
                let item = Self::as_message(py, names, item, &now, MessageType::Data)?;
                self.note_handling(py, &item)?;
                let result = call1(py, &self.function, &item);
                (item, result.map(drop))
            } else if !names.is_message(&item) {
                let result = call1(py, &self.function, &item);
                (item, result.map(drop))
            } else if Names::is_data(py, &item)? {
                self.note_handling(py, &item)?;
                let payload = message::payload_of(item.bind(py))?.unbind();
                let result = call1(py, &self.function, &payload).map(drop);
                if result.is_ok() {
                    self.note_nothing(py)?;
                }
                (item, result)
            } else {
                continue;
            };
            if let Err(error) = result {
                self.fail(py, error, &item, None)?;
            }
        }
        self.note_nothing(py)
    }

    // ---- any function that returns its result --------------------------------------------------------------------

    fn run_general(&self, py: Python<'_>, given: Option<Items>) -> PyResult<i64> {
        let ring = self.served()?;
        let items = if let Some(items) = given {
            items
        } else {
            if self.held(py)? {
                return self.put_off(py);
            }
            let credit = self.credit(py)?;
            if credit == 0 {
                return Ok(0);
            }
            let mut items = Vec::new();
            ring.get().take_into(py, self.batch(py, credit), false, &mut items)?;
            items
        };
        let k = items.len();
        let enveloped = self.wants_message || ring.get().mixed.get(py);
        let mut results = Vec::with_capacity(k);
        let special = if enveloped {
            self.results_of_envelopes(py, items, &mut results)?
        } else {
            self.results_of_payloads(py, items, &mut results)?
        };
        self.note_nothing(py)?;
        if special {
            self.node.bind(py).call_method1(intern!(py, "route"), (results,))?;
        } else if let Some(only) = self.only(py)? {
            if enveloped {
                only.get().mixed.set(py, true);
            }
            self.offer(py, only, results)?;
        } else {
            self.deliver(py, results, !enveloped)?;
        }
        self.requeue(py, ring)?;
        Ok(count(k))
    }

    /// Calls the function on raw payloads; says whether results need a second look.
    fn results_of_payloads(&self, py: Python<'_>, items: Items, results: &mut Items) -> PyResult<bool> {
        let mut special = false;
        let mut plain: Class = std::ptr::null_mut();
        for item in items {
            match call1(py, &self.function, &item) {
                Ok(result) => {
                    let result = result.unbind();
                    if class_of(&result) != plain {
                        if self.is_plain(py, &result)? {
                            plain = class_of(&result);
                        } else {
                            special = true;
                        }
                    }
                    results.push(result);
                }
                Err(error) => {
                    self.fail(py, error, &item, Some(results))?;
                    special = true;
                }
            }
        }
        Ok(special)
    }

    fn is_plain(&self, py: Python<'_>, result: &Py<PyAny>) -> PyResult<bool> {
        self.node.bind(py).call_method1(intern!(py, "is_plain"), (result,))?.extract()
    }

    /// Calls the function where envelopes come in; says whether results need a second look.
    fn results_of_envelopes(&self, py: Python<'_>, items: Items, results: &mut Items) -> PyResult<bool> {
        let names = names(py)?;
        let now = self.slice_time(py)?;
        let mut special = false;
        for item in items {
            let item = if self.wants_message {
                Self::as_message(py, names, item, &now, MessageType::Data)?
            } else {
                item
            };
            let is_message = names.is_message(&item);
            let answer = if self.wants_message {
                self.note_handling(py, &item)?;
                call1(py, &self.function, &item)
            } else if !is_message {
                call1(py, &self.function, &item)
            } else if Names::is_data(py, &item)? {
                self.note_handling(py, &item)?;
                let payload = message::payload_of(item.bind(py))?.unbind();
                call1(py, &self.function, &payload)
            } else {
                results.push(item); // passed on, in its place
                special = true;
                continue;
            };
            let result = match answer {
                Ok(result) => result.unbind(),
                Err(error) => {
                    self.fail(py, error, &item, Some(results))?;
                    special = true;
                    continue;
                }
            };
            if self.wants_message
                && self.untyped
                && (result.is(&item) || Self::is_plain_message(py, names, &result)?)
            {
                results.push(result);
                continue;
            }
            if !is_message {
                special = true;
            }
            if result.is_none(py) {
                continue;
            }
            if !is_message {
                results.push(result);
                continue;
            }
            let inherited = match names.inherit(py, &item, &result) {
                Ok(inherited) => inherited,
                Err(error) => {
                    self.fail(py, error, &item, Some(results))?;
                    special = true;
                    continue;
                }
            };
            special = special
                || self.wants_message
                || !self.untyped
                || !Self::is_plain_message(py, names, &inherited)?;
            results.push(inherited);
        }
        Ok(special)
    }

    fn is_plain_message(py: Python<'_>, names: &Names, result: &Py<PyAny>) -> PyResult<bool> {
        Ok(names.is_message(result) && !Names::is_control(py, result)?)
    }

    // ---- results through emit ------------------------------------------------------------------------------------

    fn run_call(&self, py: Python<'_>) -> PyResult<i64> {
        let node = self.node.bind(py);
        if self.held(py)? || self.is_paused(py)? {
            return self.put_off(py);
        }
        let ring = self.served()?;
        let has_outputs = !self.leaving.is_empty() || self.put.is_some();
        let mut credit = 1;
        let mut items = Vec::new();
        if has_outputs {
            credit = self.credit(py)?;
            if credit == 0 {
                return Ok(0);
            }
            node.setattr(intern!(py, "quota"), credit)?;
            ring.get().take_into(py, self.batch(py, credit), true, &mut items)?;
        } else {
            ring.get().take_into(py, self.batch(py, usize::MAX), false, &mut items)?;
        }
        let k = items.len();
        let mixed = ring.get().mixed.get(py);
        if mixed {
            node.setattr(intern!(py, "enveloped"), true)?;
        }
        let scope = Scope::of(self.scope.bind(py));
        scope.set_place(self.name.bind(py).clone().into_any(), self.port.bind(py).clone().into_any())?;
        let batch = Bound::new(py, Batch::new(items))?;
        node.setattr(intern!(py, "rest"), &batch)?;
        self.call_batch(py, batch.get(), credit, mixed)?;
        self.note_nothing(py)?;
        scope.set_place(py.None().into_bound(py), py.None().into_bound(py))?;
        node.setattr(intern!(py, "rest"), py.None())?;
        let mut handled = k;
        if has_outputs {
            let left = node.getattr(intern!(py, "left"))?;
            let left: Items = if left.is_truthy()? { left.extract()? } else { batch.get().rest(py) };
            node.setattr(intern!(py, "left"), py.None())?;
            handled -= left.len();
            ring.get().settle_with(py, k, left)?;
            node.call_method0(intern!(py, "flush"))?;
        }
        if !ring.get().is_empty(py) && !self.turn.get().queued.get(py) {
            if self.held(py)? {
                self.put_off(py)?;
            } else {
                Turn::queue(&self.turn, py)?;
            }
        }
        Ok(count(handled))
    }

    fn is_paused(&self, py: Python<'_>) -> PyResult<bool> {
        let paused = self.node.bind(py).getattr(intern!(py, "paused"))?;
        if paused.is_none() {
            return Ok(false);
        }
        paused.contains(&self.port)
    }

    fn call_batch(&self, py: Python<'_>, batch: &Batch, credit: usize, mixed: bool) -> PyResult<()> {
        let names = names(py)?;
        let now = self.slice_time(py)?;
        // What a raw item becomes: a node that is served as CONTROL gets CONTROL, as in v1.
        let kind = if self.turn.get().band_now(py) == 0 { MessageType::Control } else { MessageType::Data };
        let takes_payload = self.put.is_some() && !self.wants_message;
        while let Some(item) = batch.pop(py) {
            let Some(put) = &self.put else {
                let item = Self::as_message(py, names, item, &now, kind)?;
                self.note_handling(py, &item)?;
                if let Err(error) = call(py, &self.function, [self.port.as_ptr(), item.as_ptr()]) {
                    self.fail(py, error, &item, None)?;
                }
                continue;
            };
            let result = if takes_payload && (!mixed || !names.is_message(&item)) {
                call(py, &self.function, [item.as_ptr(), put.as_ptr()]).map(drop)
            } else if takes_payload && !Names::is_data(py, &item)? {
                call(py, put, [item.as_ptr()]).map(drop)
            } else {
                let item = Self::as_message(py, names, item.clone_ref(py), &now, kind)?;
                self.call_with_envelope(py, names, &item, put, takes_payload)
            };
            if let Err(error) = result {
                self.fail(py, error, &item, None)?;
                continue;
            }
            if self.out.as_ref().is_some_and(|out| out.bind(py).len() >= credit) {
                break;
            }
        }
        Ok(())
    }

    /// Calls a function that takes an `emit` for one envelope; what it emitted inherits the trace.
    fn call_with_envelope(
        &self,
        py: Python<'_>,
        names: &Names,
        item: &Py<PyAny>,
        put: &Py<PyAny>,
        takes_payload: bool,
    ) -> PyResult<()> {
        let Some(out) = &self.out else { return Ok(()) };
        let out = out.bind(py);
        self.note_handling(py, item)?;
        let had = out.len();
        let given =
            if takes_payload { message::payload_of(item.bind(py))?.unbind() } else { item.clone_ref(py) };
        call(py, &self.function, [given.as_ptr(), put.as_ptr()])?;
        let made = PyList::empty(py);
        for result in out.get_slice(had, out.len()).iter().filter(|result| !result.is_none()) {
            made.append(names.inherit(py, item, &result.unbind())?)?;
        }
        out.set_slice(had, out.len(), made.as_any())?;
        self.note_nothing(py)
    }

    // ---- source --------------------------------------------------------------------------------------------------

    fn run_source(&self, py: Python<'_>) -> PyResult<i64> {
        let node = self.node.bind(py);
        if node.getattr(intern!(py, "closed"))?.is_truthy()? {
            return Ok(0);
        }
        if self.held(py)? {
            return self.put_off(py);
        }
        let credit = self.credit(py)?;
        if credit == 0 {
            return Ok(0);
        }
        let k = self.batch(py, credit);
        let mut results = Vec::with_capacity(k);
        let mut failed = None;
        while results.len() < k {
            match next(py, &self.function) {
                Ok(Some(item)) => results.push(item),
                Ok(None) => break,
                Err(error) if self.engine.get().is_failure(py, &error) => {
                    failed = Some(error);
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        let produced = results.len();
        let only = self.only(py)?;
        match only {
            Some(only) if self.trusted => self.offer(py, only, results)?,
            _ if produced > 0 => {
                node.call_method1(intern!(py, "hand_on"), (results,))?;
            }
            _ => {}
        }
        let so_far: i64 = node.getattr(intern!(py, "produced"))?.extract()?;
        node.setattr(intern!(py, "produced"), so_far + count(produced))?;
        if let Some(error) = failed {
            node.call_method1(intern!(py, "fail"), ("on_message", error.into_value(py)))?;
        }
        if produced < k {
            node.setattr(intern!(py, "closed"), true)?;
        }
        if node.getattr(intern!(py, "closed"))?.is_truthy()? {
            self.engine.bind(py).call_method1(intern!(py, "finished"), (node,))?;
        } else if self.held(py)? {
            self.put_off(py)?;
        } else if let Some(full) = only.filter(|only| only.get().core.with(py, |core| core.room() == 0)) {
            Ring::wait_for_room(full, py, self.turn.clone_ref(py))?;
        } else {
            self.turn.get().queued.set(py, true);
            Turn::push(&self.turn, py)?;
        }
        Ok(count(produced))
    }
}

#[pymethods]
impl Step {
    fn __call__(slf: &Bound<'_, Self>) -> PyResult<i64> {
        run(slf)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.engine)?;
        visit.call(&self.node)?;
        visit.call(&self.turn)?;
        visit.call(&self.ring)?;
        visit.call(&self.function)?;
        visit.call(&self.scope)?;
        self.targets.iter().chain(&self.leaving).try_for_each(|ring| visit.call(ring))?;
        visit.call(&self.out)?;
        visit.call(&self.put)
    }
}
