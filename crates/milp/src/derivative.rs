use certificate::exact::{approximate, rational};
use certificate::{Activation, Block, Direction, Domain, Interval, Query, Rows, exact, interval};
use num_bigint::BigInt;
use num_integer::Integer;
use num_rational::BigRational;
use num_traits::{One, Signed, Zero};

use crate::interior::Halfspace;
use crate::{Error, Result};

/// What the pre-activation bounds say about a neuron.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Its pre-activation is never negative.
    Active,
    /// Its pre-activation is never positive.
    Inactive,
    /// Both signs are possible as far as the bounds know; only such a neuron needs a binary.
    Unstable,
}

/// A hidden neuron that matters to a query.
#[derive(Debug, Clone, PartialEq)]
pub struct Neuron {
    /// Index in the hidden layer.
    pub index: usize,
    /// What it adds to the directed derivative while it is active, not zero; rounded down where a combination of
    /// outputs is no `f64`, so that bounds of the derivative hold.
    pub coefficient: f64,
    /// The same without rounding, where it was rounded.
    pub exact: Option<BigRational>,
    /// Bounds of its pre-activation.
    pub bounds: Interval,
    /// What they say.
    pub phase: Phase,
}

impl Neuron {
    /// What it adds without rounding.
    pub fn exactly(&self) -> BigRational {
        self.exact.clone().unwrap_or_else(|| rational(self.coefficient))
    }
}

/// For each neuron of a [`DirectedDerivative`] whether it is active.
pub type ActivationPattern = Vec<bool>;

/// The derivative of one row of a block along one input, times the sign of the direction: `sum_i c_i [t_i >= 0]` with
/// `t_i = w_i x + b_i` and `c_i = sign * W2[row, i] * W1[i, input]`, where a row that combines outputs has the combination
/// of their `W2`.
#[derive(Debug, Clone)]
pub struct DirectedDerivative<'a> {
    /// The block.
    pub block: &'a Block,
    /// What the query's row is.
    pub rows: &'a Rows,
    /// Where the claim has to hold.
    pub domain: &'a Domain,
    /// The claim.
    pub query: Query,
    /// The neurons with `c_i != 0`; a hyperplane `t_i = 0` of one of them is never parallel to the queried input.
    pub neurons: Vec<Neuron>,
    /// First-layer weights of `neurons`, `[inputs, neurons]`: those along one input lie side by side.
    columns: Vec<f64>,
}

impl<'a> DirectedDerivative<'a> {
    /// The derivative that `query` is about.
    ///
    /// # Errors
    /// If the activation is not ReLU, the widths do not fit, or the query names a row or an input that does not exist,
    /// an input of a one-hot group, or no direction.
    pub fn new(block: &'a Block, rows: &'a Rows, domain: &'a Domain, query: Query) -> Result<Self> {
        let Query { row, input, direction } = query;
        let wrong = |reason| Err(Error::Query { row, input, reason });
        if block.activation() != Activation::Relu {
            return Err(Error::Activation(block.activation().name()));
        }
        if domain.inputs() != block.inputs() {
            let (expected, found) = (block.inputs(), domain.inputs());
            return Err(certificate::Error::Width { what: "domain".into(), expected, found }.into());
        }
        rows.require_width(block.outputs())?;
        if row >= rows.count(block.outputs()) || input >= block.inputs() {
            return wrong("the block has no such row or input");
        }
        if direction == Direction::Free {
            return wrong("nothing is asked about a free input");
        }
        if domain.one_hot().iter().flatten().any(|&j| j == input) {
            return wrong("an input of a one-hot group cannot move by itself");
        }
        let bounds = interval::affine_bounds(block.first(), domain);
        let neuron = |(index, bounds): (usize, Interval)| {
            let phase = match bounds {
                _ if bounds.lower >= 0.0 => Phase::Active,
                _ if bounds.upper <= 0.0 => Phase::Inactive,
                _ => Phase::Unstable,
            };
            if rows.as_combinations().is_none() {
                let coefficient = direction.sign() * block.path_weight(row, index, input);
                return Neuron { index, coefficient, exact: None, bounds, phase };
            }
            let exact = rational(direction.sign()) * exact::path_weight(block, rows, row, index, input);
            Neuron { index, coefficient: round_down(&exact), exact: Some(exact), bounds, phase }
        };
        let neurons: Vec<_> = bounds.into_iter().enumerate().map(neuron).filter(|n| n.coefficient != 0.0).collect();
        let weights = |j: usize| neurons.iter().map(move |n| f64::from(block.first().row(n.index)[j]));
        let columns = (0..block.inputs()).flat_map(weights).collect();
        Ok(Self { block, rows, domain, query, neurons, columns })
    }

    /// Whether the queried input can move at all.
    pub fn input_moves(&self) -> bool {
        let side = self.domain.input_box()[self.query.input];
        side.lower < side.upper
    }

    /// Positions in `neurons` of the unstable ones.
    pub fn unstable(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.neurons.len()).filter(|&k| self.neurons[k].phase == Phase::Unstable)
    }

    fn sum<'b>(neurons: impl Iterator<Item = &'b Neuron> + Clone) -> BigRational {
        match neurons.clone().all(|neuron| neuron.exact.is_none()) {
            true => exact::sum(neurons.map(|neuron| neuron.coefficient)),
            false => neurons.map(Neuron::exactly).sum(),
        }
    }

    /// What the stable neurons add, exactly.
    pub fn constant(&self) -> BigRational {
        Self::sum(self.neurons.iter().filter(|n| n.phase == Phase::Active))
    }

    /// The least value that any pattern in keeping with the stable neurons has, whether it is possible or not.
    pub fn sign_bound(&self) -> BigRational {
        let least = |n: &&Neuron| match n.phase {
            Phase::Active => true,
            Phase::Inactive => false,
            Phase::Unstable => n.coefficient < 0.0,
        };
        Self::sum(self.neurons.iter().filter(least))
    }

    /// The value of a pattern, exactly.
    pub fn value(&self, pattern: &ActivationPattern) -> BigRational {
        Self::sum(self.neurons.iter().zip(pattern).filter(|(_, active)| **active).map(|(n, _)| n))
    }

    /// The number that all values are multiples of, if it is not tiny.
    ///
    /// Coefficients are dyadic rationals, so there always is one; for weights that were never rounded it is too small
    /// to tell a negative value from zero.
    pub fn granularity(&self) -> f64 {
        let coefficients = || self.neurons.iter().map(Neuron::exactly);
        let denominator = coefficients().fold(BigInt::one(), |lcm, c| lcm.lcm(c.denom()));
        let scaled = coefficients().map(|c| c.numer() * (&denominator / c.denom()));
        let common = scaled.fold(BigInt::zero(), |gcd, c| gcd.gcd(&c));
        approximate(&BigRational::new(common, denominator))
    }

    /// The pre-activation of a neuron at `x` in `f64`.
    pub fn pre_activation(&self, neuron: &Neuron, x: &[f64]) -> f64 {
        let layer = self.block.first();
        let dot = layer.row(neuron.index).iter().zip(x).map(|(w, x)| f64::from(*w) * x).sum::<f64>();
        dot + f64::from(layer.bias()[neuron.index])
    }

    /// The weights of all neurons for input `j`.
    pub(crate) fn column(&self, j: usize) -> &[f64] {
        let neurons = self.neurons.len();
        &self.columns[j * neurons..(j + 1) * neurons]
    }

    /// The pre-activations of all neurons at `x` in `f64`, each as [`pre_activation`](Self::pre_activation) has it.
    pub(crate) fn pre_activations(&self, x: &[f64]) -> Vec<f64> {
        let mut t = vec![0.0; self.neurons.len()];
        for (j, x) in x.iter().enumerate().filter(|(_, x)| **x != 0.0) {
            t.iter_mut().zip(self.column(j)).for_each(|(t, w)| *t += w * x);
        }
        let bias = self.block.first().bias();
        t.iter_mut().zip(&self.neurons).for_each(|(t, neuron)| *t += f64::from(bias[neuron.index]));
        t
    }

    /// The derivative at `x` in `f64`; arbitrary on hyperplanes.
    pub fn evaluate(&self, x: &[f64]) -> f64 {
        self.value_at(&self.pre_activations(x))
    }

    /// The derivative where the pre-activations are `t`.
    pub(crate) fn value_at(&self, t: &[f64]) -> f64 {
        // Adding zeros is quicker than a branch that the processor cannot foresee.
        self.neurons.iter().zip(t).map(|(neuron, t)| if *t >= 0.0 { neuron.coefficient } else { 0.0 }).sum()
    }

    /// The pattern at `x`, or nothing if `x` lies on a hyperplane. Exact.
    pub fn pattern_at(&self, x: &[BigRational]) -> Option<ActivationPattern> {
        let t = exact::affine(self.block.first(), x);
        let sign = |n: &Neuron| (!t[n.index].is_zero()).then(|| t[n.index].is_positive());
        self.neurons.iter().map(sign).collect()
    }

    /// The open half-spaces whose intersection is the cell of `pattern`.
    pub fn halfspaces(&self, pattern: &ActivationPattern) -> Vec<Halfspace> {
        let layer = self.block.first();
        let halfspace = |(neuron, active): (&Neuron, &bool)| {
            let signed = |value: f32| rational(f64::from(if *active { value } else { -value }));
            Halfspace {
                weight: layer.row(neuron.index).iter().map(|w| signed(*w)).collect(),
                bias: signed(layer.bias()[neuron.index]),
            }
        };
        self.neurons.iter().zip(pattern).map(halfspace).collect()
    }
}

/// The largest `f64` that is not above `value`.
pub(crate) fn round_down(value: &BigRational) -> f64 {
    let nearest = approximate(value);
    if rational(nearest) > *value { nearest.next_down() } else { nearest }
}

#[cfg(test)]
mod tests {
    use certificate::Affine;

    use super::*;

    fn block() -> Block {
        // t = (x0 - x1, x0 + 3, x1 - 0.5), f = t0+ - 2 t1+ + t2+.
        let first = Affine::new(2, vec![1.0, -1.0, 1.0, 0.0, 0.0, 1.0], vec![0.0, 3.0, -0.5]).unwrap();
        Block::new(first, Activation::Relu, Affine::new(3, vec![1.0, -2.0, 1.0], vec![0.0]).unwrap()).unwrap()
    }

    #[test]
    fn only_neurons_with_a_path_count() {
        let (block, domain) = (block(), Domain::unit_cube(2));
        let query = Query { row: 0, input: 0, direction: Direction::Increasing };
        let derivative = DirectedDerivative::new(&block, &Rows::OUTPUTS, &domain, query).unwrap();
        assert_eq!(derivative.neurons.iter().map(|n| n.index).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(derivative.neurons[1].phase, Phase::Active);
        assert_eq!(derivative.unstable().collect::<Vec<_>>(), [0]);
        assert_eq!(derivative.constant(), rational(-2.0));
        assert_eq!(derivative.sign_bound(), rational(-2.0));
        assert_eq!(derivative.value(&vec![true, true]), rational(-1.0));
        assert_eq!(derivative.evaluate(&[0.75, 0.25]), -1.0);
        assert_eq!(derivative.evaluate(&[0.25, 0.75]), -2.0);
        assert_eq!(derivative.granularity(), 1.0);
        assert_eq!(derivative.pattern_at(&[rational(0.5), rational(0.5)]), None);
    }

    #[test]
    fn pre_activations_together_and_one_by_one_are_the_same() {
        let (block, domain) = (block(), Domain::unit_cube(2));
        let query = Query { row: 0, input: 1, direction: Direction::Decreasing };
        let derivative = DirectedDerivative::new(&block, &Rows::OUTPUTS, &domain, query).unwrap();
        for x in [[0.1, 0.7], [0.0, 0.3], [1.0 / 3.0, 0.0], [0.0, 0.0]] {
            let one_by_one: Vec<_> = derivative.neurons.iter().map(|n| derivative.pre_activation(n, &x)).collect();
            assert_eq!(derivative.pre_activations(&x), one_by_one);
            let active = derivative.neurons.iter().zip(&one_by_one).filter(|(_, t)| **t >= 0.0);
            assert_eq!(derivative.evaluate(&x), active.map(|(n, _)| n.coefficient).sum::<f64>());
        }
        assert_eq!(derivative.pre_activations(&[0.25, 0.75]), [-0.5, 0.25]);
    }

    #[test]
    fn questions_without_sense_are_errors() {
        let (block, cube) = (block(), Domain::unit_cube(2));
        let ask = |domain: &Domain, row, input, direction| {
            DirectedDerivative::new(&block, &Rows::OUTPUTS, domain, Query { row, input, direction }).is_err()
        };
        assert!(ask(&cube, 1, 0, Direction::Increasing));
        assert!(ask(&cube, 0, 2, Direction::Increasing));
        assert!(ask(&cube, 0, 0, Direction::Free));
        assert!(ask(&Domain::unit_cube(3), 0, 0, Direction::Increasing));
        let one_hot = Domain::new(cube.input_box().to_vec(), vec![vec![0, 1]], vec![]).unwrap();
        assert!(ask(&one_hot, 0, 0, Direction::Increasing));
        let smooth = Block::new(block.first().clone(), Activation::Tanh, block.second().clone()).unwrap();
        let query = Query { row: 0, input: 0, direction: Direction::Increasing };
        let smooth = DirectedDerivative::new(&smooth, &Rows::OUTPUTS, &cube, query);
        assert!(matches!(smooth, Err(Error::Activation("tanh"))));
    }

    #[test]
    fn rounding_goes_down() {
        let third = BigRational::new(1.into(), 3.into());
        assert!(rational(round_down(&third)) < third);
        assert!(rational(round_down(&third).next_up()) > third);
        assert_eq!(round_down(&rational(-0.75)), -0.75);
    }
}
