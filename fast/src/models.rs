//! Loom's models of what threads share: each is run in every order in which its threads may meet (`ci/rust loom`).
//!
//! Rings, queues and steps are not modelled: they are touched with the interpreter's lock held, and loom knows nothing of that
//! lock. Here a mutex stands for it, which user code gives away in the middle and takes again, as Python code does.

use loom::cell::UnsafeCell;
use loom::sync::{Arc, Mutex};
use loom::thread;

use crate::gate::{Gate, Inside, Shut};
use crate::limits::Budget;

/// A ring as far as the gate goes: what it holds, behind the interpreter's lock and the gate.
struct Shared {
    lock: Mutex<()>,
    gate: Gate,
    held: UnsafeCell<u32>,
}

// SAFETY: `held` is only touched as the models say; that nobody else does at the same time is what loom checks.
unsafe impl Sync for Shared {}

impl Shared {
    fn new() -> Arc<Self> {
        Arc::new(Self { lock: Mutex::new(()), gate: Gate::new(), held: UnsafeCell::new(0) })
    }

    /// Adds one to what is held; loom fails if another thread is at it.
    fn touch(&self) {
        // SAFETY: see above.
        self.held.with_mut(|held| unsafe { *held += 1 });
    }

    fn total(&self) -> u32 {
        // SAFETY: all threads have ended.
        self.held.with(|held| unsafe { *held })
    }
}

/// Waits until it may go in.
fn go_in(gate: &Gate, me: u64) -> Inside<'_> {
    loop {
        match gate.go_in(me) {
            Ok(inside) => return inside,
            Err(shut) => assert_eq!(shut, Shut::Busy, "nobody else goes by this number"),
        }
        thread::yield_now();
    }
}

/// A put that runs user code: through the gate, with the interpreter's lock given away inside.
fn put_with_user_code(shared: &Shared, me: u64) {
    let mut lock = Some(shared.lock.lock().unwrap());
    let inside = loop {
        match shared.gate.go_in(me) {
            Ok(inside) => break inside,
            Err(shut) => assert_eq!(shut, Shut::Busy),
        }
        drop(lock.take());
        thread::yield_now();
        lock = Some(shared.lock.lock().unwrap());
    };
    drop(lock.take());
    shared.touch();
    lock = Some(shared.lock.lock().unwrap());
    drop(inside);
    drop(lock);
}

/// An operation without user code: it looks, and is done before it gives the lock away.
fn take(shared: &Shared, me: u64) {
    let mut lock = Some(shared.lock.lock().unwrap());
    while let Err(shut) = shared.gate.look(|| me) {
        assert_eq!(shut, Shut::Busy);
        drop(lock.take());
        thread::yield_now();
        lock = Some(shared.lock.lock().unwrap());
    }
    shared.touch();
    drop(lock);
}

#[test]
fn user_code_of_two_threads_never_overlaps_even_without_the_interpreters_lock() {
    loom::model(|| {
        let shared = Shared::new();
        let other = Arc::clone(&shared);
        let running = thread::spawn(move || {
            let _inside = go_in(&other.gate, 2);
            other.touch();
        });
        let inside = go_in(&shared.gate, 1);
        shared.touch();
        drop(inside);
        running.join().unwrap();
        assert_eq!(shared.total(), 2);
    });
}

#[test]
fn nobody_touches_the_ring_while_user_code_has_given_the_lock_away() {
    loom::model(|| {
        let shared = Shared::new();
        let other = Arc::clone(&shared);
        let running = thread::spawn(move || put_with_user_code(&other, 2));
        take(&shared, 1);
        running.join().unwrap();
        assert_eq!(shared.total(), 2);
    });
}

#[test]
fn whoever_waits_gets_in_after_the_others_have_left() {
    loom::model(|| {
        let shared = Shared::new();
        let other = Arc::clone(&shared);
        let running = thread::spawn(move || put_with_user_code(&other, 2));
        put_with_user_code(&shared, 1);
        running.join().unwrap();
        assert_eq!((shared.total(), shared.gate.look(|| 1)), (2, Ok(())));
    });
}

#[test]
fn a_thread_that_is_inside_is_refused_and_not_left_waiting_for_itself() {
    loom::model(|| {
        let shared = Shared::new();
        let other = Arc::clone(&shared);
        let running = thread::spawn(move || put_with_user_code(&other, 2));
        let inside = go_in(&shared.gate, 1);
        assert_eq!(shared.gate.look(|| 1), Err(Shut::Own));
        assert_eq!(shared.gate.go_in(1).map(drop), Err(Shut::Own));
        drop(inside);
        running.join().unwrap();
    });
}

#[test]
fn bytes_of_a_budget_are_counted_once_whoever_charges_at_the_same_time() {
    loom::model(|| {
        let budget = Arc::new(Budget::new(10));
        let others: Vec<_> = [3, 4]
            .into_iter()
            .map(|n| {
                let budget = Arc::clone(&budget);
                thread::spawn(move || {
                    budget.charge(n);
                    budget.charge(-1);
                })
            })
            .collect();
        budget.charge(2);
        for other in others {
            other.join().unwrap();
        }
        assert_eq!(budget.used(), 7);
    });
}

#[test]
fn a_budget_is_never_overdrawn_by_who_asks_and_charges_under_one_lock() {
    loom::model(|| {
        let shared = Arc::new((Mutex::new(()), Budget::new(5)));
        let other = Arc::clone(&shared);
        let fits = |shared: &(Mutex<()>, Budget)| {
            let _lock = shared.0.lock().unwrap();
            let fits = shared.1.admits(3, 0);
            if fits {
                shared.1.charge(3);
            }
            fits
        };
        let running = thread::spawn(move || fits(&other));
        let (mine, others) = (fits(&shared), running.join().unwrap());
        assert_eq!((mine != others, shared.1.used()), (true, 3));
    });
}
