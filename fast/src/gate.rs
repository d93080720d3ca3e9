//! Who runs user code in a ring: one thread at a time, and nobody else touches the ring meanwhile.
//!
//! The interpreter's lock makes what runs no user code one piece: it looks at the gate, finds it open, and is done before
//! anybody else has the lock. User code may give that lock away, so whoever runs some goes through the gate first and leaves
//! it afterwards. What others do who find it shut is theirs: a ring lets them wait without the lock.

use crate::sync::{AtomicU64, Ordering};

/// What keeps threads apart where the interpreter's lock doesn't.
#[derive(Debug)]
pub struct Gate {
    /// The thread inside, or 0.
    inside: AtomicU64,
}

/// Why one can't pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shut {
    /// Another thread is inside, and will leave.
    Busy,
    /// This very thread is inside, and would wait for itself.
    Own,
}

/// A thread is inside, until this is dropped.
#[derive(Debug)]
#[must_use = "the gate opens again when this is dropped"]
pub struct Inside<'a>(&'a Gate);

impl Gate {
    /// A gate with nobody inside.
    pub fn new() -> Self {
        Self { inside: AtomicU64::new(0) }
    }

    /// The thread inside, or 0.
    pub fn thread(&self) -> u64 {
        // Relaxed: whoever asks only shows the number, and touches nothing on the strength of it.
        self.inside.load(Ordering::Relaxed)
    }

    /// Says whether nobody is inside. `me` tells the asking thread's number, which is never 0; it is asked if somebody is.
    ///
    /// # Errors
    ///
    /// Somebody is.
    #[inline]
    pub fn look(&self, me: impl FnOnce() -> u64) -> Result<(), Shut> {
        // Acquire: who finds the gate open sees all that the last one inside did; pairs with the release in `drop`.
        match self.inside.load(Ordering::Acquire) {
            0 => Ok(()),
            thread if thread == me() => Err(Shut::Own),
            _ => Err(Shut::Busy),
        }
    }

    /// Goes inside.
    ///
    /// # Errors
    ///
    /// Somebody is there already.
    #[inline]
    pub fn go_in(&self, me: u64) -> Result<Inside<'_>, Shut> {
        // Acquire on success: as in `look`. Relaxed on failure: whoever is refused touches nothing, and whether it is `me`
        // needs no order, since no other thread writes that number.
        match self.inside.compare_exchange(0, me, Ordering::Acquire, Ordering::Relaxed) {
            Ok(_) => Ok(Inside(self)),
            Err(thread) if thread == me => Err(Shut::Own),
            Err(_) => Err(Shut::Busy),
        }
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        // Release: what was done inside is seen by whoever finds the gate open; pairs with the acquires above.
        self.0.inside.store(0, Ordering::Release);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn one_thread_is_inside_others_find_it_busy_and_itself_is_told_so() {
        let gate = Gate::default();
        assert_eq!((gate.look(|| 1), gate.thread()), (Ok(()), 0));
        let inside = gate.go_in(1);
        assert!(inside.is_ok());
        assert_eq!((gate.look(|| 1), gate.look(|| 2), gate.thread()), (Err(Shut::Own), Err(Shut::Busy), 1));
        assert_eq!(gate.go_in(1).map(drop), Err(Shut::Own));
        assert_eq!(gate.go_in(2).map(drop), Err(Shut::Busy));
        drop(inside);
        assert_eq!((gate.look(|| 1), gate.go_in(2).map(drop), gate.thread()), (Ok(()), Ok(()), 0));
    }

    /// A number without any protection but the gate: what the thread sanitizer looks at (`ci/rust tsan`).
    struct Guarded(Gate, std::cell::UnsafeCell<u64>);

    // SAFETY: the number is touched only by the thread that is inside.
    unsafe impl Sync for Guarded {}

    #[test]
    fn threads_inside_see_what_those_before_them_did() {
        const TIMES: u64 = 2_000;
        let guarded = &Guarded(Gate::new(), std::cell::UnsafeCell::new(0));
        std::thread::scope(|scope| {
            for me in 1..=3 {
                scope.spawn(move || {
                    let mut left = TIMES;
                    while left > 0 {
                        let Ok(_inside) = guarded.0.go_in(me) else {
                            std::thread::yield_now();
                            continue;
                        };
                        // SAFETY: this thread is inside, so no other one touches the number.
                        unsafe { *guarded.1.get() += 1 };
                        left -= 1;
                    }
                });
            }
        });
        let _inside =
            guarded.0.go_in(4).map_err(|shut| panic!("all threads have ended, and the gate is {shut:?}"));
        // SAFETY: this thread is inside.
        assert_eq!(unsafe { *guarded.1.get() }, 3 * TIMES);
    }

    #[test]
    fn who_panics_inside_leaves_all_the_same() {
        let gate = Gate::new();
        let result = std::panic::catch_unwind(|| {
            let _inside = gate.go_in(1);
            std::panic::resume_unwind(Box::new("user code"));
        });
        assert!(result.is_err());
        assert_eq!(gate.look(|| 2), Ok(()));
    }
}
