use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Largest absolute value of an end of an input's interval.
const LARGEST: f64 = 1e30;

/// A closed interval of real numbers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interval {
    /// The smallest number in it.
    pub lower: f64,
    /// The largest number in it.
    pub upper: f64,
}

impl Interval {
    /// The interval from `lower` to `upper`.
    pub fn new(lower: f64, upper: f64) -> Self {
        Self { lower, upper }
    }

    /// Whether `value` lies in it.
    pub fn contains(&self, value: f64) -> bool {
        self.lower <= value && value <= self.upper
    }
}

/// An input that takes only the `steps + 1` evenly spaced values of its interval, ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IntegerFeature {
    /// Which input.
    pub input: usize,
    /// Number of steps from one end to the other.
    pub steps: u32,
}

/// Where a property has to hold: a box in scaled units, optionally with one-hot groups and integer features.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Domain {
    input_box: Vec<Interval>,
    /// Groups of inputs of which exactly one is 1 and the others are 0.
    one_hot: Vec<Vec<usize>>,
    integer: Vec<IntegerFeature>,
}

/// A domain as it stands in a file, before it was checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    input_box: Vec<Interval>,
    #[serde(default)]
    one_hot: Vec<Vec<usize>>,
    #[serde(default)]
    integer: Vec<IntegerFeature>,
}

impl TryFrom<Unchecked> for Domain {
    type Error = Error;

    fn try_from(domain: Unchecked) -> Result<Self> {
        Self::new(domain.input_box, domain.one_hot, domain.integer)
    }
}

impl Domain {
    /// The box alone.
    ///
    /// # Errors
    /// If an end is not finite or an interval is empty.
    pub fn from_box(input_box: Vec<Interval>) -> Result<Self> {
        Self::new(input_box, Vec::new(), Vec::new())
    }

    /// The unit cube of `inputs` dimensions.
    pub fn unit_cube(inputs: usize) -> Self {
        Self { input_box: vec![Interval::new(0.0, 1.0); inputs], one_hot: Vec::new(), integer: Vec::new() }
    }

    /// A box with one-hot groups and integer features.
    ///
    /// # Errors
    /// If an end is not finite, an interval is empty, an index is out of range, an input is named twice, a group has
    /// fewer than two members or a box other than `[0, 1]`, or an integer feature has no step.
    pub fn new(input_box: Vec<Interval>, one_hot: Vec<Vec<usize>>, integer: Vec<IntegerFeature>) -> Result<Self> {
        let domain = Self { input_box, one_hot, integer };
        domain.validate()?;
        Ok(domain)
    }

    fn validate(&self) -> Result<()> {
        for (j, side) in self.input_box.iter().enumerate() {
            // Ends beyond LARGEST could overflow on their way through a few layers.
            if !(-LARGEST <= side.lower && side.lower <= side.upper && side.upper <= LARGEST) {
                let message = format!(
                    "input {j}: expected an interval within +-{LARGEST:e}, found [{}, {}]",
                    side.lower, side.upper
                );
                return Err(Error::Domain(message));
            }
        }
        let mut named = vec![false; self.input_box.len()];
        let mut name = |j: usize| match named.get_mut(j) {
            None => Err(Error::Domain(format!("input {j} does not exist"))),
            Some(true) => Err(Error::Domain(format!("input {j} is named twice in one-hot groups or integer features"))),
            Some(seen) => {
                *seen = true;
                Ok(())
            }
        };
        for group in &self.one_hot {
            if group.len() < 2 {
                return Err(Error::Domain("a one-hot group needs at least two inputs".into()));
            }
            for &j in group {
                name(j)?;
                if self.input_box[j] != Interval::new(0.0, 1.0) {
                    return Err(Error::Domain(format!("input {j} of a one-hot group must range over [0, 1]")));
                }
            }
        }
        for feature in &self.integer {
            name(feature.input)?;
            if feature.steps == 0 {
                return Err(Error::Domain(format!("integer input {} needs at least one step", feature.input)));
            }
        }
        Ok(())
    }

    /// The point with every integer feature on the nearest of its values, in `f64`.
    ///
    /// # Panics
    /// If `x` does not have one entry per input.
    pub fn snapped(&self, x: &[f64]) -> Vec<f64> {
        assert_eq!(x.len(), self.inputs());
        let mut x = x.to_vec();
        for IntegerFeature { input, steps } in &self.integer {
            let (side, steps) = (self.input_box[*input], f64::from(*steps));
            let width = side.upper - side.lower;
            let step = if width > 0.0 { ((x[*input] - side.lower) / width * steps).round() } else { 0.0 };
            x[*input] = side.lower + width * step / steps;
        }
        x
    }

    /// Number of inputs.
    pub fn inputs(&self) -> usize {
        self.input_box.len()
    }

    /// The box.
    pub fn input_box(&self) -> &[Interval] {
        &self.input_box
    }

    /// The one-hot groups.
    pub fn one_hot(&self) -> &[Vec<usize>] {
        &self.one_hot
    }

    /// The integer features.
    pub fn integer(&self) -> &[IntegerFeature] {
        &self.integer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_go_to_the_nearest_of_their_values() {
        let sides = vec![Interval::new(-1.0, 2.0), Interval::new(0.0, 1.0), Interval::new(3.0, 3.0)];
        let integer = vec![IntegerFeature { input: 0, steps: 3 }, IntegerFeature { input: 2, steps: 5 }];
        let domain = Domain::new(sides, vec![], integer).unwrap();
        assert_eq!(domain.snapped(&[0.6, 0.6, 3.0]), [1.0, 0.6, 3.0]);
        assert_eq!(domain.snapped(&[-0.6, 0.1, 3.0]), [-1.0, 0.1, 3.0]);
    }
}
