//! What ready-made nodes do with messages, done without calling them: `meridian/nodes/native.py` says what forms there are.
//!
//! Payloads stay as raw as they came, and envelopes pass as they are. Whatever is out of the ordinary (an ERROR message that
//! goes elsewhere, a test that raises, a payload that isn't what it seems) ends the slice in front of it and has the next one
//! for itself, in which the node is called as any other: so what is rare is written once, in Python.

use std::cell::Cell;

use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyList, PyTuple, PyType};

use super::{count, Items, Step};
use crate::bucket::Bucket;
use crate::faults::{fault, Fault};
use crate::py::call::{call, call1, class_of};
use crate::py::cell::{GilCell, GilValue};
use crate::py::engine::Class;
use crate::py::message::payload_of;
use crate::py::names::{any_message, names, Names};
use crate::py::ready::Turn;
use crate::py::ring::Ring;
use crate::ring::Kind as Full;

/// A node's form, ready to be used.
pub struct Form {
    work: Work,
    /// The outputs that it sends something to: one, or all of them for a route.
    outs: Vec<Out>,
    /// The output that what stays among the items goes to: the only one, or that of a route's first item.
    main: GilValue<usize>,
    /// Room for the items of a slice, kept so that none is allocated each time.
    spare: GilCell<Items>,
}

struct Out {
    port: Py<PyAny>,
    rings: Vec<Py<Ring>>,
    /// What a slice sends here besides.
    results: GilCell<Items>,
}

enum Work {
    Pass,
    Filter(Test),
    Route { rule: Rule, default: Option<usize>, declared: Py<PyAny>, known: usize },
    Throttle { bucket: Bucket, level: Shared, waiting: Py<PyAny> },
    Count { places: Py<PyDict>, sums: Shared, untold: Shared },
    Sample { random: Py<PyAny>, rate: f64 },
    Batch { size: usize, held: Py<PyList>, alarm: Py<PyAny>, within: Py<PyAny> },
}

enum Test {
    Types(Vec<Type>),
    Call(Py<PyAny>),
}

enum Rule {
    /// Types with their outputs.
    Types(Vec<(Type, usize)>),
    Field(Py<PyAny>),
    Call(Py<PyAny>),
}

/// What is to become of an item.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Leaves,
    /// It was used, or is of no use.
    Stays,
    /// The node itself has to say.
    Asks,
}

/// An array of numbers that Python code reads and writes, too.
struct Shared(PyBuffer<f64>);

impl Shared {
    fn of(array: &Bound<'_, PyAny>) -> PyResult<Self> {
        let buffer = PyBuffer::get(array)?;
        if buffer.readonly() || buffer.as_slice_ptr().is_none() {
            return Err(PyTypeError::new_err("an array that may be written is needed"));
        }
        Ok(Self(buffer))
    }

    #[inline]
    fn numbers<'py>(&'py self, _py: Python<'py>) -> &'py [Cell<f64>] {
        let Some(numbers) = self.0.as_slice_ptr() else { return &[] };
        // SAFETY: the buffer keeps the array alive and as long as it is. It may be written, as was asked when it was made, and
        // everybody who does holds the interpreter's lock, as the token shows for whoever has the cells.
        unsafe { &*(numbers.as_ptr() as *const [Cell<f64>]) }
    }
}

/// A type that payloads may be instances of.
struct Type {
    class: Py<PyType>,
    /// Its own class is `type`, so that it has no say in what is an instance of it.
    is_usual: bool,
}

impl Type {
    fn of(class: &Bound<'_, PyAny>) -> PyResult<Self> {
        let class = class.cast::<PyType>()?.clone();
        // SAFETY: a pointer to a static of the interpreter is compared, not read.
        let is_usual = class_of(class.as_any().as_unbound()) == &raw mut ffi::PyType_Type;
        Ok(Self { class: class.unbind(), is_usual })
    }

    /// What `isinstance` says.
    #[inline]
    fn has(&self, py: Python<'_>, object: &Py<PyAny>) -> PyResult<bool> {
        let class = class_of(object);
        if class.cast::<ffi::PyObject>() == self.class.as_ptr() {
            return Ok(true);
        }
        if self.is_usual {
            // SAFETY: both are alive classes.
            if unsafe { ffi::PyType_IsSubtype(class, self.class.as_ptr().cast()) } != 0 {
                return Ok(true);
            }
            if is_built_in(class) {
                return Ok(false);
            }
        }
        object.bind(py).is_instance(self.class.bind(py))
    }
}

/// Says whether it is one of the classes that most payloads are of, whose objects don't pretend to be of another one.
#[inline]
fn is_built_in(class: Class) -> bool {
    // SAFETY: pointers to statics of the interpreter are compared, not read; `None` is always alive.
    let none = unsafe { ffi::Py_TYPE(ffi::Py_None()) };
    class == &raw mut ffi::PyUnicode_Type
        || class == &raw mut ffi::PyLong_Type
        || class == &raw mut ffi::PyFloat_Type
        || class == &raw mut ffi::PyDict_Type
        || class == &raw mut ffi::PyBool_Type
        || class == &raw mut ffi::PyBytes_Type
        || class == &raw mut ffi::PyList_Type
        || class == &raw mut ffi::PyTuple_Type
        || class == none
}

#[inline]
fn is_str(object: &Py<PyAny>) -> bool {
    class_of(object) == &raw mut ffi::PyUnicode_Type
}

#[inline]
fn is_dict(object: &Py<PyAny>) -> bool {
    class_of(object) == &raw mut ffi::PyDict_Type
}

impl Form {
    /// The form that the node has told, if it may be used for what comes in on `ring`.
    pub fn of(step: &Step, node: &Bound<'_, PyAny>, ring: &Py<Ring>) -> PyResult<Option<Self>> {
        let py = node.py();
        let told = node.getattr(intern!(py, "form"))?;
        if told.is_none() || !step.untyped {
            return Ok(None);
        }
        let (handler, form) = told.extract::<(Py<PyAny>, Bound<'_, PyTuple>)>()?;
        let inputs = form.get_item(1)?;
        if !handler.is(&step.function) || !inputs.contains(ring.get().port_now(py))? {
            return Ok(None); // it is observed, or that input is none of its own
        }
        let ports = node.getattr(intern!(py, "ports"))?.cast_into::<PyDict>()?;
        let kind: String = form.get_item(0)?.extract()?;
        let output = form.get_item(2)?;
        let mut outs = Vec::new();
        for (port, rings) in ports.iter() {
            if kind == "route" || port.eq(&output)? {
                let rings: PyResult<Vec<_>> =
                    rings.try_iter()?.map(|ring| Ok(ring?.cast_into::<Ring>()?.unbind())).collect();
                outs.push(Out { port: port.unbind(), rings: rings?, results: GilCell::default() });
            }
        }
        if outs.is_empty() {
            return Ok(None);
        }
        let Some(work) = Work::of(py, &kind, &form, &outs, step)? else { return Ok(None) };
        Ok(Some(Self { work, outs, main: GilValue::new(0), spare: GilCell::default() }))
    }

    pub fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        for out in &self.outs {
            visit.call(&out.port)?;
            out.rings.iter().try_for_each(|ring| visit.call(ring))?;
        }
        match &self.work {
            Work::Pass => Ok(()),
            Work::Filter(Test::Types(types)) => types.iter().try_for_each(|each| visit.call(&each.class)),
            Work::Filter(Test::Call(function)) => visit.call(function),
            Work::Route { rule, declared, .. } => {
                visit.call(declared)?;
                match rule {
                    Rule::Types(types) => types.iter().try_for_each(|(each, _)| visit.call(&each.class)),
                    Rule::Field(object) | Rule::Call(object) => visit.call(object),
                }
            }
            Work::Throttle { waiting, .. } => visit.call(waiting),
            Work::Count { places, .. } => visit.call(places),
            Work::Sample { random, .. } => visit.call(random),
            Work::Batch { held, alarm, .. } => {
                visit.call(held)?;
                visit.call(alarm)
            }
        }
    }
}

impl Work {
    fn of(
        py: Python<'_>,
        kind: &str,
        form: &Bound<'_, PyTuple>,
        outs: &[Out],
        step: &Step,
    ) -> PyResult<Option<Self>> {
        let at = |i: usize| form.get_item(i);
        Ok(Some(match kind {
            "pass" => Self::Pass,
            "filter" => Self::Filter(Test::of(&at(3)?)?),
            "route" => {
                let declared = at(5)?;
                let known = declared.len().unwrap_or(0);
                let default = place_of(outs, &at(4)?)?;
                let Some(rule) = Rule::of(&at(3)?, outs)? else { return Ok(None) };
                Self::Route { rule, default, declared: declared.unbind(), known }
            }
            "throttle" => {
                let bucket = at(3)?;
                Self::Throttle {
                    level: Shared::of(&bucket.getattr(intern!(py, "level"))?)?,
                    bucket: Bucket {
                        rate: bucket.getattr(intern!(py, "rate"))?.extract()?,
                        size: bucket.getattr(intern!(py, "size"))?.extract()?,
                    },
                    waiting: at(4)?.unbind(),
                }
            }
            "count" => Self::Count {
                places: at(3)?.cast_into::<PyDict>()?.unbind(),
                sums: Shared::of(&at(4)?)?,
                untold: Shared::of(&at(5)?)?,
            },
            "sample" => {
                let of_run = step.scope.bind(py).getattr(intern!(py, "random"))?;
                let own = at(4)?.is_truthy()? && !of_run.is_none();
                let source = if own { of_run } else { at(3)? };
                Self::Sample {
                    random: source.getattr(intern!(py, "random"))?.unbind(),
                    rate: at(5)?.extract()?,
                }
            }
            "batch" => Self::Batch {
                size: at(3)?.extract()?,
                held: at(4)?.cast_into::<PyList>()?.unbind(),
                alarm: at(5)?.unbind(),
                within: at(6)?.unbind(),
            },
            _ => return Ok(None),
        }))
    }

    /// Says whether the node has nothing in hand that has to go first.
    #[inline]
    fn is_free(&self, py: Python<'_>) -> PyResult<bool> {
        match self {
            Self::Throttle { waiting, .. } => Ok(waiting.bind(py).len()? == 0),
            _ => Ok(true),
        }
    }
}

/// The place of an output among all, or `None` if it is none of them.
fn place_of(outs: &[Out], name: &Bound<'_, PyAny>) -> PyResult<Option<usize>> {
    if let Some(place) = outs.iter().position(|out| name.is(&out.port)) {
        return Ok(Some(place));
    }
    for (place, out) in outs.iter().enumerate() {
        if name.eq(&out.port)? {
            return Ok(Some(place));
        }
    }
    Ok(None)
}

impl Test {
    fn of(told: &Bound<'_, PyAny>) -> PyResult<Self> {
        let (kind, what) = told.extract::<(String, Bound<'_, PyAny>)>()?;
        if kind == "types" {
            let types: PyResult<Vec<_>> = what.try_iter()?.map(|each| Type::of(&each?)).collect();
            return Ok(Self::Types(types?));
        }
        Ok(Self::Call(what.unbind()))
    }

    #[inline]
    fn holds(&self, py: Python<'_>, payload: &Py<PyAny>) -> PyResult<bool> {
        match self {
            Self::Types(types) => {
                for each in types {
                    if each.has(py, payload)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Self::Call(function) => {
                let told = call1(py, function, payload)?;
                if fault(Fault::KeepsOnlyTrueItself) {
                    Ok(told.is(PyBool::new(py, true)))
                } else {
                    told.is_truthy()
                }
            }
        }
    }
}

/// Where a route leads.
enum Way {
    To(usize),
    Nowhere,
    Asks,
}

impl Rule {
    fn of(told: &Bound<'_, PyAny>, outs: &[Out]) -> PyResult<Option<Self>> {
        let (kind, what) = told.extract::<(String, Bound<'_, PyAny>)>()?;
        if kind == "types" {
            let mut types = Vec::new();
            for pair in what.try_iter()? {
                let (each, port) = pair?.extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>)>()?;
                let Some(place) = place_of(outs, &port)? else { return Ok(None) };
                types.push((Type::of(&each)?, place));
            }
            return Ok(Some(Self::Types(types)));
        }
        Ok(Some(if kind == "field" { Self::Field(what.unbind()) } else { Self::Call(what.unbind()) }))
    }

    #[inline]
    fn way(&self, py: Python<'_>, outs: &[Out], payload: &Py<PyAny>) -> PyResult<Way> {
        let named = match self {
            Self::Types(types) => {
                for (each, place) in types {
                    if each.has(py, payload)? {
                        return Ok(Way::To(*place));
                    }
                }
                return Ok(Way::Nowhere);
            }
            Self::Call(function) => call1(py, function, payload)?,
            Self::Field(name) => match field(py, payload, name)? {
                Some(value) => value,
                None => return Ok(Way::Nowhere),
            },
        };
        if class_of(named.as_any().as_unbound()) != &raw mut ffi::PyUnicode_Type {
            return Ok(if is_built_in(named.get_type_ptr()) { Way::Nowhere } else { Way::Asks });
        }
        Ok(place_of(outs, &named)?.map_or(Way::Nowhere, Way::To))
    }
}

/// The key of a dict, or the attribute of anything else, if there is one.
#[inline]
fn field<'py>(py: Python<'py>, payload: &Py<PyAny>, name: &Py<PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let payload = payload.bind(py);
    if is_dict(payload.as_unbound()) {
        return payload.cast::<PyDict>()?.get_item(name);
    }
    // Asked as Python asks: it may only say that it is one.
    if payload.is_instance(py.get_type::<PyDict>().as_any())? {
        return payload.call_method1(intern!(py, "get"), (name,)).map(Some);
    }
    payload.getattr_opt(name.bind(py).cast()?)
}

/// Runs a slice, as [`Step::run_call`] does with the node's own function.
pub fn run(step: &Step, form: &Form, py: Python<'_>) -> PyResult<i64> {
    if step.held(py) || step.is_paused(py)? {
        return step.put_off(py);
    }
    if step.turn.get().band_now(py) == 0 || !form.work.is_free(py)? {
        return step.run_call(py, usize::MAX); // what is raw becomes CONTROL there, as in v1
    }
    let credit = step.credit(py)?;
    if credit == 0 {
        return Ok(0);
    }
    let ring = step.served()?;
    let mut items = form.spare.with(py, std::mem::take);
    let most = step.batch(py, if fault(Fault::DropsWhatFindsNoRoom) { usize::MAX } else { credit });
    let k = if (most == 1 || ring.get().len(py) == 1) && !ring.get().is_limited() {
        items.extend(ring.get().take_one(py)?); // sparse traffic: nothing to put back
        items.len()
    } else {
        ring.get().take_into(py, most, true, &mut items)?
    };
    let mixed = ring.get().mixed.get(py);
    if mixed {
        step.core.get().enveloped.set(py, true);
    }
    let (rest, ended) = handle(step, form, py, &mut items, mixed)?;
    let done = k - rest.len();
    if k > 1 || done == 0 {
        ring.get().settle_with(py, k, rest)?;
    }
    if done > 0 {
        deliver_all(step, form, py, &mut items, mixed)?;
    }
    items.clear();
    let old = form.spare.with(py, |spare| std::mem::replace(spare, items));
    drop(old);
    if let Some(error) = ended {
        return Err(error);
    }
    if done == 0 && k > 0 {
        return step.run_call(py, 1);
    }
    if !ring.get().is_empty(py) && !step.turn.get().queued.get(py) && !fault(Fault::LeavesTheRestOnTheEdge) {
        if step.held(py) {
            step.put_off(py)?;
        } else {
            Turn::queue(&step.turn, py)?;
        }
    }
    Ok(count(done))
}

/// What comes after the last item that the node's work could be done for; and what ended the run there, if something did.
type Handled = (Items, Option<PyErr>);

/// Does the node's work on `items`: what leaves stays in there, or is put down at the outputs.
#[inline]
fn handle(step: &Step, form: &Form, py: Python<'_>, items: &mut Items, mixed: bool) -> PyResult<Handled> {
    let names = names(py)?;
    match &form.work {
        Work::Pass => sift(step, py, names, items, mixed, Verdict::Leaves, |_, _| Ok(Verdict::Leaves)),
        Work::Filter(test) => sift(step, py, names, items, mixed, Verdict::Leaves, |_, payload| {
            Ok(if test.holds(py, payload)? { Verdict::Leaves } else { Verdict::Stays })
        }),
        Work::Sample { random, rate } => sift(step, py, names, items, mixed, Verdict::Leaves, |_, _| {
            let drawn: f64 = call(py, random, [])?.extract()?;
            Ok(if drawn < *rate { Verdict::Leaves } else { Verdict::Stays })
        }),
        Work::Throttle { bucket, level, .. } => {
            let [tokens, since] = level.numbers(py) else { return Ok((std::mem::take(items), None)) };
            #[allow(clippy::cast_precision_loss)] // Python's division of an int loses the same
            let now = step.engine.get().now.get(py) as f64 / 1e9;
            tokens.set(bucket.filled(tokens.get(), since.get(), now));
            since.set(now);
            sift(step, py, names, items, mixed, Verdict::Leaves, |_, _| {
                if tokens.get() < 1.0 {
                    return Ok(Verdict::Asks);
                }
                tokens.set(tokens.get() - if fault(Fault::TokensAreFree) { 0.0 } else { 1.0 });
                Ok(Verdict::Leaves)
            })
        }
        Work::Count { places, sums, untold } => {
            let mut counter = Counter {
                places: places.bind(py),
                sums: sums.numbers(py),
                untold: untold.numbers(py),
                last: None,
                found: Vec::new(),
            };
            sift(step, py, names, items, mixed, Verdict::Asks, |_, payload| counter.add(py, payload))
        }
        Work::Route { rule, default, declared, known } => {
            let mut main = None;
            sift(step, py, names, items, mixed, Verdict::Asks, |item, payload| {
                let place = match rule.way(py, &form.outs, payload)? {
                    Way::To(place) => place,
                    Way::Nowhere if declared.bind(py).len().unwrap_or(0) == *known => match default {
                        Some(place) => *place,
                        None => return Ok(Verdict::Asks),
                    },
                    Way::Nowhere | Way::Asks => return Ok(Verdict::Asks),
                };
                let main = *main.get_or_insert(place);
                if place == main || fault(Fault::SendsASliceOneWay) {
                    form.main.set(py, main);
                    return Ok(Verdict::Leaves);
                }
                let item = item.clone_ref(py);
                form.outs[place].results.with(py, |results| results.push(item));
                Ok(Verdict::Stays)
            })
        }
        Work::Batch { size, held, alarm, within } => {
            let out = &form.outs[0].results;
            let held = held.bind(py);
            sift(step, py, names, items, mixed, Verdict::Asks, |item, _| {
                held.append(item)?;
                if held.len() >= *size + usize::from(fault(Fault::GathersOneMore)) {
                    if !within.is_none(py) {
                        alarm.bind(py).call_method0(intern!(py, "clear"))?;
                    }
                    let batch = gathered(py, names, held)?;
                    out.with(py, |results| results.push(batch));
                } else if held.len() == 1 && !within.is_none(py) && !fault(Fault::SetsNoAlarm) {
                    alarm.bind(py).call_method1(intern!(py, "set_in"), (within,))?;
                }
                Ok(Verdict::Stays)
            })
        }
    }
}

/// Asks `judge` about the payload of each DATA item, in order, and keeps those in `items` that leave. Returns the rest, from the
/// first one on that the node has to be asked about. An item that ended the run is none of it: it was handled.
#[inline]
fn sift(
    step: &Step,
    py: Python<'_>,
    names: &Names,
    items: &mut Items,
    mixed: bool,
    others: Verdict,
    mut judge: impl FnMut(&Py<PyAny>, &Py<PyAny>) -> PyResult<Verdict>,
) -> PyResult<Handled> {
    let mut leaving = 0;
    let mut i = 0;
    let mut ended = None;
    while i < items.len() {
        let item = &items[i];
        let judged = if !mixed || !names.is_a_message(item) {
            judge(item, item)
        } else if !names.is_message(item) {
            Ok(Verdict::Asks)
        } else if Names::is_data(py, item)? || fault(Fault::TestsErrorsToo) {
            judge(item, &payload_of(item.bind(py))?.unbind())
        } else {
            Ok(others)
        };
        let verdict = match judged {
            Ok(verdict) => verdict,
            Err(error) if step.engine.get().is_failure(py, &error) => Verdict::Asks,
            Err(error) => {
                ended = Some(error);
                i += 1;
                break;
            }
        };
        match verdict {
            Verdict::Leaves => {
                items.swap(leaving, i);
                leaving += 1;
            }
            Verdict::Stays => {}
            Verdict::Asks => break,
        }
        i += 1;
    }
    let mut rest = if i < items.len() { items.split_off(i) } else { Items::new() };
    if fault(Fault::LosesWhatTheNodeIsAsked) {
        rest.clear();
    }
    if fault(Fault::SwapsWhatLeaves) && leaving > 1 {
        items.swap(0, 1);
    }
    for item in items.drain(leaving..) {
        item.drop_ref(py);
    }
    Ok((rest, ended))
}

/// Adds up numbers by key.
struct Counter<'a, 'py> {
    places: &'a Bound<'py, PyDict>,
    sums: &'a [Cell<f64>],
    untold: &'a [Cell<f64>],
    /// The key before, which is often this one, too.
    last: Option<(*mut ffi::PyObject, usize)>,
    found: Vec<(usize, f64)>,
}

impl Counter<'_, '_> {
    #[inline]
    fn add(&mut self, py: Python<'_>, payload: &Py<PyAny>) -> PyResult<Verdict> {
        if is_str(payload) {
            if let Some((key, place)) = self.last {
                if key == payload.as_ptr() {
                    self.add_to(place, 1.0);
                    return Ok(Verdict::Stays);
                }
            }
            if let Some(place) = self.places.get_item(payload)? {
                let place = place.extract()?;
                self.last = Some((payload.as_ptr(), place));
                self.add_to(place, 1.0);
            }
            return Ok(Verdict::Stays);
        }
        if !is_dict(payload) {
            return Ok(if is_built_in(class_of(payload)) { Verdict::Stays } else { Verdict::Asks });
        }
        let payload = payload.bind(py).cast::<PyDict>()?;
        self.found.clear();
        for (key, place) in self.places.iter() {
            let Some(value) = payload.get_item(key)? else { continue };
            let class = value.get_type_ptr();
            if class == &raw mut ffi::PyFloat_Type
                || class == &raw mut ffi::PyLong_Type
                || class == &raw mut ffi::PyBool_Type
            {
                self.found.push((place.extract()?, value.extract()?));
            } else if !is_built_in(class) {
                return Ok(Verdict::Asks);
            }
        }
        let found = std::mem::take(&mut self.found);
        for (place, value) in &found {
            self.add_to(*place, *value);
        }
        self.found = found;
        Ok(Verdict::Stays)
    }

    #[inline]
    fn add_to(&self, place: usize, value: f64) {
        if let (Some(sum), Some(untold)) = (self.sums.get(place), self.untold.first()) {
            sum.set(sum.get() + value);
            untold.set(untold.get() + 1.0);
        }
    }
}

/// Takes all that is held as one list of payloads; it has the trace of the first one, where that has one.
fn gathered(py: Python<'_>, names: &Names, held: &Bound<'_, PyList>) -> PyResult<Py<PyAny>> {
    let payloads = held.get_slice(0, held.len());
    let first = held.get_item(0)?;
    for i in 0..payloads.len() {
        let item = payloads.get_item(i)?;
        if names.is_message(item.as_unbound()) {
            payloads.set_item(i, payload_of(&item)?)?;
        }
    }
    held.del_slice(0, held.len())?;
    if names.is_message(first.as_unbound()) {
        return Ok(first.call_method1(intern!(py, "with_payload"), (payloads,))?.unbind());
    }
    Ok(payloads.into_any().unbind())
}

#[inline]
fn deliver_all(step: &Step, form: &Form, py: Python<'_>, items: &mut Items, mixed: bool) -> PyResult<()> {
    let main = form.main.get(py);
    let mut parked = false;
    for (place, out) in form.outs.iter().enumerate() {
        if place == main {
            deliver(step, py, out, items, mixed, &mut parked)?;
        }
        let mut results = out.results.with(py, std::mem::take);
        if !results.is_empty() {
            deliver(step, py, out, &mut results, mixed, &mut parked)?;
            results.clear();
            out.results.with(py, |spare| *spare = results); // what was there before is empty, nothing is dropped
        }
    }
    Ok(())
}

/// Sends `items` to an output; what has no room is parked.
#[inline]
fn deliver(
    step: &Step,
    py: Python<'_>,
    out: &Out,
    items: &mut Items,
    mixed: bool,
    parked: &mut bool,
) -> PyResult<()> {
    if items.is_empty() {
        return Ok(());
    }
    match out.rings.as_slice() {
        [ring] if !*parked && !ring.get().is_limited() && ring.get().kind_now(py) != Full::Custom => {
            if mixed && any_message(names(py)?, items) {
                ring.get().mixed.set(py, true);
            }
            if items.len() == 1 && ring.get().kind_now(py) == Full::Block {
                let late = items.pop().map(|item| Ring::offer_single(ring, py, item));
                items.extend(late.transpose()?.flatten());
            } else {
                Ring::offer_all(ring, py, items)?;
            }
            if !items.is_empty() && !fault(Fault::DropsWhatFindsNoRoom) {
                *parked = true;
                let late = std::mem::take(items);
                step.node.bind(py).call_method1(intern!(py, "park"), (&out.port, late))?;
            }
        }
        _ => {
            let results = std::mem::take(items);
            step.deliver(py, &out.port, &out.rings, results, !mixed)?;
            *parked = step.has_parked(py);
        }
    }
    Ok(())
}
