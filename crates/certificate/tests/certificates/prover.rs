//! A small prover, so that there are real certificates of random blocks. It splits until a leaf is found by trying few
//! multipliers; where nothing is found it lies. All numbers are small enough for `f64` to be exact.

use certificate::{Block, Direction, Domain, ExactMultipliers, Multipliers, Proof, Query, Split, Step, Tighten};

/// Multipliers are multiples of `2^EXPONENT`.
const EXPONENT: i32 = -16;

/// Random choices that proptest can shrink.
pub struct Dice {
    rolls: Vec<u32>,
    next: usize,
}

impl Dice {
    pub fn new(rolls: Vec<u32>) -> Self {
        Self { rolls, next: 0 }
    }

    /// Less than `sides`; 0 once the rolls are used up.
    pub fn roll(&mut self, sides: usize) -> usize {
        self.next += 1;
        self.rolls.get(self.next - 1).map_or(0, |roll| *roll as usize % sides)
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.roll(from.len())]
    }
}

/// Proves or pretends to prove one query.
pub struct Prover<'a> {
    block: &'a Block,
    domain: &'a Domain,
    query: Query,
    at_least: f64,
    coefficients: Vec<f64>,
    dice: &'a mut Dice,
    /// Whether every leaf so far was found and not made up.
    pub honest: bool,
}

#[derive(Clone)]
struct Region {
    sides: Vec<(f64, f64)>,
    members: Vec<Option<usize>>,
    grid: Vec<(u64, u64)>,
    phases: Vec<Option<bool>>,
    bounds: Vec<(f64, f64)>,
}

impl<'a> Prover<'a> {
    pub fn new(block: &'a Block, domain: &'a Domain, query: Query, at_least: f64, dice: &'a mut Dice) -> Self {
        let sign = if query.direction == Direction::Decreasing { -1.0 } else { 1.0 };
        let coefficients = (0..block.hidden()).map(|i| sign * block.path_weight(query.row, i, query.input)).collect();
        Self { block, domain, query, at_least, coefficients, dice, honest: true }
    }

    pub fn prove(&mut self, block: usize) -> Proof {
        let mut region = Region {
            sides: self.domain.input_box().iter().map(|side| (side.lower, side.upper)).collect(),
            members: vec![None; self.domain.one_hot().len()],
            grid: self.domain.integer().iter().map(|feature| (0, feature.steps.into())).collect(),
            phases: vec![None; self.block.hidden()],
            bounds: Vec::new(),
        };
        let range = |i| (self.least(&region, &[(i, 1.0)]), -self.least(&region, &[(i, -1.0)]));
        region.bounds = (0..self.block.hidden()).map(range).collect();
        let mut steps = Vec::new();
        self.tree(region, &mut steps);
        Proof { block, query: self.query, at_least: self.at_least, steps }
    }

    fn tree(&mut self, mut region: Region, steps: &mut Vec<Step>) {
        if self.dice.roll(3) == 0 {
            steps.push(Step::Tighten(self.tighten(&mut region)));
        }
        let splits = self.splits(&region);
        let try_leaf = splits.is_empty() || self.dice.roll(3) == 0;
        if let Some(leaf) = try_leaf.then(|| self.empty(&region).or_else(|| self.bound(&region))).flatten() {
            return steps.push(leaf);
        }
        if splits.is_empty() {
            self.honest = false;
            return steps.push(self.made_up());
        }
        let split = *self.dice.pick(&splits);
        steps.push(Step::Split(split));
        for part in self.parts(&region, split) {
            self.tree(part, steps);
        }
    }

    fn relevant(&self) -> impl Iterator<Item = usize> + use<> {
        let relevant: Vec<_> = (0..self.coefficients.len()).filter(|&i| self.coefficients[i] != 0.0).collect();
        relevant.into_iter()
    }

    fn phase(&self, region: &Region, i: usize) -> Option<bool> {
        let (lower, upper) = region.bounds[i];
        let by_bounds = if lower >= 0.0 { Some(true) } else { (upper <= 0.0).then_some(false) };
        region.phases[i].or(by_bounds)
    }

    fn splits(&self, region: &Region) -> Vec<Split> {
        let unstable = |i: &usize| self.phase(region, *i).is_none();
        let neurons = self.relevant().filter(unstable).map(Split::Neuron);
        let groups = region.members.iter().enumerate().filter(|(_, member)| member.is_none());
        let grid = self.domain.integer().iter().zip(&region.grid);
        let integers = grid.filter(|(feature, (first, last))| feature.input != self.query.input && first < last);
        let integers = integers.map(|(feature, &(first, last))| {
            let at = first + (last - first) / 2;
            Split::Integer { input: feature.input, at }
        });
        neurons.chain(groups.map(|(g, _)| Split::Group(g))).chain(integers).collect()
    }

    fn parts(&self, region: &Region, split: Split) -> Vec<Region> {
        match split {
            Split::Neuron(i) => [true, false]
                .map(|active| {
                    let mut part = region.clone();
                    part.phases[i] = Some(active);
                    part
                })
                .to_vec(),
            Split::Group(g) => {
                let part = |member| {
                    let mut part = region.clone();
                    part.members[g] = Some(member);
                    part
                };
                (0..self.domain.one_hot()[g].len()).map(part).collect()
            }
            Split::Integer { input, at } => {
                let f = self.domain.integer().iter().position(|feature| feature.input == input).unwrap();
                let side = self.domain.input_box()[input];
                let step = (side.upper - side.lower) / f64::from(self.domain.integer()[f].steps);
                let part = |(first, last): (u64, u64)| {
                    let mut part = region.clone();
                    part.grid[f] = (first, last);
                    part.sides[input] = (side.lower + step * first as f64, side.lower + step * last as f64);
                    part
                };
                let (first, last) = region.grid[f];
                vec![part((first, at)), part((at + 1, last))]
            }
        }
    }

    /// `min sum_i s_i t_i` over the region's box.
    fn least(&self, region: &Region, s: &[(usize, f64)]) -> f64 {
        let first = self.block.first();
        let weight = |j: usize| s.iter().map(|(i, s)| s * f64::from(first.row(*i)[j])).sum::<f64>();
        let mut value: f64 = s.iter().map(|(i, s)| s * f64::from(first.bias()[*i])).sum();
        for (group, member) in self.domain.one_hot().iter().zip(&region.members) {
            value += match member {
                Some(member) => weight(group[*member]),
                None => group.iter().map(|&j| weight(j)).fold(f64::INFINITY, f64::min),
            };
        }
        for (j, (lower, upper)) in region.sides.iter().enumerate() {
            if !self.domain.one_hot().iter().flatten().any(|&member| member == j) {
                value += (weight(j) * lower).min(weight(j) * upper);
            }
        }
        value
    }

    /// Sharper bounds from the box and from random halfspaces that hold.
    fn tighten(&mut self, region: &mut Region) -> Tighten {
        let mut tighten = Tighten { exponent: -1, upper: Vec::new(), lower: Vec::new() };
        for (upper, sign) in [(true, 1.0), (false, -1.0)] {
            for i in self.relevant() {
                let mut entry = Vec::new();
                let mut terms = vec![(i, -sign)];
                for k in self.relevant() {
                    if let Some(active) = self.phase(region, k).filter(|_| self.dice.roll(2) == 0) {
                        let y = self.dice.roll(4) as i64;
                        entry.push((k, y));
                        terms.push((k, if active { -0.5 } else { 0.5 } * y as f64));
                    }
                }
                let value = -sign * self.least(region, &terms);
                let (low, high) = &mut region.bounds[i];
                let list = if upper {
                    *high = high.min(value);
                    &mut tighten.upper
                } else {
                    *low = low.max(value);
                    &mut tighten.lower
                };
                list.push((i, entry));
            }
        }
        tighten
    }

    /// All choices of one of three multipliers for each neuron, those without zeros first.
    fn choices(values: &[(usize, [f64; 3])]) -> impl Iterator<Item = Vec<(usize, f64)>> + use<'_> {
        (0..3usize.pow(values.len() as u32)).map(|choice| {
            let digit = |k: usize| choice / 3usize.pow(k as u32) % 3;
            values
                .iter()
                .enumerate()
                .map(|(k, (i, values))| (*i, values[digit(k)]))
                .filter(|(_, s)| *s != 0.0)
                .collect()
        })
    }

    fn bound(&self, region: &Region) -> Option<Step> {
        let unit = f64::from(EXPONENT).exp2();
        let mut constant = 0.0;
        let mut values = Vec::new();
        for i in self.relevant() {
            let (c, (lower, upper)) = (self.coefficients[i], region.bounds[i]);
            let steepest = match self.phase(region, i) {
                Some(true) => -1.0,
                Some(false) => 1.0,
                None if c > 0.0 => c / upper,
                None => c / -lower,
            };
            if self.phase(region, i).unwrap_or(c < 0.0) {
                constant += c;
            }
            values.push((i, [1.0, 0.5, 0.0].map(|part| (part * steepest / unit).trunc() * unit)));
        }
        let proves = |s: &Vec<(usize, f64)>| constant + self.least(region, s) >= self.at_least;
        let multipliers = Self::choices(&values).find(proves)?;
        let multipliers = multipliers.into_iter().map(|(i, s)| (i, (s / unit) as i64)).collect();
        Some(Step::Bound(Multipliers { exponent: EXPONENT, multipliers }))
    }

    fn empty(&self, region: &Region) -> Option<Step> {
        let values = |i| {
            let sign = if self.phase(region, i)? { -1.0 } else { 1.0 };
            Some((i, [sign, 2.0 * sign, 0.0]))
        };
        let values: Vec<_> = self.relevant().filter_map(values).collect();
        let proves = |s: &Vec<(usize, f64)>| !s.is_empty() && self.least(region, s) >= 0.0;
        let multipliers = Self::choices(&values).find(proves)?;
        let multipliers = multipliers.into_iter().map(|(i, s)| (i, (s as i64).into())).collect();
        Some(Step::Empty(ExactMultipliers { multipliers }))
    }

    fn made_up(&mut self) -> Step {
        let mut multipliers: Vec<(usize, i64)> = Vec::new();
        for i in self.relevant() {
            if self.dice.roll(2) == 0 {
                multipliers.push((i, self.dice.roll(7) as i64 - 3));
            }
        }
        if self.dice.roll(2) == 0 {
            return Step::Bound(Multipliers { exponent: -(self.dice.roll(5) as i32), multipliers });
        }
        let multipliers = multipliers.into_iter().map(|(i, m)| (i, m.into())).collect();
        Step::Empty(ExactMultipliers { multipliers })
    }
}
