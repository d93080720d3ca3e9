//! Limits besides the count: bytes and age of one ring, and a byte budget that several share.
//!
//! Sizes and times come from outside; nothing here calls anybody. `meridian/engine/ring.py` says what the limits promise.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};

use crate::faults::{fault, Fault};
use crate::sync::Mutex;

/// A number of bytes, or a change of one. It is the user's to tell, as a whole number without bounds; [`MOST_BYTES`] bounds it.
pub type Bytes = i128;

/// More than this is as much as this: so many that no sum of them overflows, as no lane has 2^27 items of that size.
pub const MOST_BYTES: Bytes = 1 << 100;

/// Bytes that all limited rings of one graph share. See `Budget` in `meridian/engine/ring.py`.
#[derive(Debug)]
pub struct Budget {
    limit: Bytes,
    // Whether bytes fit is asked, and then charged, with the interpreter's lock held; this one is for the sum alone.
    used: Mutex<Bytes>,
}

impl Budget {
    /// A budget of `limit` bytes, none of them used.
    pub fn new(limit: Bytes) -> Self {
        Self { limit, used: Mutex::new(0) }
    }

    /// Most bytes that may be queued.
    pub fn limit(&self) -> Bytes {
        self.limit
    }

    /// Bytes that are queued now.
    pub fn used(&self) -> Bytes {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says whether a ring with that share (0 for all of it) may take `n` bytes more.
    pub fn admits(&self, n: Bytes, share: Bytes) -> bool {
        let before = self.used();
        let used = before.saturating_add(n);
        used <= self.limit && (share == 0 || used <= share || before == 0)
    }

    /// Takes `n` bytes, or gives them back if negative.
    pub fn charge(&self, n: Bytes) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        *used = used.saturating_add(n);
    }
}

/// One item's bytes and time of entry, in nanoseconds.
pub type Note = (Bytes, i64);

/// What a limited ring knows besides its items.
#[derive(Debug, Default)]
pub struct Limits {
    /// Most bytes that queued data may have together.
    pub max_bytes: Option<Bytes>,
    /// Data that waited longer, in nanoseconds, is lost.
    pub max_age_ns: Option<i64>,
    /// Bytes shared with the other edges of a graph.
    pub budget: Option<Arc<Budget>>,
    /// How much of the budget may be in use for this ring to take more; 0 for all of it.
    pub budget_share: Bytes,
    /// Bytes of the data lane, those of a batch that may come back included.
    pub bytes: Bytes,
    /// Bytes and time of entry of each item of the data lane.
    pub notes: VecDeque<Note>,
    /// Notes of a running batch that may still come back.
    pub kept: Vec<Note>,
}

impl Limits {
    /// Says whether `n` bytes are more than the limits could ever hold.
    pub fn never_fits(&self, n: Bytes) -> bool {
        self.max_bytes.is_some_and(|most| n > most)
            || self.budget.as_ref().is_some_and(|budget| n > budget.limit())
    }

    /// Says whether `n` bytes more would exceed the limits now.
    pub fn exceeds(&self, n: Bytes) -> bool {
        self.max_bytes.is_some_and(|most| self.bytes.saturating_add(n) > most && !fault(Fault::IgnoresBytes))
            || self.budget.as_ref().is_some_and(|budget| !budget.admits(n, self.budget_share))
    }

    /// Says whether no byte is left at all.
    pub fn is_used_up(&self) -> bool {
        self.max_bytes.is_some_and(|most| self.bytes >= most)
            || self.budget.as_ref().is_some_and(|budget| {
                let share = if self.budget_share == 0 { budget.limit() } else { self.budget_share };
                budget.used() >= share
            })
    }

    /// Takes `n` bytes, or gives them back if negative.
    pub fn charge(&mut self, n: Bytes) {
        self.bytes = self.bytes.saturating_add(n);
        if let Some(budget) = &self.budget {
            budget.charge(n);
        }
    }

    /// Notes items that were taken for good, and come back now.
    pub fn keep(&mut self, notes: Vec<Note>) {
        self.charge(notes.iter().map(|(bytes, _)| bytes).sum());
        self.kept = notes;
    }

    /// How many of the oldest items are too old at `now`.
    pub fn expired(&self, now: i64) -> usize {
        let Some(most) = self.max_age_ns else { return 0 };
        if fault(Fault::DeliversStaleItems) {
            return 0;
        }
        let oldest = now.saturating_sub(most) + i64::from(fault(Fault::ExpiresOneTooMany));
        self.notes.iter().take_while(|(_, entered)| *entered < oldest).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_admits_up_to_the_share_and_one_item_on_an_empty_graph() {
        let budget = Budget::new(100);
        assert!(budget.admits(60, 30), "nothing is queued, so it may go beyond its share");
        budget.charge(20);
        assert!(budget.admits(10, 30));
        assert!(!budget.admits(11, 30));
        assert!(budget.admits(80, 0));
        assert!(!budget.admits(81, 0));
    }

    #[test]
    fn threads_that_take_and_give_back_leave_nothing_behind() {
        let budget = &Budget::new(1_000);
        std::thread::scope(|scope| {
            for bytes in 1..=3 {
                scope.spawn(move || {
                    for _ in 0..2_000 {
                        budget.charge(bytes);
                        budget.charge(-bytes);
                    }
                });
            }
        });
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn limits_know_what_never_fits_what_exceeds_now_and_what_is_too_old() {
        let budget = Arc::new(Budget::new(50));
        let mut limits = Limits {
            max_bytes: Some(40),
            max_age_ns: Some(10),
            budget: Some(Arc::clone(&budget)),
            ..Limits::default()
        };
        assert!(limits.never_fits(41) && !limits.never_fits(40));
        limits.charge(30);
        assert_eq!((limits.bytes, budget.used()), (30, 30));
        assert!(limits.exceeds(11) && !limits.exceeds(10));
        limits.charge(10);
        assert!(limits.is_used_up());
        limits.notes.extend([(1, 0), (1, 5), (1, 10)]);
        assert_eq!((limits.expired(10), limits.expired(11), limits.expired(16)), (0, 1, 2));
    }
}
