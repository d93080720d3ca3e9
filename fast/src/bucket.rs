//! A token bucket: the mirror of `TokenBucket` in `meridian/nodes/flow_control.py`, to the last bit.

/// How fast a bucket fills, and how far.
#[derive(Debug, Clone, Copy)]
pub struct Bucket {
    /// Tokens a second.
    pub rate: f64,
    /// Most tokens.
    pub size: f64,
}

impl Bucket {
    /// What `tokens` are at `now`, if that is what they were at `since`; not a number before the first time.
    pub fn filled(&self, tokens: f64, since: f64, now: f64) -> f64 {
        let gained = if since.is_nan() { 0.0 } else { (now - since) * self.rate };
        // A shade more than what time brings: whoever waits for a token must find a whole one.
        let shade = if gained == 0.0 { 0.0 } else { 1e-9 };
        self.size.min(tokens + gained + shade)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO_A_SECOND: Bucket = Bucket { rate: 2.0, size: 3.0 };

    #[test]
    fn time_brings_tokens_and_a_shade_more() {
        let tokens = TWO_A_SECOND.filled(0.0, 10.0, 10.5);
        assert!((1.0..1.000_001).contains(&tokens));
    }

    #[test]
    fn a_bucket_holds_no_more_than_its_size() {
        assert!((TWO_A_SECOND.filled(1.0, 0.0, 60.0) - 3.0).abs() < f64::EPSILON);
    }

    #[test]
    fn no_time_brings_nothing_and_neither_does_the_first_look() {
        assert!((TWO_A_SECOND.filled(0.5, 7.0, 7.0) - 0.5).abs() < f64::EPSILON);
        assert!((TWO_A_SECOND.filled(3.0, f64::NAN, 7.0) - 3.0).abs() < f64::EPSILON);
    }
}
