//! What one slice of each kind of turn does: the mirror of `meridian/engine/step.py`, which explains the kinds.
//!
//! A step is made on first use and holds exactly what its inner loop touches. What is rare is asked of the node, a
//! `meridian.engine.node.NodeState`, as the Python steps do: parking, failures, results that need a second look.

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyIterator, PyList};

use super::batch::Batch;
use super::call::{call, call1, class_of, next};
use super::cell::GilCell;
use super::engine::{Class, Engine};
use super::message::{self, MessageType, Scope};
use super::names::{any_message, names, Names};
use super::node::NodeCore;
use super::ready::Turn;
use super::ring::Ring;
use crate::faults::{fault, Fault};
use crate::ring::Kind as Full;

mod native;

/// How many messages a slice handled, as the loop counts them.
fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

type Items = Vec<Py<PyAny>>;

/// What of a batch the handler hasn't seen yet.
type Rest = std::vec::IntoIter<Py<PyAny>>;

/// The bit of a node that is held because it has something parked.
const PARKED: i64 = 1;

/// One node's slice on one of its inputs.
#[allow(clippy::struct_excessive_bools)] // facts about the node, as many as there are
#[pyclass(frozen, module = "meridian_fast")]
pub struct Step {
    kind: Kind,
    engine: Py<Engine>,
    node: Py<PyAny>,
    /// The part of the node's record that every slice looks at.
    core: Py<NodeCore>,
    turn: Py<Turn>,
    /// The ring it serves; a source has none.
    ring: Option<Py<Ring>>,
    function: Py<PyAny>,
    /// What is called for the payload of an envelope; usually the same.
    function_of_envelope: Py<PyAny>,
    scope: Py<PyAny>,
    port: Py<PyAny>,
    /// The output that results go to.
    default: Py<PyAny>,
    /// Rings of that output.
    targets: Vec<Py<Ring>>,
    /// The one plain blocking ring that all results go to, if there is one.
    only: Option<Py<Ring>>,
    /// What the node's `emit` fills, by output, with the rings that it goes to.
    boxes: Vec<Emitted>,
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
    /// The class of the last result that needed no second look, unless its objects may say that they are of another one.
    plain: GilCell<Option<Py<PyAny>>>,
    /// What is done instead of calling the function.
    form: Option<Box<native::Form>>,
}

/// What a node emitted on one output, until the slice ends.
struct Emitted {
    port: Py<PyAny>,
    items: Py<PyList>,
    targets: Vec<Py<Ring>>,
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
    if this.kind == Kind::Call {
        return match &this.form {
            Some(form) => native::run(this, form, py),
            None => this.run_call(py, usize::MAX),
        };
    }
    this.note_node(py, this.name.bind(py).clone())?;
    let handled = match this.kind {
        Kind::Map => this.run_map(py),
        Kind::Sink => this.run_sink(py),
        Kind::General | Kind::Call => this.run_general(py, None),
        Kind::Source => this.run_source(py),
    };
    this.note_node(py, py.None().into_bound(py))?;
    handled
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
            let plain = step.only.as_ref().is_some_and(|target| !target.is(&ring));
            if plain && step.trusted && !step.wants_message && !ring.get().is_limited() {
                Kind::Map
            } else {
                Kind::General
            }
        }
        "call" | "emit" => {
            step.form = native::Form::of(&step, node, &ring)?.map(Box::new);
            Kind::Call
        }
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
    step.function = items.cast::<PyIterator>()?.clone().into_any().unbind();
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
        let leaving = rings(node.getattr(intern!(py, "rings"))?)?;
        let only = match leaving.as_slice() {
            [ring]
                if ports.len() == 1 && ring.get().kind_now(py) == Full::Block && !ring.get().is_limited() =>
            {
                Some(ring.clone_ref(py))
            }
            _ => None,
        };
        let function = node.getattr(intern!(py, "fn"))?;
        let mut of_envelope = node.getattr(intern!(py, "fn_of_envelope"))?;
        if of_envelope.is_none() {
            of_envelope = function.clone();
        }
        let mut boxes = Vec::new();
        if let Ok(by_port) = node.getattr(intern!(py, "boxes"))?.cast_into::<PyDict>() {
            for (port, items) in by_port {
                let Ok(items) = items.cast_into::<PyList>() else { continue };
                let targets = match ports.get_item(&port)? {
                    Some(list) => rings(list)?,
                    None => continue,
                };
                boxes.push(Emitted { port: port.unbind(), items: items.unbind(), targets });
            }
        }
        Ok(Self {
            kind: Kind::Source,
            engine: engine.clone().unbind(),
            node: node.clone().unbind(),
            core: node.getattr(intern!(py, "core"))?.cast_into::<NodeCore>()?.unbind(),
            turn: turn.clone().unbind(),
            ring: None,
            function: function.unbind(),
            function_of_envelope: of_envelope.unbind(),
            scope: engine.get().scope_now(py),
            port: py.None(),
            default: default.unbind(),
            targets,
            only,
            boxes,
            leaving,
            wants_message: node.getattr(intern!(py, "wants_message"))?.extract()?,
            untyped: node.getattr(intern!(py, "untyped"))?.extract()?,
            trusted: node.getattr(intern!(py, "trusted"))?.extract()?,
            out: if out.is_none() { None } else { Some(out.cast_into::<PyList>()?.unbind()) },
            put: if put.is_none() { None } else { Some(put.unbind()) },
            name: node.getattr(intern!(py, "name"))?.unbind(),
            has_ports: !ports.is_empty(),
            plain: GilCell::default(),
            form: None,
        })
    }

    fn served(&self) -> PyResult<&Py<Ring>> {
        self.ring.as_ref().ok_or_else(|| PyTypeError::new_err("a source serves no ring"))
    }

    // ---- what all kinds share ------------------------------------------------------------------------------------

    #[inline]
    fn held(&self, py: Python<'_>) -> bool {
        self.core.get().held.get(py) != 0 && !fault(Fault::RunsNodesThatAreHeld)
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
                if fault(Fault::FansOutToWhoHasRoom)
                    && self.leaving.iter().any(|ring| !ring.get().is_full_now(py))
                {
                    continue;
                }
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
        if fault(Fault::TakesWhateverThereIs) {
            return credit.min(1 << 20);
        }
        usize::try_from(self.turn.get().batch.get(py)).unwrap_or(1).min(credit)
    }

    /// Queues the turn again if there is more to do.
    #[inline]
    fn requeue(&self, py: Python<'_>, ring: &Py<Ring>) -> PyResult<()> {
        if ring.get().is_empty(py) || fault(Fault::ForgetsToQueueAgain) {
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

    /// Notes whose function runs, for log lines; a function has one input, which goes without saying.
    #[inline]
    fn note_node(&self, py: Python<'_>, name: Bound<'_, PyAny>) -> PyResult<()> {
        Scope::of(self.scope.bind(py)).set_node(name)
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
        if fault(Fault::DoesNotRecordFailures) {
            return Ok(());
        }
        let fail = self.node.bind(py).getattr(intern!(py, "fail"))?;
        let error = error.into_value(py);
        if fault(Fault::RecordsEachFailureTwice) {
            fail.call1(("on_message", &error, item, &self.port))?;
        }
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

    /// Ends a batch that was left by what is no failure, but the end of the run; returns what that was.
    #[cold]
    fn break_off(&self, py: Python<'_>, k: usize, rest: Items, results: Items, error: PyErr) -> PyErr {
        let told =
            self.node.bind(py).call_method1(intern!(py, "break_off"), (self.ring.as_ref(), k, rest, results));
        told.err().unwrap_or(error)
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

    /// Puts results on every ring of an output, or on none; what has no room is parked.
    fn deliver(
        &self,
        py: Python<'_>,
        port: &Py<PyAny>,
        targets: &[Py<Ring>],
        results: Items,
        raw: bool,
    ) -> PyResult<()> {
        let plain =
            targets.iter().all(|ring| !ring.get().is_limited() && ring.get().kind_now(py) != Full::Custom);
        let Some((last, others)) = targets.split_last().filter(|_| plain) else {
            return self.deliver_slowly(py, port, results, raw);
        };
        if self.has_parked(py) {
            return self.deliver_slowly(py, port, results, raw);
        }
        if results.is_empty() {
            return Ok(());
        }
        let has_message = !raw && any_message(names(py)?, &results);
        let mut room = results.len();
        if !others.is_empty() && !fault(Fault::FansOutToWhoHasRoom) {
            for ring in targets {
                if ring.get().kind_now(py) == Full::Block {
                    room = room.min(ring.get().room_now(py)?);
                }
            }
        }
        let mut now = results;
        let mut later = now.split_off(room);
        let mut late = Vec::new(); // what another ring's coalesce function took the room of meanwhile
        for ring in others {
            ring.get().note_mixed(py, has_message);
            let mut copies: Items = now.iter().map(|item| item.clone_ref(py)).collect();
            Ring::offer_all(ring, py, &mut copies)?;
            late.extend(copies.into_iter().map(|item| (ring, item)));
        }
        last.get().note_mixed(py, has_message);
        Ring::offer_all(last, py, &mut now)?;
        if others.is_empty() {
            now.append(&mut later);
            later = now;
        } else {
            late.extend(now.into_iter().map(|item| (last, item)));
        }
        for (ring, item) in late {
            self.node.bind(py).call_method1(intern!(py, "park"), (ring, vec![item]))?;
        }
        if later.is_empty() {
            return Ok(());
        }
        self.node.bind(py).call_method1(intern!(py, "park"), (port, later))?;
        Ok(())
    }

    #[cold]
    fn deliver_slowly(&self, py: Python<'_>, port: &Py<PyAny>, results: Items, raw: bool) -> PyResult<()> {
        self.node.bind(py).call_method1(intern!(py, "deliver"), (port, results, raw))?;
        Ok(())
    }

    /// Hands on results of any kind: all at once where they need no second look, else one by one.
    fn hand_on(&self, py: Python<'_>, results: Items) -> PyResult<()> {
        if !self.has_ports {
            return Ok(()); // what a sink returns is ignored
        }
        let mut raw = !self.core.get().enveloped.get(py);
        if !self.trusted {
            raw = true;
            let mut plain: Class = std::ptr::null_mut();
            for result in &results {
                if class_of(result) == plain {
                    continue;
                }
                if self.untyped && Self::is_plain_message(py, names(py)?, result)? {
                    raw = false; // no edge looks at what is in it
                    continue;
                }
                if !self.is_plain(py, result)? {
                    self.node.bind(py).call_method1(intern!(py, "hand_on"), (results,))?;
                    return Ok(());
                }
                plain = class_of(result);
            }
        }
        match &self.only {
            Some(only) if raw && !self.has_parked(py) => self.offer(py, only, results),
            _ => self.deliver(py, &self.default, &self.targets, results, raw),
        }
    }

    /// End of a slice: hands on what was emitted in it.
    fn flush(&self, py: Python<'_>) -> PyResult<()> {
        self.core.get().quota.set(py, 0);
        if let Some(out) = &self.out {
            let results = emptied(out.bind(py))?;
            if !results.is_empty() {
                self.hand_on(py, results)?;
            }
        }
        for Emitted { port, items, targets } in &self.boxes {
            let results = emptied(items.bind(py))?;
            if !results.is_empty() {
                self.deliver(py, port, targets, results, false)?;
            }
        }
        Ok(())
    }

    #[inline]
    fn has_parked(&self, py: Python<'_>) -> bool {
        self.core.get().held.get(py) & PARKED != 0
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
        if self.held(py) {
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
        if k == 1 || ring.get().len(py) == 1 {
            let Some(item) = ring.get().take_one(py)? else { return Ok(0) }; // sparse traffic: no lists
            if ring.get().mixed.get(py) && names(py)?.is_message(&item) {
                return self.run_general(py, Some(vec![item]));
            }
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
        let mut items = Vec::new();
        let k = ring.get().take_into(py, k, false, &mut items)?;
        if ring.get().has_message_among(py, &items)? {
            return self.run_general(py, Some(items));
        }
        let mut results = Vec::with_capacity(k);
        let mut rest = items.iter();
        while let Some(item) = rest.next() {
            match call1(py, &self.function, item) {
                Ok(result) => results.push(result.unbind()),
                Err(error) => {
                    if let Err(error) = self.fail(py, error, item, None) {
                        let rest = rest.as_slice().iter().map(|item| item.clone_ref(py)).collect();
                        return Err(self.break_off(py, 0, rest, results, error));
                    }
                    if fault(Fault::LosesTheRestAfterAFailure) {
                        break;
                    }
                }
            }
        }
        for item in items {
            item.drop_ref(py);
        }
        self.offer(py, target, results)?;
        self.requeue(py, ring)?;
        Ok(count(k))
    }

    // ---- sink ----------------------------------------------------------------------------------------------------

    fn run_sink(&self, py: Python<'_>) -> PyResult<i64> {
        if self.held(py) {
            return self.put_off(py);
        }
        let ring = self.served()?;
        if !self.wants_message && ring.get().len(py) == 1 && !ring.get().is_limited() {
            let Some(item) = ring.get().take_one(py)? else { return Ok(0) }; // sparse traffic: no lists
            if ring.get().mixed.get(py) && names(py)?.is_message(&item) {
                self.sink_envelopes(py, &mut vec![item].into_iter())?;
            } else if let Err(error) = call1(py, &self.function, &item) {
                self.fail(py, error, &item, None)?;
            }
            self.requeue(py, ring)?;
            return Ok(1);
        }
        let mut items = Vec::new();
        let k = ring.get().take_into(py, self.batch(py, usize::MAX), false, &mut items)?;
        let enveloped = self.wants_message || ring.get().has_message_among(py, &items)?;
        let mut rest = items.into_iter();
        let done =
            if enveloped { self.sink_envelopes(py, &mut rest) } else { self.sink_payloads(py, &mut rest) };
        if let Err(error) = done {
            return Err(self.break_off(py, 0, rest.collect(), Items::new(), error));
        }
        self.requeue(py, ring)?;
        Ok(count(k))
    }

    #[inline]
    fn sink_payloads(&self, py: Python<'_>, rest: &mut Rest) -> PyResult<()> {
        for item in rest {
            if let Err(error) = call1(py, &self.function, &item) {
                self.fail(py, error, &item, None)?;
                if fault(Fault::LosesTheRestAfterAFailure) {
                    break;
                }
            }
        }
        Ok(())
    }

    fn sink_envelopes(&self, py: Python<'_>, rest: &mut Rest) -> PyResult<()> {
        let names = names(py)?;
        let now = self.slice_time(py)?;
        for item in rest {
            let (item, result) = if self.wants_message {
                let item = Self::as_message(py, names, item, &now, MessageType::Data)?;
                self.note_handling(py, &item)?;
                let result = call1(py, &self.function, &item);
                (item, result.map(drop))
            } else if !names.is_message(&item) {
                self.note_nothing(py)?;
                let result = call1(py, &self.function, &item);
                (item, result.map(drop))
            } else if Names::is_data(py, &item)? {
                self.note_handling(py, &item)?;
                let payload = message::payload_of(item.bind(py))?.unbind();
                let result = call1(py, &self.function_of_envelope, &payload).map(drop);
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
            if self.held(py) {
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
        let enveloped = self.wants_message || ring.get().has_message_among(py, &items)?;
        let mut results = Vec::with_capacity(k);
        let mut rest = items.into_iter();
        let done = if enveloped {
            self.results_of_envelopes(py, &mut rest, &mut results)
        } else {
            self.results_of_payloads(py, &mut rest, &mut results)
        };
        let special = match done {
            Ok(special) => special,
            Err(error) => return Err(self.break_off(py, 0, rest.collect(), results, error)),
        };
        if enveloped {
            self.note_nothing(py)?;
        }
        if special {
            self.node.bind(py).call_method1(intern!(py, "route"), (results,))?;
        } else if let Some(only) = &self.only {
            if enveloped {
                only.get().mixed.set(py, true);
            }
            self.offer(py, only, results)?;
        } else {
            self.deliver(py, &self.default, &self.targets, results, !enveloped)?;
        }
        self.requeue(py, ring)?;
        Ok(count(k))
    }

    /// Calls the function on raw payloads; says whether results need a second look.
    fn results_of_payloads(&self, py: Python<'_>, rest: &mut Rest, results: &mut Items) -> PyResult<bool> {
        let mut special = false;
        let mut plain: Class = std::ptr::null_mut();
        for item in rest {
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

    #[inline]
    fn is_plain(&self, py: Python<'_>, result: &Py<PyAny>) -> PyResult<bool> {
        let class = class_of(result).cast::<ffi::PyObject>();
        if self.plain.with(py, |plain| plain.as_ref().is_some_and(|plain| plain.as_ptr() == class)) {
            return Ok(true);
        }
        let result = result.bind(py);
        let is_plain = self.node.bind(py).call_method1(intern!(py, "is_plain"), (result,))?.extract()?;
        let class = result.get_type();
        if is_plain && result.getattr(intern!(py, "__class__"))?.is(&class) {
            let old = self.plain.with(py, |plain| plain.replace(class.into_any().unbind()));
            drop(old);
        }
        Ok(is_plain)
    }

    /// Calls the function where envelopes come in; says whether results need a second look.
    fn results_of_envelopes(&self, py: Python<'_>, rest: &mut Rest, results: &mut Items) -> PyResult<bool> {
        let names = names(py)?;
        let now = self.slice_time(py)?;
        let looks_at_payloads = self.wants_message || !(self.untyped || self.trusted);
        let mut special = false;
        let mut plain: Class = std::ptr::null_mut();
        for item in rest {
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
                self.note_nothing(py)?;
                call1(py, &self.function, &item)
            } else if Names::is_data(py, &item)? {
                self.note_handling(py, &item)?;
                let payload = message::payload_of(item.bind(py))?.unbind();
                call1(py, &self.function_of_envelope, &payload)
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
                if class_of(&result) != plain {
                    if self.is_plain(py, &result)? {
                        plain = class_of(&result);
                    } else {
                        special = true;
                    }
                }
                if !result.is_none(py) {
                    results.push(result);
                }
                continue;
            }
            if result.is_none(py) {
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
            special = special || looks_at_payloads || !Self::is_plain_message(py, names, &inherited)?;
            results.push(inherited);
        }
        Ok(special)
    }

    fn is_plain_message(py: Python<'_>, names: &Names, result: &Py<PyAny>) -> PyResult<bool> {
        Ok(names.is_message(result) && !Names::is_control(py, result)?)
    }

    // ---- results through emit ------------------------------------------------------------------------------------

    /// A slice of at most so many messages.
    fn run_call(&self, py: Python<'_>, most: usize) -> PyResult<i64> {
        if self.held(py) || self.is_paused(py)? {
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
            self.core.get().quota.set(py, count(credit));
            ring.get().take_into(py, self.batch(py, credit.min(most)), true, &mut items)?;
        } else {
            ring.get().take_into(py, self.batch(py, most), false, &mut items)?;
        }
        let k = items.len();
        let mixed = ring.get().mixed.get(py);
        if mixed {
            self.core.get().enveloped.set(py, true);
        }
        let scope = Scope::of(self.scope.bind(py));
        scope.set_place(self.name.bind(py).clone().into_any(), self.port.bind(py).clone().into_any())?;
        let batch = Bound::new(py, Batch::new(items))?;
        self.core.get().begin(py, batch.clone().into_any().unbind());
        if let Err(error) = self.call_batch(py, batch.get(), credit, mixed) {
            let kept = if has_outputs { k } else { 0 };
            return Err(self.break_off(py, kept, batch.get().rest(py), Items::new(), error));
        }
        self.note_nothing(py)?;
        scope.set_place(py.None().into_bound(py), py.None().into_bound(py))?;
        let left = self.core.get().end(py);
        let mut handled = k;
        if has_outputs {
            let left: Items = match left {
                Some(left) => left.extract(py)?,
                None => batch.get().rest(py),
            };
            handled -= left.len();
            ring.get().settle_with(py, k, left)?;
            self.flush(py)?;
        }
        if !ring.get().is_empty(py) && !self.turn.get().queued.get(py) {
            if self.held(py) {
                self.put_off(py)?;
            } else {
                Turn::queue(&self.turn, py)?;
            }
        }
        Ok(count(handled))
    }

    #[inline]
    fn is_paused(&self, py: Python<'_>) -> PyResult<bool> {
        match self.core.get().paused_now(py) {
            Some(paused) => paused.bind(py).contains(&self.port),
            None => Ok(false), // nearly always
        }
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
                if mixed {
                    self.note_nothing(py)?;
                }
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
        call(py, &self.function_of_envelope, [given.as_ptr(), put.as_ptr()])?;
        let made = PyList::empty(py);
        for result in out.get_slice(had, out.len()).iter().filter(|result| !result.is_none()) {
            made.append(names.inherit(py, item, &result.unbind())?)?;
        }
        out.set_slice(had, out.len(), made.as_any())
    }

    // ---- source --------------------------------------------------------------------------------------------------

    fn run_source(&self, py: Python<'_>) -> PyResult<i64> {
        let (node, core) = (self.node.bind(py), self.core.get());
        if core.closed.get(py) {
            return Ok(0);
        }
        if self.held(py) {
            return self.put_off(py);
        }
        let credit = self.credit(py)?;
        if credit == 0 {
            return Ok(0);
        }
        let k = self.batch(py, credit);
        let mut results = Vec::with_capacity(k.min(64)); // a batch may be set larger than memory
        let mut failed = None;
        while results.len() < k {
            match next(py, &self.function) {
                Ok(Some(item)) => results.push(item),
                Ok(None) => break,
                Err(error) if self.engine.get().is_failure(py, &error) => {
                    failed = Some(error);
                    break;
                }
                Err(error) => {
                    let produced = count(results.len());
                    self.hand_on(py, results)?;
                    core.produced.set(py, core.produced.get(py) + produced);
                    return Err(error);
                }
            }
        }
        let produced = results.len();
        if produced > 0 {
            self.hand_on(py, results)?;
        }
        core.produced.set(py, core.produced.get(py) + count(produced));
        if let Some(error) = failed {
            node.call_method1(intern!(py, "fail"), ("on_message", error.into_value(py)))?;
        }
        if produced < k {
            core.closed.set(py, true);
        }
        if core.closed.get(py) {
            self.engine.bind(py).call_method1(intern!(py, "finished"), (node,))?;
        } else if self.held(py) {
            self.put_off(py)?;
        } else if let Some(full) = self.only.as_ref().filter(|only| only.get().is_full_now(py)) {
            Ring::wait_for_room(full, py, self.turn.clone_ref(py))?;
        } else {
            self.turn.get().queued.set(py, true);
            Turn::push(&self.turn, py)?;
        }
        Ok(count(produced))
    }
}

/// Takes what is in a list that others append to.
fn emptied(list: &Bound<'_, PyList>) -> PyResult<Items> {
    let n = list.len();
    if n == 0 {
        return Ok(Vec::new());
    }
    let items = list.iter().map(Bound::unbind).collect();
    list.del_slice(0, n)?;
    Ok(items)
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
        visit.call(&self.function_of_envelope)?;
        visit.call(&self.scope)?;
        visit.call(&self.core)?;
        visit.call(&self.only)?;
        for emitted in &self.boxes {
            visit.call(&emitted.port)?;
            visit.call(&emitted.items)?;
            emitted.targets.iter().try_for_each(|ring| visit.call(ring))?;
        }
        visit.call(&self.port)?;
        visit.call(&self.default)?;
        visit.call(&self.name)?;
        self.targets.iter().chain(&self.leaving).try_for_each(|ring| visit.call(ring))?;
        visit.call(&self.out)?;
        visit.call(&self.put)?;
        self.plain.try_with(|plain| visit.call(&*plain)).unwrap_or(Ok(()))?;
        self.form.as_ref().map_or(Ok(()), |form| form.traverse(&visit))
    }
}
