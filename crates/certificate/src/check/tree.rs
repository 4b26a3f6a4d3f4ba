use num_bigint::BigInt;
use num_traits::Signed;

use super::block::{FirstLayer, Place, Range};
use super::composition::combined;
use super::fault::{Fault, Result};
use super::number::Dyadic;
use crate::{Block, Direction, ExactMultipliers, Multipliers, Query, Rows, Split, Step, Tighten};

/// Exponents of multipliers lie between these; those of `f64` do.
const EXPONENTS: std::ops::RangeInclusive<i32> = -1100..=1100;

/// The proof of one query, step by step: the region that the next step is about, and which others are left.
pub(super) struct Tree<'a> {
    layer: &'a FirstLayer,
    /// The input of the query.
    input: usize,
    /// `at_least`, times `one`.
    at_least: Dyadic,
    /// `c_i` of every hidden neuron, times `one`.
    coefficients: Vec<Dyadic>,
    place: Place,
    /// What the pre-activations can be in the region, times `one`.
    bounds: Vec<Range>,
    /// Phases fixed by splits.
    phases: Vec<Option<Phase>>,
    /// Splits with parts that are not proved, the outermost first.
    open: Vec<Open>,
    /// Bounds before the tightenings on the way to this region.
    undo: Vec<(usize, Range)>,
    tightened: bool,
    /// Number of leaves so far.
    pub leaves: u64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    /// `t_i >= 0`
    Active,
    /// `t_i <= 0`
    Inactive,
}

/// A split of whose parts the last one entered has number `part`.
struct Open {
    split: Cut,
    part: usize,
    /// Length of `undo` at the split.
    undo: usize,
}

/// A split that was checked.
#[derive(Clone, Copy)]
enum Cut {
    Neuron(usize),
    Group(usize),
    /// `feature` counts the integer features, `first` to `last` is what the region had of its grid.
    Integer {
        feature: usize,
        first: u64,
        at: u64,
        last: u64,
    },
}

impl<'a> Tree<'a> {
    /// The whole domain, with nothing proved.
    pub fn new(block: &Block, rows: &Rows, layer: &'a FirstLayer, query: Query, at_least: f64) -> Self {
        let one = layer.one();
        let sign = Dyadic::new(if query.direction == Direction::Decreasing { -1 } else { 1 }, 0);
        let coefficient = |i: usize| {
            let w2 = combined(rows, query.row, |k| Dyadic::exact(block.second().row(k)[i]));
            &(&(&w2 * &Dyadic::exact(block.first().row(i)[query.input])) * &sign) * &one
        };
        Self {
            layer,
            input: query.input,
            at_least: &Dyadic::exact(at_least) * &one,
            coefficients: (0..block.hidden()).map(coefficient).collect(),
            place: layer.everywhere(),
            bounds: layer.bounds.clone(),
            phases: vec![None; block.hidden()],
            open: Vec::new(),
            undo: Vec::new(),
            tightened: false,
            leaves: 0,
        }
    }

    /// Checks the next step. `true` when it was the last one.
    pub fn step(&mut self, step: &Step) -> Result<bool> {
        if let Step::Tighten(tighten) = step {
            // A chain of them could be as long as the file and keep every bound that ever was.
            if std::mem::replace(&mut self.tightened, true) {
                return Err(Fault::TightenedTwice);
            }
            self.tighten(tighten)?;
            return Ok(false);
        }
        self.tightened = false;
        match step {
            Step::Split(split) => {
                let split = self.cut(*split)?;
                self.open.push(Open { split, part: 0, undo: self.undo.len() });
                self.enter(split, 0);
                return Ok(false);
            }
            Step::Bound(multipliers) => self.bound(multipliers)?,
            Step::Empty(multipliers) => self.empty(multipliers)?,
            Step::Tighten(_) => unreachable!("dealt with above"),
        }
        self.leaves += 1;
        Ok(!self.next_part())
    }

    // -- Regions ------------------------------------------------------------------------------------------------------

    fn cut(&self, split: Split) -> Result<Cut> {
        match split {
            Split::Neuron(i) => match self.phases[self.neuron(i)?] {
                Some(_) => Err(Fault::NeuronAgain(i)),
                None => Ok(Cut::Neuron(i)),
            },
            Split::Group(g) => match self.place.members.get(g) {
                None => Err(Fault::Group(g)),
                Some(Some(_)) => Err(Fault::GroupAgain(g)),
                Some(None) => Ok(Cut::Group(g)),
            },
            // Between two of its own values the derivative along it matters too.
            Split::Integer { input, .. } if input == self.input => Err(Fault::QueriedInput(input)),
            Split::Integer { input, at } => {
                let mut integers = self.layer.domain.integer().iter();
                let feature = integers.position(|f| f.input == input).ok_or(Fault::NotInteger(input))?;
                let (first, last) = self.place.grid[feature];
                let cuts = first <= at && at < last;
                cuts.then_some(Cut::Integer { feature, first, at, last }).ok_or(Fault::Grid { at, first, last })
            }
        }
    }

    /// Makes a part of a split the current region. `false` if it has no such part: then the region is again what it was
    /// before the split.
    fn enter(&mut self, split: Cut, part: usize) -> bool {
        match split {
            Cut::Neuron(i) => {
                self.phases[i] = [Phase::Active, Phase::Inactive].get(part).copied();
                part < 2
            }
            Cut::Group(g) => {
                self.place.members[g] = Some(part).filter(|part| *part < self.layer.domain.one_hot()[g].len());
                self.place.members[g].is_some()
            }
            Cut::Integer { feature, first, at, last } => {
                let grid = [(first, at), (at + 1, last)].get(part).copied().unwrap_or((first, last));
                self.layer.restrict(&mut self.place, feature, grid);
                part < 2
            }
        }
    }

    /// Goes on to the next part that has to be proved. `false` if there is none.
    fn next_part(&mut self) -> bool {
        while let Some(mut open) = self.open.pop() {
            for (i, before) in self.undo.drain(open.undo..).rev() {
                self.bounds[i] = before;
            }
            open.part += 1;
            if self.enter(open.split, open.part) {
                self.open.push(open);
                return true;
            }
        }
        false
    }

    /// The phase of a neuron, if the region leaves it no choice.
    fn phase(&self, i: usize) -> Option<Phase> {
        let Range { lower, upper } = &self.bounds[i];
        let by_bounds = || match (lower.is_negative(), upper.is_positive()) {
            (false, _) => Some(Phase::Active),
            (true, false) => Some(Phase::Inactive),
            (true, true) => None,
        };
        self.phases[i].or_else(by_bounds)
    }

    /// A neuron that the derivative depends on.
    fn neuron(&self, i: usize) -> Result<usize> {
        let relevant = self.coefficients.get(i).is_some_and(|c| !c.is_zero());
        relevant.then_some(i).ok_or(Fault::Neuron(i))
    }

    // -- Sharper bounds -----------------------------------------------------------------------------------------------

    fn tighten(&mut self, Tighten { exponent, upper, lower }: &Tighten) -> Result<()> {
        let unit = units(*exponent)?;
        for (i, halfspaces) in upper {
            let terms = self.with_halfspaces(*i, halfspaces, unit, 1)?;
            let upper = self.layer.largest(&terms, unit.min(0), &self.place);
            if upper < self.bounds[*i].upper {
                let lower = self.bounds[*i].lower.clone();
                self.replace(*i, Range { lower, upper });
            }
        }
        for (i, halfspaces) in lower {
            let terms = self.with_halfspaces(*i, halfspaces, unit, -1)?;
            let lower = self.layer.least(&terms, unit.min(0), &self.place);
            if lower > self.bounds[*i].lower {
                let upper = self.bounds[*i].upper.clone();
                self.replace(*i, Range { lower, upper });
            }
        }
        Ok(())
    }

    fn replace(&mut self, i: usize, range: Range) {
        self.undo.push((i, std::mem::replace(&mut self.bounds[i], range)));
    }

    /// `t_i + sign * sum_k y_k sigma_k t_k` in units of `2^min(unit, 0)`, with `sigma_k t_k >= 0` everywhere in the region.
    fn with_halfspaces(
        &self,
        i: usize,
        halfspaces: &[(usize, i64)],
        unit: i64,
        sign: i64,
    ) -> Result<Vec<(usize, BigInt)>> {
        let common = unit.min(0);
        let mut terms = vec![(self.neuron(i)?, Dyadic::new(1, 0).in_units_of(common))];
        for (k, y) in in_order(halfspaces)? {
            let sigma = match self.phase(self.neuron(*k)?) {
                Some(Phase::Active) if *y >= 0 => 1,
                Some(Phase::Inactive) if *y >= 0 => -1,
                _ => return Err(Fault::Multiplier(*k)),
            };
            terms.push((*k, Dyadic::new(BigInt::from(*y) * (sign * sigma), unit).in_units_of(common)));
        }
        Ok(terms)
    }

    // -- Leaves -------------------------------------------------------------------------------------------------------

    /// `constant + min sum_i s_i t_i >= at_least`
    fn bound(&self, Multipliers { exponent, multipliers }: &Multipliers) -> Result<()> {
        let unit = units(*exponent)?;
        let mut terms = Vec::with_capacity(multipliers.len());
        for (i, m) in in_order(multipliers)? {
            terms.push((self.neuron(*i)?, BigInt::from(*m)));
        }
        let mut constant = Dyadic::new(0, 0);
        let mut given = multipliers.iter().peekable();
        for (i, c) in self.coefficients.iter().enumerate() {
            let m = given.next_if(|(k, _)| *k == i).map_or(0, |(_, m)| *m);
            if !c.is_zero() && self.adds_coefficient(i, c, &Dyadic::new(m, unit))? {
                constant = &constant + c;
            }
        }
        let proved = &constant + &self.layer.least(&terms, unit, &self.place);
        if proved < self.at_least {
            let short = (&self.at_least + &-&proved).approximate() / self.layer.one().approximate();
            return Err(Fault::NotProved { short });
        }
        Ok(())
    }

    /// Whether `c_i [t_i >= 0]` is at least `c_i + s t_i` or at least `s t_i` where `t_i != 0`, by the first of four
    /// arguments that applies; an error if none does.
    fn adds_coefficient(&self, i: usize, c: &Dyadic, s: &Dyadic) -> Result<bool> {
        let Range { lower, upper } = &self.bounds[i];
        let phase = self.phase(i);
        if phase == Some(Phase::Active) && !s.is_positive() {
            // t > 0: c >= c + s t.
            return Ok(true);
        }
        if phase == Some(Phase::Inactive) && !s.is_negative() {
            // t < 0: 0 >= s t.
            return Ok(false);
        }
        // Both c and the bounds are multiples of `one`.
        if c.is_positive() && !s.is_negative() && &(s * upper) <= c {
            // t > 0: c >= s u >= s t. t < 0: 0 >= s t.
            return Ok(false);
        }
        if c.is_negative() && !s.is_positive() && s * lower <= -c {
            // t > 0: c >= c + s t. t < 0: 0 >= c + s l >= c + s t.
            return Ok(true);
        }
        Err(Fault::Multiplier(i))
    }

    /// `min sum_i s_i t_i >= 0`, although every term is negative wherever no `t_i` is zero.
    fn empty(&self, ExactMultipliers { multipliers }: &ExactMultipliers) -> Result<()> {
        for (i, s) in in_order(multipliers)? {
            let negative = match self.phase(self.neuron(*i)?) {
                Some(Phase::Active) => s.is_negative(),
                Some(Phase::Inactive) => s.is_positive(),
                None => false,
            };
            if !negative {
                return Err(Fault::Multiplier(*i));
            }
        }
        // Without any term there is nothing to contradict.
        if multipliers.is_empty() || self.layer.least(multipliers, 0, &self.place).is_negative() {
            return Err(Fault::NotEmpty);
        }
        Ok(())
    }
}

fn units(exponent: i32) -> Result<i64> {
    EXPONENTS.contains(&exponent).then_some(exponent.into()).ok_or(Fault::Exponent(exponent))
}

/// The multipliers, if their neurons rise.
fn in_order<T>(multipliers: &[(usize, T)]) -> Result<&[(usize, T)]> {
    match multipliers.windows(2).find(|pair| pair[0].0 >= pair[1].0) {
        Some(pair) => Err(Fault::Order(pair[1].0)),
        None => Ok(multipliers),
    }
}
