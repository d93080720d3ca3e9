//! Who runs next: the mirror of `meridian/engine/ready.py`, which explains the order and its bound.

use std::collections::VecDeque;

use crate::faults::{fault, Fault};

/// CONTROL, HIGH, NORMAL.
pub const BANDS: usize = 3;

/// Turns that are due, by band.
///
/// Bands share the engine by smooth weighted round robin; one that was passed over for as many picks as its weight leaves
/// to the others goes first all the same.
#[derive(Debug)]
pub struct Ready<T> {
    /// The waiting line of each band, first in, first out.
    pub lines: [VecDeque<T>; BANDS],
    weights: [i64; BANDS],
    saved: [i64; BANDS],
    patience: [i64; BANDS],
    passed_over: [i64; BANDS],
}

impl<T> Ready<T> {
    /// An empty queue; each weight is at least 1.
    pub fn new(weights: [i64; BANDS]) -> Self {
        // Past this nobody lives to see the difference, and sums of them stay numbers.
        let weights = weights.map(|weight| weight.clamp(1, 1 << 40));
        let total: i64 = weights.iter().sum();
        Self {
            lines: [VecDeque::new(), VecDeque::new(), VecDeque::new()],
            weights,
            saved: [0; BANDS],
            patience: weights.map(|weight| (total - 1) / weight),
            passed_over: [0; BANDS],
        }
    }

    /// How many slices each band gets of a round in which all have work.
    pub fn weights(&self) -> [i64; BANDS] {
        self.weights
    }

    /// How many turns are due.
    pub fn len(&self) -> usize {
        let counted = if fault(Fault::CountsWithoutNormal) { BANDS - 1 } else { BANDS };
        self.lines[..counted].iter().map(VecDeque::len).sum()
    }

    /// No turn is due.
    pub fn is_empty(&self) -> bool {
        self.lines.iter().all(VecDeque::is_empty)
    }

    /// Lets the turn that `is` it go on in another band, behind those of that band; nothing happens if it isn't in the line.
    pub fn change_band(&mut self, from: usize, to: usize, is: impl Fn(&T) -> bool) {
        if fault(Fault::StaysInItsOldBand) {
            return;
        }
        let Some(turn) = self.lines[from].iter().position(is).and_then(|at| self.lines[from].remove(at))
        else {
            return;
        };
        self.lines[to].push_back(turn);
        if self.lines[from].is_empty() {
            self.saved = [0; BANDS];
            self.passed_over[from] = 0;
        }
    }

    /// Decides which band is next and charges it; `None` if no turn is due.
    pub fn pick_band(&mut self) -> Option<usize> {
        let (mut best, mut late): (Option<usize>, Option<usize>) = (None, None);
        let mut total = 0;
        for band in 0..BANDS {
            if self.lines[band].is_empty() {
                self.saved[band] =
                    if fault(Fault::HoardsCredit) { self.saved[band] + self.weights[band] } else { 0 };
                self.passed_over[band] = 0;
                continue;
            }
            let weight = if fault(Fault::SharesEqually) { 1 } else { self.weights[band] };
            total += weight;
            self.saved[band] += weight;
            if best.is_none_or(|best| self.saved[band] > self.saved[best]) {
                best = Some(band);
            }
            let is_patient =
                fault(Fault::HasNoPatience) || fault(Fault::HoardsCredit) || fault(Fault::SharesEqually);
            let is_late = self.passed_over[band] >= self.patience[band] && !is_patient;
            // CONTROL that is late stays first among the late ones.
            if is_late && late.is_none_or(|late| late != 0 && self.passed_over[band] > self.passed_over[late])
            {
                late = Some(band);
            }
            self.passed_over[band] += 1;
        }
        let first = (0..BANDS).find(|band| fault(Fault::StrictPriority) && !self.lines[*band].is_empty());
        let chosen = first.or(late).or(best)?;
        self.saved[chosen] -= total;
        self.passed_over[chosen] = 0;
        Some(chosen)
    }

    /// Takes the turn that is to run next, or `None`.
    ///
    /// Where only the last band has work, nothing is charged: that is how the engine asks, and what keeps a busy graph
    /// without priorities cheap.
    pub fn take(&mut self) -> Option<T> {
        if self.lines[0].is_empty() && self.lines[1].is_empty() {
            return self.pop(2);
        }
        let band = self.pick_band()?;
        self.pop(band)
    }

    /// Appends a turn to the line of a band; it comes back if it is lost, as only a seeded fault loses one.
    #[inline]
    pub fn push(&mut self, band: usize, turn: T) -> Option<T> {
        let line = &mut self.lines[band];
        if fault(Fault::LosesTheFourthOfALine) && line.len() == 3 {
            return Some(turn);
        }
        if fault(Fault::ServesTheSameEdgeAgain) {
            line.push_front(turn);
        } else {
            line.push_back(turn);
        }
        None
    }

    /// Takes the next turn of a band.
    #[inline]
    pub fn pop(&mut self, band: usize) -> Option<T> {
        if fault(Fault::NewestFirst) {
            return self.lines[band].pop_back();
        }
        self.lines[band].pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bands(ready: &mut Ready<usize>, picks: usize) -> Vec<usize> {
        (0..picks)
            .filter_map(|_| {
                let band = ready.pick_band()?;
                let turn = ready.lines[band].pop_front()?;
                ready.lines[band].push_back(turn);
                Some(band)
            })
            .collect()
    }

    fn full(weights: [i64; 3]) -> Ready<usize> {
        let mut ready = Ready::new(weights);
        for band in 0..BANDS {
            ready.lines[band].push_back(band);
        }
        ready
    }

    #[test]
    fn a_round_serves_each_band_by_its_weight_and_spreads_it() {
        assert_eq!(bands(&mut full([4, 2, 1]), 7), [0, 1, 0, 2, 0, 1, 0]);
    }

    #[test]
    fn no_band_waits_longer_than_the_others_weights_whatever_comes_and_goes() {
        // Every pattern of bands that come and go over twelve picks, for the weights that the documentation names.
        for pattern in 0u32..1 << 12 {
            let mut ready = Ready::new([4, 2, 1]);
            ready.lines[2].push_back(2);
            let mut waited = 0;
            for pick in 0..24 {
                let on = pattern >> (pick % 12) & 1 == 1;
                for band in 0..2 {
                    ready.lines[band].clear();
                    if on || (pattern >> ((pick + 5 * band) % 12) & 1 == 1) {
                        ready.lines[band].push_back(band);
                    }
                }
                match ready.pick_band() {
                    Some(2) => waited = 0,
                    Some(_) => waited += 1,
                    None => unreachable!("NORMAL is always due"),
                }
                assert!(waited <= 7, "pattern {pattern:b}");
            }
        }
    }

    #[test]
    fn a_band_that_ran_out_of_work_forgets_what_it_saved_up() {
        let mut ready: Ready<usize> = Ready::new([4, 2, 1]);
        ready.lines[2].push_back(2);
        assert_eq!(bands(&mut ready, 5), [2, 2, 2, 2, 2]);
        ready.lines[1].push_back(1);
        assert_eq!(bands(&mut ready, 3), [1, 2, 1]);
    }

    #[test]
    fn a_turn_that_changes_its_band_goes_to_the_end_and_a_band_that_it_leaves_empty_begins_a_new_round() {
        let mut ready = full([4, 2, 1]);
        assert_eq!(bands(&mut ready, 2), [0, 1]);
        ready.change_band(2, 1, |turn| *turn == 2);
        ready.change_band(2, 0, |turn| *turn == 2);
        assert_eq!(ready.len(), 3);
        assert_eq!(ready.lines[1], [1, 2]);
        assert_eq!((ready.saved, ready.passed_over), ([0; BANDS], [1, 0, 0]));
    }

    #[test]
    fn nothing_due_is_none_and_a_lone_normal_band_is_first_in_first_out() {
        let mut ready = Ready::new([4, 2, 1]);
        assert_eq!(ready.take(), None);
        ready.lines[2].extend([7, 8]);
        assert_eq!((ready.len(), ready.is_empty()), (2, false));
        assert_eq!((ready.take(), ready.take(), ready.take()), (Some(7), Some(8), None));
    }
}
