//! Axes of drawings on which values of a feature are spread as the network sees them, with labels in the feature's own unit.

use std::ops::Range;

use certificate::{Interval, Scale};
use plotters::coord::ranged1d::{BoldPoints, DefaultFormatting, KeyPointHint, Ranged};
use plotters::coord::types::RangedCoordf64;

/// Labels beside an axis, about.
const LABELS: usize = 6;

/// An axis of values in a feature's own unit.
pub struct Axis {
    scale: Scale,
    range: Interval,
}

impl Axis {
    /// From `low` to `high`.
    pub fn new(scale: Scale, (low, high): (f64, f64)) -> Self {
        Self { scale, range: Interval::new(low, high) }
    }

    /// The value at a share of the way along it.
    pub fn at(&self, share: f64) -> f64 {
        self.scale.from_unit(self.range, share)
    }
}

impl Ranged for Axis {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        RangedCoordf64::from(0.0..1.0).map(&self.scale.to_unit(self.range, *value), limit)
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        match self.scale {
            Scale::Linear => RangedCoordf64::from(self.range()).key_points(hint),
            Scale::Symlog => labels(self.range.lower, self.range.upper),
        }
    }

    fn range(&self) -> Range<f64> {
        self.range.lower..self.range.upper
    }
}

/// Round values from `low` to `high`, each about as far from the next one where they are spread by [`Scale::Symlog`].
fn labels(low: f64, high: f64) -> Vec<f64> {
    let largest = low.abs().max(high.abs());
    let within = |digits: &[f64]| -> Vec<f64> {
        let powers = (0..).map(|k| 10_f64.powi(k)).take_while(|power| *power <= largest);
        let sizes: Vec<f64> = powers.flat_map(|power| digits.iter().map(move |digit| digit * power)).collect();
        let values = sizes.iter().rev().map(|size| -size).chain([0.0]).chain(sizes.iter().copied());
        values.filter(|value| (low..=high).contains(value)).collect()
    };
    let mut values = within(&[1.0]);
    if values.len() < 4 {
        values = within(&[1.0, 2.0, 5.0]);
    }
    if values.len() < 3 {
        return RangedCoordf64::from(low..high).key_points(BoldPoints(LABELS));
    }
    // Of too many every second or third; 0 stays if it is among them.
    let zero = values.iter().position(|value| *value == 0.0).unwrap_or(0);
    let every = values.len().div_ceil(LABELS + 2);
    values.iter().enumerate().filter(|(k, _)| k.abs_diff(zero) % every == 0).map(|(_, value)| *value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_round_and_few() {
        assert_eq!(labels(0.0, 57_894.0), [0.0, 1.0, 10.0, 100.0, 1000.0, 10_000.0]);
        assert_eq!(labels(-30.0, 250.0), [-10.0, -1.0, 0.0, 1.0, 10.0, 100.0]);
        assert_eq!(labels(20.0, 120.0), [20.0, 50.0, 100.0]);
        assert_eq!(labels(-1e7, 1e7), [-1e5, -100.0, 0.0, 100.0, 1e5]);
        assert!((4..9).contains(&labels(0.0, 0.5).len()));
        let linear = Axis::new(Scale::Linear, (0.0, 50.0));
        assert_eq!(linear.key_points(BoldPoints(LABELS)), [0.0, 10.0, 20.0, 30.0, 40.0, 50.0]);
    }

    #[test]
    fn values_lie_where_the_network_sees_them() {
        let end = 3.0_f64.exp_m1();
        let pixel = |scale: Scale, value: f64| Axis::new(scale, (0.0, end)).map(&value, (0, 300));
        assert_eq!([0.0, 1.0_f64.exp_m1(), end].map(|value| pixel(Scale::Symlog, value)), [0, 100, 300]);
        assert_eq!([0.0, end / 3.0, end].map(|value| pixel(Scale::Linear, value)), [0, 100, 300]);
        assert_eq!(Axis::new(Scale::Symlog, (0.0, end)).at(1.0 / 3.0), 1.0_f64.exp_m1());
    }
}
