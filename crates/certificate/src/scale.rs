use serde::{Deserialize, Serialize};

use crate::Interval;

/// How raw values are spread over `[0, 1]`. Each scale is increasing: a network that follows its scaled inputs follows the
/// raw values too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// In proportion.
    #[default]
    Linear,
    /// In proportion to `sign(x) ln(1 + |x|)`: for counts and amounts, most of which lie near 0 while a few are thousands of
    /// times larger.
    Symlog,
}

impl Scale {
    /// Whether it is [`Scale::Linear`].
    pub fn is_linear(&self) -> bool {
        *self == Self::Linear
    }

    /// Maps `range` to `[0, 1]`.
    pub fn to_unit(self, range: Interval, raw: f64) -> f64 {
        let [lower, upper, value] = [range.lower, range.upper, raw].map(|x| self.spread(x));
        (value - lower) / (upper - lower)
    }

    /// Maps `[0, 1]` to `range`; its ends are met exactly.
    pub fn from_unit(self, range: Interval, x: f64) -> f64 {
        if x == 0.0 || x == 1.0 {
            return if x == 0.0 { range.lower } else { range.upper };
        }
        let [lower, upper] = [range.lower, range.upper].map(|x| self.spread(x));
        self.gather(lower + x * (upper - lower))
    }

    fn spread(self, raw: f64) -> f64 {
        match self {
            Self::Linear => raw,
            Self::Symlog => raw.abs().ln_1p().copysign(raw),
        }
    }

    /// The inverse of [`Self::spread`].
    fn gather(self, value: f64) -> f64 {
        match self {
            Self::Linear => value,
            Self::Symlog => value.abs().exp_m1().copysign(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_values() {
        let counts = Interval::new(0.0, (3.0_f64).exp_m1());
        assert!((Scale::Symlog.to_unit(counts, 1.0_f64.exp_m1()) - 1.0 / 3.0).abs() < 1e-15);
        let both_signs = Interval::new(-9.0, 9.0);
        assert_eq!(Scale::Symlog.to_unit(both_signs, 0.0), 0.5);
        assert!((Scale::Symlog.to_unit(both_signs, -(10.0_f64.sqrt() - 1.0)) - 0.25).abs() < 1e-15);
        assert_eq!(Scale::Linear.to_unit(both_signs, -4.5), 0.25);
    }

    /// What 0 and 1 mean does not depend on the scale, and 0/1 flags stay what they are.
    #[test]
    fn the_ends_are_kept() {
        for scale in [Scale::Linear, Scale::Symlog] {
            for range in [(0.0, 1.0), (-0.7, 57_894.0), (18.0, 96.0), (-20.0, -1.0)].map(|(a, b)| Interval::new(a, b)) {
                assert_eq!([range.lower, range.upper].map(|x| scale.to_unit(range, x)), [0.0, 1.0]);
                assert_eq!([0.0, 1.0].map(|x| scale.from_unit(range, x)), [range.lower, range.upper]);
            }
        }
    }

    proptest! {
        /// There and back, and in the same order.
        #[test]
        fn it_is_increasing_and_can_be_undone(lower in -1e4..1e4_f64, width in 1e-3..1e5_f64, shares in (0.0..1.0_f64, 0.0..1.0_f64)) {
            let range = Interval::new(lower, lower + width);
            let [a, b] = [shares.0, shares.1].map(|share| lower + share * width);
            for scale in [Scale::Linear, Scale::Symlog] {
                let [x, y] = [a, b].map(|raw| scale.to_unit(range, raw));
                prop_assert!((0.0..=1.0).contains(&x) && (0.0..=1.0).contains(&y));
                prop_assert!((a - b).abs() < 1e-9 * width || (a < b) == (x < y), "{a} {b} became {x} {y}");
                prop_assert!((scale.from_unit(range, x) - a).abs() <= 1e-9 * (1.0 + a.abs()), "{a} came back as {}", scale.from_unit(range, x));
            }
        }
    }
}
