//! A bounded ring: the mirror of `meridian/engine/ring.py`, which says what it promises.
//!
//! Generic over the item, and free of user code: where a policy has to run some (a coalesce function, a policy of the user's
//! own), the ring says so and is told the result. Nothing is dropped in here either, since dropping a Python object may run
//! code: what leaves without being delivered is handed out in [`Effects`], to be dropped when the ring is in order again.

use std::borrow::Cow;
use std::collections::VecDeque;

use crate::counters::Losses;
use crate::faults::{fault, Fault};
use crate::limits::{Bytes, Limits, Note};

/// What a full ring does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Refuses.
    Block,
    /// Discards the new item.
    Drop,
    /// Discards the oldest item.
    Latest,
    /// Merges into the newest item.
    Coalesce,
    /// Asks an object of the user's.
    Custom,
}

/// What became of one put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// There was room.
    Ok,
    /// There was none; the caller keeps the item.
    Blocked,
    /// The new item was discarded and counted.
    Dropped,
    /// The oldest item was discarded and counted.
    Replaced,
    /// The new item was merged into the newest queued one.
    Coalesced,
}

/// What an operation did besides its result, to be carried out when nobody looks at the ring any more.
#[derive(Debug)]
pub struct Effects<T> {
    /// Items that left without being delivered.
    pub discarded: Vec<T>,
    /// Losses that somebody may want to hear of: cause and number.
    pub losses: Vec<(&'static str, u64)>,
    /// Bytes of a budget came free.
    pub freed: bool,
}

impl<T> Default for Effects<T> {
    fn default() -> Self {
        Self { discarded: Vec::new(), losses: Vec::new(), freed: false }
    }
}

/// How far the data lane of a ring has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passed {
    /// Items that came to it.
    pub came: u64,
    /// Of them, those that left it.
    pub left: u64,
    /// Of those, the lost ones.
    pub gone: u64,
    /// And those of a running batch that may still come back.
    pub kept: isize,
}

/// One edge's items and counts.
#[derive(Debug)]
pub struct Ring<T> {
    /// The data lane, oldest first.
    pub items: VecDeque<T>,
    /// The control lane, oldest first; it is served before data.
    pub control: VecDeque<T>,
    /// A CONTROL message was here once.
    pub had_control: bool,
    /// Most items that both lanes may hold together.
    pub capacity: isize,
    /// `capacity` less the control lane and less what a running batch may still put back.
    pub space: isize,
    /// What a full ring does.
    pub kind: Kind,
    /// Depth at which waiting producers are let on.
    pub low: isize,
    /// Items that were delivered.
    pub taken: u64,
    /// Those of them that were CONTROL messages.
    pub taken_control: u64,
    /// Items that were merged into another one.
    pub merged: u64,
    /// Items lost, by cause.
    pub lost: Losses,
    /// Bytes and age, where they are limited.
    pub limits: Option<Box<Limits>>,
}

/// A count as a signed number; no lane has more items than half the address space.
pub fn signed(n: usize) -> isize {
    isize::try_from(n).unwrap_or(isize::MAX)
}

impl<T> Ring<T> {
    /// An empty ring. It allocates nothing until the first item.
    pub fn new(capacity: isize, kind: Kind) -> Self {
        let mut made = Self {
            items: VecDeque::new(),
            control: VecDeque::new(),
            had_control: false,
            capacity,
            space: capacity,
            kind,
            low: 0,
            taken: 0,
            taken_control: 0,
            merged: 0,
            lost: Losses::default(),
            limits: None,
        };
        made.set_low();
        made
    }

    /// How many items wait, in both lanes.
    pub fn depth(&self) -> usize {
        self.items.len() + self.control.len()
    }

    /// How many more data items fit by count.
    pub fn room(&self) -> usize {
        let more = isize::from(fault(Fault::HoldsMoreThanItsCapacity));
        usize::try_from((self.space + more).saturating_sub(signed(self.items.len()))).unwrap_or(0)
    }

    /// How many items this ring took responsibility for.
    pub fn accepted(&self) -> u64 {
        self.taken + self.depth() as u64 + self.merged + self.lost.total()
    }

    /// How far the data lane has got: what `_passed` of the Python ring tells.
    pub fn passed(&self) -> Passed {
        let gone = self.lost.by("replaced") + self.lost.by("expired");
        let left = self.taken.saturating_sub(self.taken_control) + gone;
        let kept = self.capacity - self.space - signed(self.control.len());
        Passed { came: left + self.items.len() as u64, left, gone, kept }
    }

    /// Says whether the ring is full by count, for data.
    pub fn is_full_by_count(&self) -> bool {
        let more = isize::from(fault(Fault::CapacityPlusOne)) - isize::from(fault(Fault::FullOneEarly));
        signed(self.depth()) >= self.capacity + more || signed(self.items.len()) >= self.space + more
    }

    /// Says whether an item of `bytes` finds no room now.
    pub fn is_full(&self, bytes: Bytes) -> bool {
        self.is_full_by_count() || self.limits.as_ref().is_some_and(|limits| limits.exceeds(bytes))
    }

    /// Changes what a full ring does.
    pub fn set_kind(&mut self, kind: Kind) {
        self.kind = kind;
        self.set_low();
    }

    /// Changes the capacity. What is above a smaller one stays until it is taken.
    pub fn set_capacity(&mut self, capacity: isize) {
        self.space = self.space.saturating_add(capacity.saturating_sub(self.capacity));
        self.capacity = capacity;
        self.set_low();
    }

    fn set_low(&mut self) {
        // A custom policy may block at any depth, so there every item that leaves lets producers try.
        self.low = if self.kind == Kind::Custom { self.capacity } else { self.capacity >> 1 };
    }

    // ---- putting -------------------------------------------------------------------------------------------------

    /// Puts a CONTROL message, which no policy ever loses.
    ///
    /// # Errors
    ///
    /// The message comes back if the ring is full.
    pub fn put_control(&mut self, message: T) -> Result<(), T> {
        if self.is_full_by_count() {
            return match self.control.back_mut() {
                Some(newest) if fault(Fault::ControlIsReplaced) => Err(std::mem::replace(newest, message)),
                _ => Err(message),
            };
        }
        if fault(Fault::ControlWaitsInLine) {
            self.items.push_back(message);
            return Ok(());
        }
        self.control.push_back(message);
        self.had_control = true;
        self.space -= 1;
        Ok(())
    }

    /// Puts a data item where the answer of the policy needs no user code.
    ///
    /// # Errors
    ///
    /// The item comes back, with the outcome, if it didn't stay here: `Blocked` is the caller's to keep, `Dropped` is counted.
    /// `Coalesced` means that the caller has to merge it into the newest item; `Custom` rings aren't asked this way.
    pub fn put(
        &mut self,
        item: T,
        kind: Kind,
        bytes: Bytes,
        now: i64,
        fx: &mut Effects<T>,
    ) -> Result<Outcome, (Outcome, T)> {
        if !self.is_full(bytes) {
            self.append(item, bytes, now);
            return Ok(Outcome::Ok);
        }
        match kind {
            Kind::Block | Kind::Custom => Err((Outcome::Blocked, self.refused(item))),
            Kind::Drop => {
                self.lose("dropped", 1, fx);
                let outcome = if fault(Fault::SaysOkAndDrops) { Outcome::Ok } else { Outcome::Dropped };
                Err((outcome, self.dropped(item)))
            }
            Kind::Latest => self.replace_oldest(item, bytes, now, fx),
            Kind::Coalesce if self.items.is_empty() => {
                self.lose("dropped", 1, fx);
                Err((Outcome::Dropped, item))
            }
            Kind::Coalesce => Err((Outcome::Coalesced, item)),
        }
    }

    /// What a blocking ring gives back: the item, unless a fault is seeded.
    fn refused(&mut self, item: T) -> T {
        self.taken += u64::from(fault(Fault::CountsRefusedAsAccepted));
        match self.items.back_mut() {
            Some(newest) if fault(Fault::OverwritesWhatItHolds) => std::mem::replace(newest, item),
            _ => item,
        }
    }

    /// What a dropping ring gives back: the item, unless a fault is seeded.
    fn dropped(&mut self, item: T) -> T {
        match if fault(Fault::DropsTheOldest) { self.items.pop_front() } else { None } {
            Some(oldest) => {
                self.items.push_back(item);
                oldest
            }
            None => item,
        }
    }

    /// Discards the oldest items until the new one fits, and appends it.
    ///
    /// # Errors
    ///
    /// The item comes back, counted as dropped, if nothing is left that could make room (capacity 0, or all CONTROL).
    pub fn replace_oldest(
        &mut self,
        item: T,
        bytes: Bytes,
        now: i64,
        fx: &mut Effects<T>,
    ) -> Result<Outcome, (Outcome, T)> {
        while self.is_full(bytes) {
            if fault(Fault::GrowsByOne) && !self.items.is_empty() {
                self.lose("replaced", 1, fx);
                break;
            }
            let newest = fault(Fault::ReplacesTheNewest);
            let Some(oldest) = (if newest { self.items.pop_back() } else { self.items.pop_front() }) else {
                self.lose("dropped", 1, fx);
                return Err((Outcome::Dropped, item));
            };
            self.forget_oldest_note(fx);
            fx.discarded.push(oldest);
            self.lose("replaced", 1, fx);
            if fault(Fault::ReplacesOnlyOne) {
                break;
            }
        }
        self.append(item, bytes, now);
        Ok(Outcome::Replaced)
    }

    /// Appends a data item for which there is room.
    pub fn append(&mut self, item: T, bytes: Bytes, now: i64) {
        if fault(Fault::LosesTheSeventhPut) && self.accepted() == 6 {
            self.items.pop_back();
        }
        self.items.push_back(item);
        if fault(Fault::SwapsTwoOnWrapAround) && self.items.len() > 1 && self.accepted() % 4 == 0 {
            let newest = self.items.len() - 1;
            self.items.swap(newest - 1, newest);
        }
        if let Some(limits) = &mut self.limits {
            limits.charge(bytes);
            limits.notes.push_back((bytes, now));
        }
    }

    /// Says whether an item of `bytes` may take the place of the newest one.
    pub fn may_replace_newest(&self, bytes: Bytes) -> bool {
        self.limits.as_ref().is_none_or(|limits| {
            let newest = limits.notes.back().map_or(0, |(bytes, _)| *bytes);
            !limits.never_fits(bytes) && !limits.exceeds(bytes - newest)
        })
    }

    /// Puts an item in the place of the newest one, which is discarded.
    pub fn replace_newest(&mut self, item: T, bytes: Bytes, fx: &mut Effects<T>) {
        let oldest = fault(Fault::CoalescesTheOldest);
        let Some(newest) = (if oldest { self.items.front_mut() } else { self.items.back_mut() }) else {
            fx.discarded.push(item);
            return;
        };
        fx.discarded.push(std::mem::replace(newest, item));
        if let Some(limits) = &mut self.limits {
            if let Some((had, entered)) = limits.notes.pop_back() {
                limits.charge(bytes - had);
                fx.freed |= bytes < had;
                limits.notes.push_back((bytes, entered));
            }
        }
    }

    /// Appends as many of `items` as there is room for; they leave the front of `items`. Returns how many.
    pub fn extend(&mut self, items: &mut Vec<T>) -> usize {
        let n = self.room().min(items.len());
        if n == items.len() && self.items.is_empty() {
            self.items = std::mem::take(items).into(); // a batch moves as a whole, not item by item
        } else {
            self.items.extend(items.drain(..n));
        }
        n
    }

    // ---- losing --------------------------------------------------------------------------------------------------

    /// Counts losses, and notes them for who wants to hear of them. Replacing is what a latest edge is for, so nobody hears.
    pub fn lose(&mut self, cause: &'static str, n: u64, fx: &mut Effects<T>) {
        let twice = fault(Fault::CountsReplacedTwice) && cause == "replaced";
        let counted =
            if fault(Fault::CountsUnderTheWrongCause) && cause == "dropped" { "replaced" } else { cause };
        self.lost.add(Cow::Borrowed(counted), if twice { 2 * n } else { n });
        if cause != "replaced" {
            fx.losses.push((cause, n));
        }
    }

    /// Discards what is too old at `now`.
    pub fn expire(&mut self, now: i64, fx: &mut Effects<T>) {
        let n = self.limits.as_ref().map_or(0, |limits| limits.expired(now));
        if n == 0 {
            return;
        }
        for _ in 0..n {
            self.forget_oldest_note(fx);
        }
        fx.discarded.extend(self.items.drain(..n.min(self.items.len())));
        self.lose("expired", n as u64, fx);
    }

    fn forget_oldest_note(&mut self, fx: &mut Effects<T>) {
        if let Some(limits) = &mut self.limits {
            if let Some((bytes, _)) = limits.notes.pop_front() {
                limits.charge(if fault(Fault::NeverGivesBytesBack) { 0 } else { -bytes });
                fx.freed |= bytes > 0;
            }
        }
    }

    // ---- taking --------------------------------------------------------------------------------------------------

    /// Takes the next item, CONTROL first.
    pub fn get(&mut self, fx: &mut Effects<T>) -> Option<T> {
        if let Some(message) = self.control.pop_front() {
            self.space += 1;
            self.taken += 1;
            self.taken_control += 1;
            return Some(message);
        }
        self.get_data(fx)
    }

    /// Takes the oldest data item.
    pub fn get_data(&mut self, fx: &mut Effects<T>) -> Option<T> {
        let newest = fault(Fault::LastInFirstOut);
        let item = if newest { self.items.pop_back() } else { self.items.pop_front() }?;
        self.taken += 1;
        self.forget_oldest_note(fx);
        Some(item)
    }

    /// Moves up to `k` data items to the end of `into`, oldest first; returns how many.
    ///
    /// With `put_back`, room for all but the first of them is kept, in case [`Ring::settle`] brings them back.
    pub fn take(&mut self, k: usize, put_back: bool, into: &mut Vec<T>, fx: &mut Effects<T>) -> usize {
        let k = k.min(self.items.len());
        let had = into.len();
        if k == self.items.len() && into.is_empty() {
            *into = std::mem::take(&mut self.items).into(); // as a whole, as above
        } else {
            into.extend(self.items.drain(..k));
        }
        if fault(Fault::HandlesNewestFirst) {
            into[had..].reverse();
        }
        self.taken += k as u64;
        let kept = if put_back && k > 0 && !fault(Fault::KeepsNoRoomForTheRest) { k - 1 } else { 0 };
        self.space -= signed(kept);
        if let Some(limits) = &mut self.limits {
            let mut notes: Vec<Note> = limits.notes.drain(..k.min(limits.notes.len())).collect();
            if put_back && !notes.is_empty() {
                // Their bytes stay charged until it is known that they don't come back.
                limits.kept = notes.split_off(1);
            }
            let bytes: Bytes = notes.iter().map(|(bytes, _)| bytes).sum();
            limits.charge(-bytes);
            fx.freed |= bytes > 0;
        }
        k
    }

    /// Ends a batch of `k` items that was taken with `put_back`: `rest` wasn't handled and comes back.
    pub fn settle(&mut self, k: usize, rest: Vec<T>, fx: &mut Effects<T>) {
        if k > 0 {
            self.space += signed(k - 1);
        }
        if fault(Fault::LosesTheRestOfABatch) {
            fx.discarded.extend(rest);
            return;
        }
        let n = rest.len();
        self.taken = self.taken.saturating_sub(n as u64);
        if let Some(limits) = &mut self.limits {
            let kept = std::mem::take(&mut limits.kept);
            let gone = kept.len().saturating_sub(n);
            let bytes: Bytes = kept[..gone].iter().map(|(bytes, _)| bytes).sum();
            limits.charge(-bytes);
            fx.freed |= bytes > 0;
            for note in kept[gone..].iter().rev() {
                limits.notes.push_front(*note);
            }
        }
        for item in rest.into_iter().rev() {
            self.items.push_front(item);
        }
    }

    /// Moves up to `k` CONTROL messages to the end of `into`; returns how many.
    pub fn take_control(&mut self, k: usize, into: &mut Vec<T>) -> usize {
        let k = k.min(self.control.len());
        into.extend(self.control.drain(..k));
        self.taken += k as u64;
        self.taken_control += k as u64;
        self.space += signed(k);
        k
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(ring: &mut Ring<u32>, item: u32, fx: &mut Effects<u32>) -> Outcome {
        let kind = ring.kind;
        ring.put(item, kind, 0, 0, fx).unwrap_or_else(|(outcome, _)| outcome)
    }

    fn filled(capacity: isize, kind: Kind, n: u32) -> (Ring<u32>, Effects<u32>) {
        let (mut ring, mut fx) = (Ring::new(capacity, kind), Effects::default());
        for item in 0..n {
            put(&mut ring, item, &mut fx);
        }
        (ring, fx)
    }

    fn conserved(ring: &Ring<u32>, puts: u64, refused: u64) {
        assert_eq!(ring.accepted(), puts - refused);
        assert!(signed(ring.depth()) <= ring.capacity);
    }

    #[test]
    fn block_refuses_and_gives_the_item_back() {
        let (mut ring, mut fx) = filled(2, Kind::Block, 2);
        assert_eq!(ring.put(9, Kind::Block, 0, 0, &mut fx), Err((Outcome::Blocked, 9)));
        assert!(ring.lost.is_empty());
        conserved(&ring, 3, 1);
    }

    #[test]
    fn drop_discards_the_new_item_and_counts_it() {
        let (ring, fx) = filled(2, Kind::Drop, 3);
        assert_eq!(ring.items, [0, 1]);
        assert_eq!(fx.losses, [("dropped", 1)]);
        conserved(&ring, 3, 0);
    }

    #[test]
    fn latest_discards_the_oldest_hands_it_out_and_tells_nobody() {
        let (ring, fx) = filled(2, Kind::Latest, 5);
        assert_eq!(ring.items, [3, 4]);
        assert_eq!(fx.discarded, [0, 1, 2]);
        assert!(fx.losses.is_empty());
        assert_eq!(ring.lost.iter().collect::<Vec<_>>(), [("replaced", 3)]);
        conserved(&ring, 5, 0);
    }

    #[test]
    fn latest_on_a_ring_full_of_control_drops_the_new_item() {
        let (mut ring, mut fx) = filled(2, Kind::Latest, 0);
        assert_eq!((ring.put_control(1), ring.put_control(2), ring.put_control(3)), (Ok(()), Ok(()), Err(3)));
        assert_eq!(put(&mut ring, 4, &mut fx), Outcome::Dropped);
        assert_eq!((ring.get(&mut fx), ring.get(&mut fx), ring.get(&mut fx)), (Some(1), Some(2), None));
        conserved(&ring, 3, 0);
    }

    #[test]
    fn coalesce_asks_for_a_merge_and_takes_the_result_in_place_of_the_newest() {
        let (mut ring, mut fx) = filled(2, Kind::Coalesce, 2);
        assert_eq!(put(&mut ring, 9, &mut fx), Outcome::Coalesced);
        ring.replace_newest(10, 0, &mut fx);
        ring.merged += 1;
        assert_eq!((&ring.items, &fx.discarded), (&VecDeque::from([0, 10]), &vec![1]));
        conserved(&ring, 3, 0);
    }

    #[test]
    fn a_batch_keeps_room_for_what_may_come_back() {
        let (mut ring, mut fx) = filled(4, Kind::Block, 4);
        let mut batch = Vec::new();
        assert_eq!(ring.take(3, true, &mut batch, &mut fx), 3);
        assert_eq!((ring.room(), ring.taken), (1, 3));
        assert_eq!(put(&mut ring, 4, &mut fx), Outcome::Ok);
        assert_eq!(put(&mut ring, 5, &mut fx), Outcome::Blocked);
        ring.settle(3, batch.split_off(1), &mut fx);
        assert_eq!((&ring.items, ring.taken, ring.room()), (&VecDeque::from([1, 2, 3, 4]), 1, 0));
        conserved(&ring, 5, 0);
    }

    #[test]
    fn how_far_it_has_got_counts_data_only_and_tells_what_was_lost_and_what_may_come_back() {
        let (mut ring, mut fx) = filled(3, Kind::Latest, 4);
        assert_eq!(ring.passed(), Passed { came: 4, left: 1, gone: 1, kept: 0 });
        let mut batch = Vec::new();
        ring.take(3, true, &mut batch, &mut fx);
        assert_eq!(ring.passed(), Passed { came: 4, left: 4, gone: 1, kept: 2 });
        ring.settle(3, batch.split_off(2), &mut fx);
        assert_eq!(ring.passed(), Passed { came: 4, left: 3, gone: 1, kept: 0 });
        assert_eq!(ring.put_control(9), Ok(()));
        assert_eq!(ring.put_control(9), Ok(()));
        assert_eq!(ring.passed(), Passed { came: 4, left: 3, gone: 1, kept: 0 });
        ring.get(&mut fx);
        ring.take_control(1, &mut batch);
        assert_eq!(ring.passed(), Passed { came: 4, left: 3, gone: 1, kept: 0 });
    }

    #[test]
    fn extend_takes_what_there_is_room_for_and_leaves_the_rest_in_order() {
        let (mut ring, _) = filled(3, Kind::Block, 1);
        let mut items = vec![1, 2, 3, 4];
        assert_eq!(ring.extend(&mut items), 2);
        assert_eq!((&ring.items, items), (&VecDeque::from([0, 1, 2]), vec![3, 4]));
    }

    #[test]
    fn a_smaller_capacity_keeps_what_is_there_and_takes_nothing_more() {
        let (mut ring, mut fx) = filled(4, Kind::Block, 4);
        ring.set_capacity(2);
        assert_eq!((ring.room(), ring.low, put(&mut ring, 9, &mut fx)), (0, 1, Outcome::Blocked));
        let mut batch = Vec::new();
        ring.take(3, false, &mut batch, &mut fx);
        assert_eq!(put(&mut ring, 9, &mut fx), Outcome::Ok);
    }

    #[test]
    fn what_is_too_old_is_lost_and_its_bytes_come_free() {
        let (mut ring, mut fx) = (Ring::new(8, Kind::Block), Effects::default());
        ring.limits =
            Some(Box::new(Limits { max_age_ns: Some(10), max_bytes: Some(20), ..Limits::default() }));
        for (item, now) in [(1, 0), (2, 5), (3, 12)] {
            assert_eq!(ring.put(item, Kind::Block, 5, now, &mut fx), Ok(Outcome::Ok));
        }
        ring.expire(13, &mut fx);
        assert_eq!((&fx.discarded, &fx.losses, fx.freed), (&vec![1], &vec![("expired", 1)], true));
        assert_eq!(ring.limits.as_ref().map(|limits| limits.bytes), Some(10));
    }

    #[test]
    fn bytes_of_a_batch_that_may_come_back_stay_charged() {
        let (mut ring, mut fx) = (Ring::new(8, Kind::Block), Effects::default());
        ring.limits = Some(Box::new(Limits { max_bytes: Some(12), ..Limits::default() }));
        for item in 0..3 {
            assert_eq!(ring.put(item, Kind::Block, 4, 0, &mut fx), Ok(Outcome::Ok));
        }
        let mut batch = Vec::new();
        ring.take(3, true, &mut batch, &mut fx);
        assert_eq!(ring.put(9, Kind::Block, 5, 0, &mut fx), Err((Outcome::Blocked, 9)));
        assert_eq!(ring.put(9, Kind::Block, 4, 0, &mut fx), Ok(Outcome::Ok));
        ring.settle(3, batch.split_off(2), &mut fx);
        assert_eq!(ring.limits.as_ref().map(|limits| (limits.bytes, limits.notes.len())), Some((8, 2)));
    }
}
