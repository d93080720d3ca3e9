//! Envelopes: the native twin of `meridian/core/message.py`, which explains what its parts are for.
//!
//! `Message`, `Scope`, `_Origin` and `_Trace` are Python classes over native slots ([`bases`]), so that what is common is
//! done here and what is rare stays in Python, written once: headers that somebody gives or has read, names that are no
//! type, wrong arguments. [`bind`] introduces the classes and these rare parts, when the Python module is imported.
//!
//! For the engine there are [`wrap`], [`derive`], [`rewrap`], [`type_of`], [`payload_of`] and [`Scope`]. They also serve a
//! process whose `Message` is made in Python (it was imported while `MERIDIAN_ENGINE=python`): right, only not faster.

use std::ptr;
use std::time::{SystemTime, UNIX_EPOCH};

use pyo3::exceptions::{PyRuntimeError, PyStopIteration};
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyFloat, PyIterator, PyString, PyTuple, PyType};

use super::slots::{self, Fields, Layout};

/// The three values of `MessageType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageType {
    /// `MessageType.DATA`
    Data,
    /// `MessageType.CONTROL`
    Control,
    /// `MessageType.ERROR`
    Error,
}

impl MessageType {
    const ALL: [Self; 3] = [Self::Data, Self::Control, Self::Error];
}

// Places of the fields, in the order in which `bases` names them.
const TYPE: usize = 0;
const PAYLOAD: usize = 1;
const METADATA: usize = 2;
const HEADERS: usize = 3;

const TIME: usize = 0;
const TRACE: usize = 1;
const FIELDS: usize = 3;
const ID: usize = 4;

const CLOCK: usize = 0;
const HANDLING: usize = 1;
const NODE: usize = 2;
const NOW: usize = 3;
const PORT: usize = 4;

/// The native bases, kept between [`bases`] and [`bind`].
struct Bases {
    message: Py<PyType>,
    scope: Py<PyType>,
    origin: Py<PyType>,
    trace: Py<PyType>,
}

/// What is known about a `Message` over native slots.
struct Native {
    message: Layout<4>,
    scope: Layout<6>,
    origin: Layout<5>,
    trace: Layout<1>,
    kind: Py<PyType>,
    kinds: [Py<PyAny>; 3],
    names: [Py<PyString>; 3],
    /// `current_scope.get`
    get_scope: Py<PyAny>,
    /// Numbers the messages that need an id.
    ids: Py<PyIterator>,
    /// The names in the module `time`, and `time.time` as it was: somebody may put a clock of his own there.
    time: Py<PyDict>,
    wall_clock: Py<PyAny>,
    /// `Message.__new__`, `_member`, `_origin` and `_identify` in Python, for what is rare.
    refuse: Py<PyAny>,
    member: Py<PyAny>,
    origin_of: Py<PyAny>,
    identify: Py<PyAny>,
}

/// What is known about a `Message` that is made in Python.
struct Foreign {
    kinds: [Py<PyAny>; 3],
    wrap: Py<PyAny>,
    derive: Py<PyAny>,
    rewrap: Py<PyAny>,
}

enum Envelopes {
    Native(Box<Native>),
    Foreign(Foreign),
}

static BASES: PyOnceLock<Bases> = PyOnceLock::new();
static ENVELOPES: PyOnceLock<Envelopes> = PyOnceLock::new();

/// Return the native bases of `Message`, `Scope`, `_Origin` and `_Trace`, or `None` for all but the first who ask.
///
/// There is one `Message` that is native in a process; a second copy of the module is served in Python.
///
/// # Errors
///
/// A type can't be made.
#[pyfunction(name = "_message_bases")]
pub fn bases(py: Python<'_>) -> PyResult<Option<[Py<PyType>; 4]>> {
    if BASES.get(py).is_some() || ENVELOPES.get(py).is_some() {
        return Ok(None);
    }
    let message = slots::base(
        py,
        c"meridian_fast.MessageSlots",
        c"MessageSlots(type, payload, metadata=None, headers=None)\n--\n\nThe fields of a message, and how one is made.",
        [c"type", c"payload", c"metadata", c"_headers"],
        Some(new),
    )?;
    let scope = slots::base(
        py,
        c"meridian_fast.ScopeSlots",
        c"The fields of a scope.",
        [c"clock", c"handling", c"node", c"now", c"port", c"random"],
        None,
    )?;
    let origin = slots::base(
        py,
        c"meridian_fast.OriginSlots",
        c"The fields of an origin.",
        [c"time", c"trace", c"parent", c"fields", c"id"],
        None,
    )?;
    let trace = slots::base(py, c"meridian_fast.TraceSlots", c"The field of a trace.", [c"_id"], None)?;
    let made = Bases {
        message: message.unbind(),
        scope: scope.unbind(),
        origin: origin.unbind(),
        trace: trace.unbind(),
    };
    let all = [&made.message, &made.scope, &made.origin, &made.trace].map(|base| base.clone_ref(py));
    Ok(BASES.set(py, made).is_ok().then_some(all))
}

/// Take over the making of messages for `module`, the names of the module that derived from the native bases.
///
/// # Errors
///
/// `module` lacks a name, or what it derived isn't what was given.
#[pyfunction(name = "_bind_message")]
pub fn bind(py: Python<'_>, module: &Bound<'_, PyDict>) -> PyResult<()> {
    let bases = BASES.get(py).ok_or_else(|| PyRuntimeError::new_err("nobody asked for the bases"))?;
    let named = |name: &str| module.as_any().get_item(name);
    let class = |name: &str| Ok::<_, PyErr>(named(name)?.cast_into::<PyType>()?);
    let kind = class("MessageType")?;
    let time = py.import("time")?;
    // SAFETY: each base was made by `bases`, with as many names as the layout has fields.
    let (message, scope, origin, trace) = unsafe {
        (
            Layout::of(class("Message")?, bases.message.bind(py))?,
            Layout::of(class("Scope")?, bases.scope.bind(py))?,
            Layout::of(class("_Origin")?, bases.origin.bind(py))?,
            Layout::of(class("_Trace")?, bases.trace.bind(py))?,
        )
    };
    let native = Native {
        refuse: message.class(py).getattr("_refuse")?.unbind(),
        message,
        scope,
        origin,
        trace,
        kinds: kinds(&kind)?,
        kind: kind.unbind(),
        names: ["DATA", "CONTROL", "ERROR"].map(|name| PyString::intern(py, name).unbind()),
        get_scope: named("current_scope")?.getattr("get")?.unbind(),
        ids: named("_ids")?.cast_into::<PyIterator>()?.unbind(),
        wall_clock: time.getattr("time")?.unbind(),
        time: time.dict().unbind(),
        member: named("_member")?.unbind(),
        origin_of: named("_origin")?.unbind(),
        identify: named("_identify")?.unbind(),
    };
    ENVELOPES
        .set(py, Envelopes::Native(Box::new(native)))
        .map_err(|_| PyRuntimeError::new_err("there is a Message already"))
}

fn kinds(class: &Bound<'_, PyType>) -> PyResult<[Py<PyAny>; 3]> {
    Ok([
        class.getattr("DATA")?.unbind(),
        class.getattr("CONTROL")?.unbind(),
        class.getattr("ERROR")?.unbind(),
    ])
}

/// Returns the envelopes of this process; who comes before [`bind`] comes after a Python `Message`, or causes its import.
fn envelopes(py: Python<'_>) -> PyResult<&'static Envelopes> {
    if let Some(known) = ENVELOPES.get(py) {
        return Ok(known);
    }
    let module = py.import("meridian.core.message")?;
    ENVELOPES.get_or_try_init(py, || {
        Ok(Envelopes::Foreign(Foreign {
            kinds: kinds(module.getattr("MessageType")?.cast::<PyType>()?)?,
            wrap: module.getattr("wrap")?.unbind(),
            derive: module.getattr("derive")?.unbind(),
            rewrap: module.getattr("rewrap")?.unbind(),
        }))
    })
}

/// `tp_new` of `Message`.
unsafe extern "C" fn new(
    class: *mut ffi::PyTypeObject,
    args: *mut ffi::PyObject,
    kwargs: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: the interpreter calls, so this thread holds its lock.
    let py = unsafe { Python::assume_attached() };
    // SAFETY: `args` is a tuple, `kwargs` a dict or null, and `class` is the base that `bases` made with this function, or
    // derives from it.
    let made = unsafe {
        let args = Bound::from_borrowed_ptr(py, args).cast_into_unchecked::<PyTuple>();
        let kwargs = Bound::from_borrowed_ptr_or_opt(py, kwargs).map(|it| it.cast_into_unchecked::<PyDict>());
        construct(py, class, &args, kwargs.as_ref())
    };
    match made {
        Ok(message) => message.into_ptr(),
        Err(error) => {
            error.restore(py);
            ptr::null_mut()
        }
    }
}

/// What `Message.__new__` does.
///
/// # Safety
///
/// `class` is the message base or derives from it.
unsafe fn construct<'py>(
    py: Python<'py>,
    class: *mut ffi::PyTypeObject,
    args: &Bound<'py, PyTuple>,
    kwargs: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    let Some(Envelopes::Native(native)) = ENVELOPES.get(py) else {
        return Err(PyRuntimeError::new_err("meridian.core.message isn't imported yet"));
    };
    let [Some(kind), Some(payload), metadata, headers] = arguments(py, args, kwargs)? else {
        // SAFETY: a class is an object, and alive while it is called.
        let class = unsafe { Bound::from_borrowed_ptr(py, class.cast()) };
        let all = (class,).into_pyobject(py)?.add(args)?.cast_into::<PyTuple>()?;
        return native.refuse.bind(py).call(all, kwargs);
    };
    let kind = native.member(kind)?;
    let held = match headers {
        Some(headers) if !headers.is_none() && headers.is_truthy()? => {
            native.origin_of.bind(py).call1((headers,))?
        }
        _ => native.origin(py)?,
    };
    let metadata = metadata.unwrap_or_else(|| py.None().into_bound(py));
    // SAFETY: as the caller promises; `TYPE` to `HEADERS` is their order.
    unsafe { slots::make(py, class, [kind, payload, metadata, held]) }
}

/// Sorts the arguments of `Message(type, payload, metadata=None, headers=None)`; none at all if they don't fit.
fn arguments<'py>(
    py: Python<'py>,
    args: &Bound<'py, PyTuple>,
    kwargs: Option<&Bound<'py, PyDict>>,
) -> PyResult<[Option<Bound<'py, PyAny>>; 4]> {
    let mut sorted = [const { None }; 4];
    for (place, given) in sorted.iter_mut().zip(args.iter_borrowed()) {
        *place = Some(given.to_owned());
    }
    let mut used = args.len().min(4);
    let mut given = args.len();
    if let Some(kwargs) = kwargs {
        given += kwargs.len();
        let names =
            [intern!(py, "type"), intern!(py, "payload"), intern!(py, "metadata"), intern!(py, "headers")];
        for (place, name) in sorted.iter_mut().zip(names).skip(used) {
            if let Some(value) = kwargs.get_item(name)? {
                *place = Some(value);
                used += 1;
            }
        }
    }
    // Whatever isn't used is one too many, or unknown, or given twice.
    Ok(if used == given { sorted } else { [const { None }; 4] })
}

impl Native {
    /// Returns the member of `MessageType` that `given` is or names, or raises.
    #[inline]
    fn member<'py>(&self, given: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = given.py();
        // SAFETY: every object has a type.
        if unsafe { ffi::Py_TYPE(given.as_ptr()).cast() } == self.kind.as_ptr() {
            return Ok(given);
        }
        for (name, kind) in self.names.iter().zip(&self.kinds) {
            if given.is(name) {
                return Ok(kind.bind(py).clone());
            }
        }
        self.member.bind(py).call1((given,))
    }

    /// Says where a message that is being made now, without headers, comes from.
    fn origin<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let scope = self.get_scope.bind(py).call0()?;
        if scope.is_none() {
            return self.time(py);
        }
        let Some((now, handling)) = self.scope.fields(&scope).and_then(|scope| {
            let now = scope.get::<NOW>()?;
            Some((if now.is_none() { Err(scope.get::<CLOCK>()?) } else { Ok(now) }, scope.get::<HANDLING>()?))
        }) else {
            return self.origin_of.bind(py).call1((py.None(),));
        };
        let now = match now {
            Ok(now) => now,
            Err(clock) if clock.is(&self.wall_clock) => self.system_time(py)?,
            Err(clock) => clock.call0()?,
        };
        if handling.is_none() {
            return Ok(now);
        }
        let (trace, parent) = self.identity(&handling)?;
        let none = || py.None().into_bound(py);
        self.origin.make(py, [now, trace, parent, none(), none()])
    }

    /// `time.time()`, past the call unless somebody replaced it.
    fn time<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match self.time.bind(py).get_item(intern!(py, "time"))? {
            Some(clock) if !clock.is(&self.wall_clock) => clock.call0(),
            _ => self.system_time(py),
        }
    }

    /// What `time.time` returns, computed as it does it.
    fn system_time<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            #[expect(clippy::cast_precision_loss, reason = "a float is what is asked for")]
            Ok(since) => Ok(PyFloat::new(py, since.as_nanos() as f64 / 1e9).into_any()),
            Err(_before_1970) => self.wall_clock.bind(py).call0(),
        }
    }

    /// Returns the trace and the id of `message`, drawing an id if it has none yet.
    fn identity<'py>(&self, message: &Bound<'py, PyAny>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
        let py = message.py();
        let fields = self.message.fields(message);
        let Some((fields, held)) = fields.and_then(|fields| Some((fields, fields.get::<HEADERS>()?))) else {
            return self.identify.bind(py).call1((message,))?.extract();
        };
        let none = || py.None().into_bound(py);
        if held.is_exact_instance_of::<PyFloat>() {
            let (trace, id) = (self.trace.make(py, [none()])?, self.next_id(py)?);
            let origin = self.origin.make(py, [held, trace.clone(), none(), none(), id.clone()])?;
            fields.set::<HEADERS>(origin);
            return Ok((trace, id));
        }
        if let Some(origin) = self.origin.fields(&held) {
            if let (Some(trace), Some(given), Some(id)) =
                (origin.get::<TRACE>(), origin.get::<FIELDS>(), origin.get::<ID>())
            {
                if given.is_none() && !id.is_none() {
                    return Ok((trace, id));
                }
                if given.is_none() {
                    let id = self.next_id(py)?;
                    origin.set::<ID>(id.clone());
                    return Ok((trace, id));
                }
            }
        }
        self.identify.bind(py).call1((message,))?.extract()
    }

    fn next_id<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let mut ids = self.ids.bind(py).clone();
        ids.next().unwrap_or_else(|| Err(PyStopIteration::new_err("message ids")))
    }

    /// Returns a field of a message that may be of a subclass, or of which somebody took the field away.
    fn read<'py, const I: usize>(
        &self,
        message: &Bound<'py, PyAny>,
        name: &Bound<'py, PyString>,
    ) -> PyResult<Bound<'py, PyAny>> {
        match self.message.fields(message).and_then(Fields::get::<I>) {
            Some(value) => Ok(value),
            None => message.getattr(name),
        }
    }

    fn wrap<'py>(
        &self,
        payload: Bound<'py, PyAny>,
        now: Bound<'py, PyAny>,
        kind: Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = payload.py();
        let now = if now.is_none() { self.system_time(py)? } else { now };
        self.message.make(py, [kind, payload, py.None().into_bound(py), now])
    }

    fn derive<'py>(
        &self,
        parent: &Bound<'py, PyAny>,
        payload: Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = payload.py();
        let (trace, id) = self.identity(parent)?;
        let held = self.read::<HEADERS>(parent, intern!(py, "_headers"))?;
        let known = self.origin.fields(&held).and_then(|it| Some((it.get::<TIME>()?, it.get::<FIELDS>()?)));
        // Headers that somebody has read say their time themselves.
        let (time, fields) = known.unwrap_or_else(|| (PyFloat::new(py, 0.0).into_any(), held.clone()));
        let none = || py.None().into_bound(py);
        let origin = self.origin.make(py, [time, trace, id, fields, none()])?;
        let metadata = self.read::<METADATA>(parent, intern!(py, "metadata"))?;
        let data = self.kinds[MessageType::Data as usize].bind(py).clone();
        self.message.make(py, [data, payload, metadata, origin])
    }

    fn rewrap<'py>(
        &self,
        envelope: &Bound<'py, PyAny>,
        payload: Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = payload.py();
        let kind = self.read::<TYPE>(envelope, intern!(py, "type"))?;
        let metadata = self.read::<METADATA>(envelope, intern!(py, "metadata"))?;
        let held = self.read::<HEADERS>(envelope, intern!(py, "_headers"))?;
        self.message.make(py, [kind, payload, metadata, held])
    }
}

impl Envelopes {
    fn kinds(&self) -> &[Py<PyAny>; 3] {
        match self {
            Self::Native(native) => &native.kinds,
            Self::Foreign(foreign) => &foreign.kinds,
        }
    }

    fn kind<'py>(&self, py: Python<'py>, kind: MessageType) -> Bound<'py, PyAny> {
        self.kinds()[kind as usize].bind(py).clone()
    }

    fn wrap<'py>(
        &self,
        payload: Bound<'py, PyAny>,
        now: Bound<'py, PyAny>,
        kind: Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        match self {
            Self::Native(native) => native.wrap(payload, now, kind),
            Self::Foreign(foreign) => foreign.wrap.bind(kind.py()).call1((payload, now, kind)),
        }
    }
}

/// Returns the kind of `message`, which may be of a subclass; `None` if somebody put something else there.
///
/// # Errors
///
/// It has no `type`.
#[inline]
pub fn type_of(message: &Bound<'_, PyAny>) -> PyResult<Option<MessageType>> {
    let known = envelopes(message.py())?;
    if let Envelopes::Native(native) = known {
        if let Some(fields) = native.message.fields(message) {
            let is = |kind: &MessageType| fields.holds::<TYPE, _>(&native.kinds[*kind as usize]);
            if let Some(kind) = MessageType::ALL.into_iter().find(is) {
                return Ok(Some(kind));
            }
        }
    }
    let held = message.getattr(intern!(message.py(), "type"))?;
    Ok(MessageType::ALL.into_iter().find(|kind| held.is(&known.kinds()[*kind as usize])))
}

/// Returns the payload of `message`.
///
/// # Errors
///
/// Somebody took its payload away.
#[inline]
pub fn payload_of<'py>(message: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let name = intern!(message.py(), "payload");
    match envelopes(message.py())? {
        Envelopes::Native(native) => native.read::<PAYLOAD>(message, name),
        Envelopes::Foreign(_) => message.getattr(name),
    }
}

/// Puts an envelope around a raw item; `now` is a time in seconds or `None`.
///
/// # Errors
///
/// There is no memory for it, or `meridian.core.message` can't be imported.
#[inline]
pub fn wrap<'py>(
    payload: Bound<'py, PyAny>,
    now: Bound<'py, PyAny>,
    kind: MessageType,
) -> PyResult<Bound<'py, PyAny>> {
    let py = payload.py();
    let known = envelopes(py)?;
    known.wrap(payload, now, known.kind(py, kind))
}

/// Put an envelope around a raw item, as cheaply as can be.
///
/// # Errors
///
/// As [`wrap`].
#[pyfunction(name = "_wrap", signature = (payload, now, r#type=None))]
pub fn wrap_as<'py>(
    payload: Bound<'py, PyAny>,
    now: Bound<'py, PyAny>,
    r#type: Option<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = payload.py();
    let known = envelopes(py)?;
    let kind = r#type.unwrap_or_else(|| known.kind(py, MessageType::Data));
    known.wrap(payload, now, kind)
}

/// Make the DATA message that a function's result becomes: the parent's trace, headers and metadata, its id as parent.
///
/// # Errors
///
/// As [`wrap`], or `parent` is no message.
#[pyfunction(name = "_derive")]
pub fn derive<'py>(parent: &Bound<'py, PyAny>, payload: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = payload.py();
    match envelopes(py)? {
        Envelopes::Native(native) => native.derive(parent, payload),
        Envelopes::Foreign(foreign) => foreign.derive.bind(py).call1((parent, payload)),
    }
}

/// Put another payload into the same envelope: type, metadata and headers stay.
///
/// # Errors
///
/// As [`wrap`], or `envelope` is no message.
#[pyfunction(name = "_rewrap")]
pub fn rewrap<'py>(envelope: &Bound<'py, PyAny>, payload: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = payload.py();
    match envelopes(py)? {
        Envelopes::Native(native) => native.rewrap(envelope, payload),
        Envelopes::Foreign(foreign) => foreign.rewrap.bind(py).call1((envelope, payload)),
    }
}

/// What is being handled in one context: the run's `Scope`, as the steps write it for every message.
pub enum Scope<'a, 'py> {
    /// Over native slots.
    Native(Fields<'a, 'py, 6>),
    /// A Python object with the same attributes.
    Foreign(&'a Bound<'py, PyAny>),
}

impl<'a, 'py> Scope<'a, 'py> {
    /// Looks at `scope`, the Python object.
    #[inline]
    pub fn of(scope: &'a Bound<'py, PyAny>) -> Self {
        let native = match ENVELOPES.get(scope.py()) {
            Some(Envelopes::Native(native)) => native.scope.fields(scope),
            _ => None,
        };
        native.map_or(Self::Foreign(scope), Self::Native)
    }

    /// Returns the time of the current slice, or `None`.
    ///
    /// # Errors
    ///
    /// The scope is of a class of somebody's own, and raises.
    #[inline]
    pub fn now(&self) -> PyResult<Bound<'py, PyAny>> {
        match self {
            Self::Native(fields) => Ok(fields.get::<NOW>().unwrap_or_else(|| fields.none())),
            Self::Foreign(scope) => scope.getattr(intern!(scope.py(), "now")),
        }
    }

    /// Notes the message in hand, or `None`.
    ///
    /// # Errors
    ///
    /// As [`Scope::now`].
    #[inline]
    pub fn set_handling(&self, message: Bound<'py, PyAny>) -> PyResult<()> {
        match self {
            Self::Native(fields) => {
                fields.set::<HANDLING>(message);
                Ok(())
            }
            Self::Foreign(scope) => scope.setattr(intern!(scope.py(), "handling"), message),
        }
    }

    /// Notes the node that runs, or `None`.
    ///
    /// # Errors
    ///
    /// As [`Scope::now`].
    #[inline]
    pub fn set_node(&self, node: Bound<'py, PyAny>) -> PyResult<()> {
        match self {
            Self::Native(fields) => {
                fields.set::<NODE>(node);
                Ok(())
            }
            Self::Foreign(scope) => scope.setattr(intern!(scope.py(), "node"), node),
        }
    }

    /// Notes the node that runs and its input port, or `None` for both.
    ///
    /// # Errors
    ///
    /// As [`Scope::now`].
    pub fn set_place(&self, node: Bound<'py, PyAny>, port: Bound<'py, PyAny>) -> PyResult<()> {
        match self {
            Self::Native(fields) => {
                fields.set::<NODE>(node);
                fields.set::<PORT>(port);
                Ok(())
            }
            Self::Foreign(scope) => {
                scope.setattr(intern!(scope.py(), "node"), node)?;
                scope.setattr(intern!(scope.py(), "port"), port)
            }
        }
    }
}
