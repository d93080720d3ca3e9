//! The cores against models that a reader can check at a glance, over many drawn histories. The same ones each time: the
//! numbers come from a generator with a fixed seed, and a failure names the history that shows it.

use std::collections::VecDeque;

use crate::limits::{Budget, Bytes, Limits};
use crate::ready::{Ready, BANDS};
use crate::ring::{Effects, Kind, Outcome, Ring};

/// `SplitMix64`: a few lines that pass for random.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `n`.
    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

/// Plays histories of growing length, so that the first failure is a short one.
fn histories(how_many: u64, play: fn(&mut Draw, usize)) {
    for seed in 0..how_many {
        let steps = usize::try_from(seed / 20 + 1).unwrap_or(1);
        let played = std::panic::catch_unwind(|| play(&mut Draw(seed), steps));
        assert!(played.is_ok(), "history {seed} of {steps} steps");
    }
}

// ---- the ring --------------------------------------------------------------------------------------------------------

/// An item: its number, its bytes, when it was put.
type Item = (u32, Bytes, i64);

/// What a ring promises, written with lists and no thought of speed.
struct Model {
    data: Vec<Item>,
    control: Vec<u32>,
    capacity: usize,
    max_bytes: Option<Bytes>,
    max_age: Option<i64>,
    /// Items of the running batch that may come back.
    batch: Vec<Item>,
    taken: u64,
    merged: u64,
    lost: [u64; 3],
}

const CAUSES: [&str; 3] = ["dropped", "replaced", "expired"];

impl Model {
    /// All but the first of a batch keep their places and bytes.
    fn kept(&self) -> &[Item] {
        self.batch.get(1..).unwrap_or_default()
    }

    fn bytes(&self) -> Bytes {
        self.data.iter().chain(self.kept()).map(|(_, bytes, _)| bytes).sum()
    }

    fn is_full(&self, bytes: Bytes) -> bool {
        self.data.len() + self.control.len() + self.kept().len() >= self.capacity
            || self.max_bytes.is_some_and(|most| self.bytes() + bytes > most)
    }

    fn expire(&mut self, now: i64) {
        let Some(most) = self.max_age else { return };
        let fresh = self.data.iter().position(|(_, _, at)| *at >= now - most).unwrap_or(self.data.len());
        self.data.drain(..fresh);
        self.lost[2] += fresh as u64;
    }

    fn put(&mut self, kind: Kind, item: Item) -> Outcome {
        self.expire(item.2);
        if !self.is_full(item.1) {
            self.data.push(item);
            return Outcome::Ok;
        }
        match kind {
            Kind::Block | Kind::Custom => Outcome::Blocked,
            Kind::Latest => {
                while self.is_full(item.1) && !self.data.is_empty() {
                    self.data.remove(0);
                    self.lost[1] += 1;
                }
                if self.is_full(item.1) {
                    self.lost[0] += 1;
                    return Outcome::Dropped;
                }
                self.data.push(item);
                Outcome::Replaced
            }
            Kind::Coalesce if !self.data.is_empty() => Outcome::Coalesced,
            Kind::Drop | Kind::Coalesce => {
                self.lost[0] += 1;
                Outcome::Dropped
            }
        }
    }
}

/// Both, side by side.
struct Pair {
    ring: Ring<u32>,
    model: Model,
    next: u32,
    now: i64,
    batch: Vec<u32>,
    in_batch: usize,
    budget: Option<std::sync::Arc<Budget>>,
}

impl Pair {
    fn drawn(draw: &mut Draw) -> (Self, Kind) {
        let kind = [Kind::Block, Kind::Drop, Kind::Latest, Kind::Coalesce]
            [usize::try_from(draw.below(4)).unwrap_or(0)];
        let capacity = usize::try_from(draw.below(5) + 1).unwrap_or(1);
        let mut ring = Ring::new(crate::ring::signed(capacity), kind);
        let max_bytes = (draw.below(3) == 0).then_some(9);
        let max_age = (draw.below(3) == 0).then_some(6);
        let mut budget = None;
        if max_bytes.is_some() || max_age.is_some() {
            let shared = std::sync::Arc::new(Budget::new(1 << 40));
            budget = Some(std::sync::Arc::clone(&shared));
            ring.limits = Some(Box::new(Limits {
                max_bytes,
                max_age_ns: max_age,
                budget: Some(shared),
                ..Limits::default()
            }));
        }
        let model = Model {
            data: Vec::new(),
            control: Vec::new(),
            capacity,
            max_bytes,
            max_age,
            batch: Vec::new(),
            taken: 0,
            merged: 0,
            lost: [0; 3],
        };
        (Self { ring, model, next: 0, now: 0, batch: Vec::new(), in_batch: 0, budget }, kind)
    }

    fn step(&mut self, draw: &mut Draw, kind: Kind) {
        self.now += i64::try_from(draw.below(3)).unwrap_or(0);
        let mut fx = Effects::default();
        match draw.below(8) {
            0..=2 => self.put(draw, kind, &mut fx),
            3 => {
                self.next += 1;
                let full = self.model.data.len() + self.model.control.len() + self.model.kept().len()
                    >= self.model.capacity;
                assert_eq!(self.ring.put_control(self.next).is_err(), full);
                if !full {
                    self.model.control.push(self.next);
                }
            }
            4 => {
                let expected = if self.model.control.is_empty() {
                    (!self.model.data.is_empty()).then(|| self.model.data.remove(0).0)
                } else {
                    Some(self.model.control.remove(0))
                };
                self.model.taken += u64::from(expected.is_some());
                assert_eq!(self.ring.get(&mut fx), expected);
            }
            5 if self.in_batch == 0 => self.take(draw, &mut fx),
            6 if self.in_batch > 0 => self.settle(draw, &mut fx),
            7 => {
                let mut messages = Vec::new();
                let k = usize::try_from(draw.below(3)).unwrap_or(0);
                let expected: Vec<u32> =
                    self.model.control.drain(..k.min(self.model.control.len())).collect();
                assert_eq!(self.ring.take_control(k, &mut messages), expected.len());
                assert_eq!(messages, expected);
                self.model.taken += expected.len() as u64;
            }
            _ => {}
        }
        self.compare();
    }

    fn put(&mut self, draw: &mut Draw, kind: Kind, fx: &mut Effects<u32>) {
        self.next += 1;
        let bytes = if self.ring.limits.is_some() { Bytes::from(draw.below(6)) } else { 0 };
        let item = (self.next, bytes, self.now);
        self.ring.expire(self.now, fx);
        let put = self.ring.put(self.next, kind, bytes, self.now, fx);
        let expected = self.model.put(kind, item);
        match put {
            Ok(outcome) => assert_eq!(outcome, expected),
            Err((outcome, back)) => {
                assert_eq!((outcome, back), (expected, self.next), "what didn't stay comes back");
            }
        }
        if expected == Outcome::Coalesced {
            let newest = self.model.data.len() - 1;
            let had = self.model.data[newest].1;
            let fits = self.model.max_bytes.is_none_or(|most| self.model.bytes() - had + bytes <= most);
            assert_eq!(self.ring.may_replace_newest(bytes), fits);
            if fits {
                self.ring.replace_newest(self.next, bytes, fx);
                self.ring.merged += 1;
                self.model.data[newest] = (self.next, bytes, self.model.data[newest].2);
                self.model.merged += 1;
            } else {
                self.ring.lose("dropped", 1, fx);
                self.model.lost[0] += 1;
            }
        }
    }

    fn take(&mut self, draw: &mut Draw, fx: &mut Effects<u32>) {
        let k = usize::try_from(draw.below(4) + 1).unwrap_or(1).min(self.model.data.len());
        let put_back = draw.below(2) == 0;
        let expected: Vec<Item> = self.model.data.drain(..k).collect();
        self.batch.clear();
        assert_eq!(self.ring.take(k, put_back, &mut self.batch, fx), k);
        assert!(self.batch.iter().eq(expected.iter().map(|(item, ..)| item)), "oldest first");
        self.model.taken += k as u64;
        if put_back {
            self.in_batch = k;
            self.model.batch = expected;
        }
    }

    fn settle(&mut self, draw: &mut Draw, fx: &mut Effects<u32>) {
        // The first of a batch was handled, or it wouldn't be over.
        let handled = 1 + usize::try_from(draw.below(self.in_batch as u64)).unwrap_or(0);
        let rest = self.batch.split_off(handled);
        self.model.taken -= rest.len() as u64;
        self.ring.settle(self.in_batch, rest, fx);
        let back = std::mem::take(&mut self.model.batch).split_off(handled);
        self.model.data.splice(..0, back);
        self.in_batch = 0;
    }

    fn compare(&self) {
        let (ring, model) = (&self.ring, &self.model);
        assert!(ring.items.iter().eq(model.data.iter().map(|(item, ..)| item)));
        assert_eq!(ring.control, model.control);
        assert!(
            ring.depth() + model.kept().len() <= model.capacity,
            "capacity holds, with what may come back"
        );
        let used = model.data.len() + model.control.len() + model.kept().len();
        assert_eq!(ring.room(), model.capacity - used);
        assert_eq!((ring.taken, ring.merged), (model.taken, model.merged));
        for (cause, n) in CAUSES.into_iter().zip(model.lost) {
            assert_eq!(
                ring.lost.iter().find(|(known, _)| *known == cause).map_or(0, |(_, n)| n),
                n,
                "{cause}"
            );
        }
        let lost: u64 = model.lost.iter().sum();
        let depth = (model.data.len() + model.control.len()) as u64;
        assert_eq!(ring.accepted(), model.taken + depth + model.merged + lost);
        if let (Some(limits), Some(budget)) = (&ring.limits, &self.budget) {
            assert_eq!((limits.bytes, budget.used()), (model.bytes(), model.bytes()));
            assert_eq!(limits.notes.len(), ring.items.len());
        }
    }
}

fn a_ring_is_a_list(draw: &mut Draw, steps: usize) {
    let (mut pair, kind) = Pair::drawn(draw);
    for _ in 0..steps {
        pair.step(draw, kind);
    }
}

// ---- the ready queue -------------------------------------------------------------------------------------------------

fn nobody_waits_too_long(draw: &mut Draw, steps: usize) {
    let weights = [0; BANDS].map(|_| i64::try_from(draw.below(9)).unwrap_or(0) + 1);
    let total: i64 = weights.iter().sum();
    let mut ready: Ready<usize> = Ready::new(weights);
    let mut waited = [0; BANDS];
    for _ in 0..4 * steps {
        for band in 0..BANDS {
            if draw.below(3) == 0 {
                ready.lines[band].push_back(band);
            }
        }
        let had: Vec<bool> = ready.lines.iter().map(|line| !line.is_empty()).collect();
        let Some(picked) = ready.pick_band() else {
            assert!(ready.is_empty());
            continue;
        };
        assert!(had[picked], "only a band with work is picked");
        ready.lines[picked].pop_front();
        for band in 0..BANDS {
            waited[band] = if had[band] && band != picked { waited[band] + 1 } else { 0 };
            let control = (total - weights[0] + weights[0] - 1) / weights[0];
            let bound = if band == 0 { control } else { total };
            assert!(
                waited[band] <= bound,
                "band {band} waited {} of {bound}, weights {weights:?}",
                waited[band]
            );
        }
    }
}

fn weights_are_shares(draw: &mut Draw, _steps: usize) {
    let weights = [0; BANDS].map(|_| i64::try_from(draw.below(7)).unwrap_or(0) + 1);
    let total = weights.iter().sum::<i64>();
    let mut ready: Ready<usize> = Ready::new(weights);
    ready.lines = [0, 1, 2].map(|band| VecDeque::from([band]));
    let rounds = 5;
    let mut picks = [0; BANDS];
    for _ in 0..rounds * total {
        let Some(band) = ready.pick_band() else { unreachable!("all have work") };
        picks[band] += 1;
    }
    for band in 0..BANDS {
        assert!((picks[band] - rounds * weights[band]).abs() <= total, "{picks:?}, weights {weights:?}");
    }
}

fn lines_are_lines(draw: &mut Draw, steps: usize) {
    let mut ready: Ready<usize> = Ready::new([4, 2, 1]);
    let mut model: [VecDeque<usize>; BANDS] = Default::default();
    for turn in 0..4 * steps {
        if draw.below(2) == 0 {
            let band = usize::try_from(draw.below(3)).unwrap_or(0);
            assert_eq!(ready.push(band, 3 * turn + band), None);
            model[band].push_back(3 * turn + band);
        } else {
            let taken = ready.take();
            let expected = taken.and_then(|turn| model[turn % 3].pop_front());
            assert_eq!(taken, expected);
        }
        assert_eq!(ready.len(), model.iter().map(VecDeque::len).sum::<usize>());
        assert_eq!(ready.is_empty(), model.iter().all(VecDeque::is_empty));
    }
}

// ---- all of it -------------------------------------------------------------------------------------------------------

#[cfg(not(feature = "faults"))]
mod hold {
    use super::*;

    #[test]
    fn a_ring_does_what_a_list_would_do_under_every_policy_and_limit() {
        histories(2_000, a_ring_is_a_list);
    }

    #[test]
    fn no_band_waits_longer_than_the_others_weights_whatever_the_weights_and_whoever_comes_and_goes() {
        histories(2_000, nobody_waits_too_long);
    }

    #[test]
    fn bands_that_always_have_work_share_a_round_by_their_weights() {
        histories(400, weights_are_shares);
    }

    #[test]
    fn turns_of_a_band_leave_in_the_order_in_which_they_came_and_none_is_lost() {
        histories(1_000, lines_are_lines);
    }
}

#[cfg(feature = "faults")]
mod seeded {
    use super::*;
    use crate::faults::{seed, ALL};

    /// Faults of the Python faces, which the models know nothing of.
    const ELSEWHERE: [&str; 17] = [
        "StaysInItsOldBand",
        "CoalescesInTheWrongOrder",
        "CoalescesTwice",
        "KeepsTheOlderWhenCoalesceFails",
        "StaysInsideWhenCoalesceFails",
        "ForgetsToWake",
        "ForgetsWhoWaits",
        "CountsMergedAsDelivered",
        "FansOutToWhoHasRoom",
        "RunsNodesThatAreHeld",
        "TakesWhateverThereIs",
        "DoesNotRecordFailures",
        "RecordsEachFailureTwice",
        "LosesTheRestAfterAFailure",
        "ForgetsOneOfTwoWhoWait",
        "ForgetsToQueueAgain",
        "SpinsWhileItWaits",
    ];

    #[test]
    fn the_models_find_every_seeded_fault_of_the_cores() {
        std::panic::set_hook(Box::new(|_| {})); // each is found by a panic
        let found = |play: fn(&mut Draw, usize)| std::panic::catch_unwind(|| histories(1_000, play)).is_err();
        let names = ALL.iter().map(|(_, name, _)| *name);
        let missed: Vec<&str> = names
            .filter(|name| !ELSEWHERE.contains(name))
            .filter(|name| {
                assert!(seed(Some(name)));
                ![a_ring_is_a_list, nobody_waits_too_long, weights_are_shares, lines_are_lines]
                    .into_iter()
                    .any(found)
            })
            .collect();
        seed(None);
        let _ = std::panic::take_hook();
        assert!(missed.is_empty(), "{missed:?}");
    }
}
