//! The Python face of [`crate::ready`]: turns, their lines and the queue.

use pyo3::exceptions::{PyAttributeError, PyIndexError, PyTypeError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;

use super::cell::{GilCell, GilValue};
use super::ring::Ring;
use crate::ready::{Ready, BANDS};
use crate::ring::signed;

/// Something that can run a slice. See `meridian.engine.ready.Turn`.
#[pyclass(frozen, subclass, module = "meridian_fast", weakref)]
pub struct Turn {
    #[pyo3(get)]
    pub(super) node: i64,
    band: GilValue<usize>,
    pub(super) batch: GilValue<i64>,
    pub(super) queued: GilValue<bool>,
    pub(super) slices: GilValue<i64>,
    pub(super) busy_ns: GilValue<i64>,
    pub(super) since: GilValue<i64>,
    links: GilCell<Links>,
}

#[derive(Default)]
struct Links {
    ring: Option<Py<Ring>>,
    waits_for: Option<Py<Ring>>,
    run: Option<Py<PyAny>>,
    queue: Option<Py<ReadyQueue>>,
}

impl Turn {
    /// Its band.
    #[inline]
    pub fn band_now(&self, py: Python<'_>) -> usize {
        self.band.get(py)
    }

    /// What runs it.
    #[inline]
    pub fn run_now(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.links.with(py, |links| links.run.as_ref().map(|run| run.clone_ref(py)))
    }

    /// Notes which ring's room it waits for, or that it waits no more.
    pub fn wait_for(&self, py: Python<'_>, ring: Option<Py<Ring>>) {
        let old = self.links.with(py, |links| std::mem::replace(&mut links.waits_for, ring));
        drop(old);
    }

    /// The ring whose data it serves is `ring`.
    pub fn serves(&self, py: Python<'_>, ring: &Py<Ring>) -> bool {
        self.links.with(py, |links| links.ring.as_ref().is_some_and(|mine| mine.is(ring)))
    }

    /// Appends it to its line.
    ///
    /// # Errors
    ///
    /// It has no line yet.
    #[inline]
    pub fn push(slf: &Py<Self>, py: Python<'_>) -> PyResult<()> {
        let turn = slf.get();
        let band = turn.band.get(py);
        let lost = turn.links.with(py, |links| match &links.queue {
            Some(queue) => {
                let slf = slf.clone_ref(py);
                let lost = queue.get().state.with(py, |ready| ready.push(band, slf));
                Ok(lost)
            }
            None => Err(PyAttributeError::new_err("line")),
        })?;
        drop(lost);
        Ok(())
    }

    /// Marks it as queued and appends it to its line, unless it is queued already.
    ///
    /// # Errors
    ///
    /// It has no line yet.
    #[inline]
    pub fn queue(slf: &Py<Self>, py: Python<'_>) -> PyResult<()> {
        let turn = slf.get();
        if turn.queued.get(py) {
            return Ok(());
        }
        turn.queued.set(py, true);
        Self::push(slf, py)
    }

    /// The turn's own line gets `queue`.
    pub fn belongs_to(&self, py: Python<'_>, queue: Py<ReadyQueue>) {
        let old = self.links.with(py, |links| links.queue.replace(queue));
        drop(old);
    }
}

#[pymethods]
impl Turn {
    #[new]
    #[pyo3(signature = (node, band, batch = 1))]
    fn new(node: i64, band: usize, batch: i64) -> PyResult<Self> {
        if band >= BANDS {
            return Err(PyValueError::new_err(format!("band is {band}, there are {BANDS}")));
        }
        Ok(Self {
            node,
            band: GilValue::new(band),
            batch: GilValue::new(batch),
            queued: GilValue::new(false),
            slices: GilValue::new(0),
            busy_ns: GilValue::new(0),
            since: GilValue::new(0),
            links: GilCell::default(),
        })
    }

    #[getter]
    fn get_band(&self, py: Python<'_>) -> usize {
        self.band.get(py)
    }

    #[setter]
    fn set_band(&self, py: Python<'_>, band: usize) -> PyResult<()> {
        if band >= BANDS {
            return Err(PyValueError::new_err(format!("band is {band}, there are {BANDS}")));
        }
        self.band.set(py, band);
        Ok(())
    }

    #[getter]
    fn get_batch(&self, py: Python<'_>) -> i64 {
        self.batch.get(py)
    }

    #[setter]
    fn set_batch(&self, py: Python<'_>, batch: i64) {
        self.batch.set(py, batch);
    }

    #[getter]
    fn get_queued(&self, py: Python<'_>) -> bool {
        self.queued.get(py)
    }

    #[setter]
    fn set_queued(&self, py: Python<'_>, queued: bool) {
        self.queued.set(py, queued);
    }

    #[getter]
    fn get_slices(&self, py: Python<'_>) -> i64 {
        self.slices.get(py)
    }

    #[setter]
    fn set_slices(&self, py: Python<'_>, slices: i64) {
        self.slices.set(py, slices);
    }

    #[getter]
    fn get_busy_ns(&self, py: Python<'_>) -> i64 {
        self.busy_ns.get(py)
    }

    #[setter]
    fn set_busy_ns(&self, py: Python<'_>, busy_ns: i64) {
        self.busy_ns.set(py, busy_ns);
    }

    #[getter]
    fn get_since(&self, py: Python<'_>) -> i64 {
        self.since.get(py)
    }

    #[setter]
    fn set_since(&self, py: Python<'_>, since: i64) {
        self.since.set(py, since);
    }

    #[getter]
    fn get_ring(&self, py: Python<'_>) -> Option<Py<Ring>> {
        self.links.with(py, |links| links.ring.as_ref().map(|ring| ring.clone_ref(py)))
    }

    #[setter]
    fn set_ring(&self, py: Python<'_>, ring: Option<Py<Ring>>) {
        let old = self.links.with(py, |links| std::mem::replace(&mut links.ring, ring));
        drop(old);
    }

    #[getter]
    fn get_waits_for(&self, py: Python<'_>) -> Option<Py<Ring>> {
        self.links.with(py, |links| links.waits_for.as_ref().map(|ring| ring.clone_ref(py)))
    }

    #[setter]
    fn set_waits_for(&self, py: Python<'_>, ring: Option<Py<Ring>>) {
        self.wait_for(py, ring);
    }

    #[getter]
    fn get_run(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.run_now(py).ok_or_else(|| PyAttributeError::new_err("run"))
    }

    #[setter]
    fn set_run(&self, py: Python<'_>, run: Py<PyAny>) {
        let old = self.links.with(py, |links| links.run.replace(run));
        drop(old);
    }

    #[getter]
    fn get_line(&self, py: Python<'_>) -> PyResult<Line> {
        let queue = self.links.with(py, |links| links.queue.as_ref().map(|queue| queue.clone_ref(py)));
        let queue = queue.ok_or_else(|| PyAttributeError::new_err("line"))?;
        Ok(Line { queue, band: self.band.get(py) })
    }

    #[setter]
    fn set_line(&self, py: Python<'_>, line: &Bound<'_, Line>) {
        let line = line.get();
        self.band.set(py, line.band);
        self.belongs_to(py, line.queue.clone_ref(py));
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.links
            .try_with(|links| {
                visit.call(&links.ring)?;
                visit.call(&links.waits_for)?;
                visit.call(&links.run)?;
                visit.call(&links.queue)
            })
            .unwrap_or(Ok(()))
    }

    fn __clear__(&self) {
        let links = self.links.try_with(std::mem::take);
        drop(links);
    }
}

/// One band's waiting line, as a sequence of turns that can be changed.
#[pyclass(frozen, module = "meridian_fast")]
pub struct Line {
    queue: Py<ReadyQueue>,
    band: usize,
}

impl Line {
    fn turns(&self, py: Python<'_>) -> Vec<Py<Turn>> {
        self.queue
            .get()
            .state
            .with(py, |ready| ready.lines[self.band].iter().map(|turn| turn.clone_ref(py)).collect())
    }
}

#[pymethods]
impl Line {
    fn __len__(&self, py: Python<'_>) -> usize {
        self.queue.get().state.with(py, |ready| ready.lines[self.band].len())
    }

    fn __iter__(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(self.turns(py).into_pyobject(py)?.try_iter()?.into_any().unbind())
    }

    fn __contains__(&self, py: Python<'_>, turn: &Bound<'_, PyAny>) -> bool {
        self.turns(py).iter().any(|queued| queued.is(turn))
    }

    fn __getitem__(&self, py: Python<'_>, index: isize) -> PyResult<Py<Turn>> {
        let mut turns = self.turns(py);
        let at = if index < 0 { index + signed(turns.len()) } else { index };
        usize::try_from(at)
            .ok()
            .filter(|at| *at < turns.len())
            .map(|at| turns.swap_remove(at))
            .ok_or_else(|| PyIndexError::new_err("there is no such turn"))
    }

    fn append(&self, py: Python<'_>, turn: Py<Turn>) {
        let lost = self.queue.get().state.with(py, |ready| ready.push(self.band, turn));
        drop(lost);
    }

    fn extend(&self, py: Python<'_>, turns: &Bound<'_, PyAny>) -> PyResult<()> {
        for turn in turns.try_iter()? {
            self.append(py, turn?.cast_into::<Turn>()?.unbind());
        }
        Ok(())
    }

    fn popleft(&self, py: Python<'_>) -> PyResult<Py<Turn>> {
        self.queue
            .get()
            .state
            .with(py, |ready| ready.pop(self.band))
            .ok_or_else(|| PyIndexError::new_err("no turn is due"))
    }

    fn count(&self, py: Python<'_>, turn: &Bound<'_, PyAny>) -> usize {
        self.turns(py).iter().filter(|queued| queued.is(turn)).count()
    }

    fn remove(&self, py: Python<'_>, turn: &Bound<'_, PyAny>) -> PyResult<()> {
        let removed = self.queue.get().state.with(py, |ready| {
            let line = &mut ready.lines[self.band];
            line.iter().position(|queued| queued.is(turn)).and_then(|at| line.remove(at))
        });
        match removed {
            Some(_) => Ok(()),
            None => Err(PyValueError::new_err("the turn is not in this line")),
        }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.queue)
    }
}

/// Turns that are due, by band. See `meridian.engine.ready.ReadyQueue`.
#[pyclass(frozen, subclass, module = "meridian_fast", dict, weakref)]
pub struct ReadyQueue {
    pub(super) state: GilCell<Ready<Py<Turn>>>,
    random: GilCell<Option<Py<PyAny>>>,
}

impl ReadyQueue {
    /// Takes the turn that is to run next, or `None`; for a queue that nobody changed the order of.
    #[inline]
    pub fn next(&self, py: Python<'_>) -> Option<Py<Turn>> {
        self.state.with(py, Ready::take)
    }

    /// Every pick has to go through [`ReadyQueue::pick`]: the order is drawn.
    pub fn is_drawn(&self, py: Python<'_>) -> bool {
        self.random.with(py, |random| random.is_some())
    }

    /// Nothing is due.
    #[inline]
    pub fn is_empty(&self, py: Python<'_>) -> bool {
        self.state.with(py, |ready| ready.is_empty())
    }
}

#[pymethods]
impl ReadyQueue {
    #[new]
    #[pyo3(signature = (weights = None, random = None))]
    fn new(weights: Option<[i64; BANDS]>, random: Option<Py<PyAny>>) -> PyResult<Self> {
        let weights = weights.unwrap_or([4, 2, 1]);
        if weights.iter().any(|weight| *weight < 1) {
            return Err(PyValueError::new_err(format!("weights are {weights:?}, each has to be at least 1")));
        }
        Ok(Self { state: GilCell::new(Ready::new(weights)), random: GilCell::new(random) })
    }

    #[getter]
    fn weights(&self, py: Python<'_>) -> (i64, i64, i64) {
        let [control, high, normal] = self.state.with(py, |ready| ready.weights());
        (control, high, normal)
    }

    #[getter]
    fn random(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.random.with(py, |random| random.as_ref().map(|random| random.clone_ref(py)))
    }

    #[getter]
    fn lines(slf: &Bound<'_, Self>) -> (Line, Line, Line) {
        let line = |band| Line { queue: slf.clone().unbind(), band };
        (line(0), line(1), line(2))
    }

    fn __len__(&self, py: Python<'_>) -> usize {
        self.state.with(py, |ready| ready.len())
    }

    /// Serve a turn in another band; one that is in a line goes on behind those of the new band.
    fn set_band(&self, py: Python<'_>, turn: &Bound<'_, Turn>, band: usize) -> PyResult<()> {
        let old = turn.get().band.get(py);
        turn.get().set_band(py, band)?;
        if old != band && turn.get().queued.get(py) {
            self.state.with(py, |ready| ready.change_band(old, band, |queued| queued.is(turn)));
        }
        Ok(())
    }

    /// Take the turn that is to run next; raises `IndexError` if none is due.
    pub(super) fn pick(&self, py: Python<'_>) -> PyResult<Py<Turn>> {
        let band =
            self.state.with(py, Ready::pick_band).ok_or_else(|| PyIndexError::new_err("no turn is due"))?;
        let random = self.random(py);
        let due = self.state.with(py, |ready| ready.lines[band].len());
        let drawn = match random {
            Some(random) if due > 1 => {
                random.bind(py).call_method1(intern!(py, "randrange"), (due,))?.extract::<usize>()?
            }
            _ => 0,
        };
        self.state
            .with(py, |ready| {
                let line = &mut ready.lines[band];
                if drawn < line.len() {
                    line.rotate_left(drawn);
                }
                ready.pop(band)
            })
            .ok_or_else(|| PyTypeError::new_err("the random source took a turn away"))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.random.try_with(|random| visit.call(&*random)).unwrap_or(Ok(()))?;
        self.state
            .try_with(|ready| ready.lines.iter().flatten().try_for_each(|turn| visit.call(turn)))
            .unwrap_or(Ok(()))
    }

    fn __clear__(&self) {
        let lines = self.state.try_with(|ready| ready.lines.each_mut().map(std::mem::take));
        let random = self.random.try_with(std::mem::take);
        drop((lines, random));
    }
}
