//! What can't be derived from a ring's indices: losses by cause.

use std::borrow::Cow;

/// Losses by cause, in the order in which the causes first came up.
///
/// A ring has a handful of causes at most, so a list that is searched beats a map, and costs nothing while empty.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Losses(Vec<(Cow<'static, str>, u64)>);

impl Losses {
    /// Counts `n` more losses by `cause`.
    pub fn add(&mut self, cause: Cow<'static, str>, n: u64) {
        match self.0.iter_mut().find(|(known, _)| *known == cause) {
            Some((_, count)) => *count += n,
            None => self.0.push((cause, n)),
        }
    }

    /// All losses together.
    pub fn total(&self) -> u64 {
        self.0.iter().map(|(_, count)| count).sum()
    }

    /// Losses by `cause`.
    pub fn by(&self, cause: &str) -> u64 {
        self.iter().find(|(known, _)| *known == cause).map_or(0, |(_, count)| count)
    }

    /// Nothing was ever lost.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Cause and count, in the order in which the causes came up.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(cause, count)| (cause.as_ref(), *count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_add_up_by_cause_and_keep_the_order_of_the_causes() {
        let mut losses = Losses::default();
        assert!(losses.is_empty());
        losses.add("replaced".into(), 2);
        losses.add("dropped".into(), 1);
        losses.add("replaced".into(), 3);
        assert_eq!(losses.iter().collect::<Vec<_>>(), [("replaced", 5), ("dropped", 1)]);
        assert_eq!((losses.total(), losses.by("dropped"), losses.by("expired")), (6, 1, 0));
    }
}
