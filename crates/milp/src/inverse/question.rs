use certificate::{Domain, Interval, contains, exact};
use num_rational::BigRational;
use num_traits::{Signed, Zero};

use super::Inverse;
use super::encoding::{Encoding, approximately, on_grid};
use crate::{Error, Programme, Result};

/// Of two real objectives that differ by less than this part, neither is better.
const OPTIMALITY_TOL: f64 = 1e-6;

/// Limits on changes beyond this limit nothing.
const LARGEST_CHANGE: f64 = 1e30;

fn wrong<T>(message: impl Into<String>) -> Result<T> {
    Err(Error::Question(message.into()))
}

/// What an input is looked for.
#[derive(Debug, Clone, PartialEq)]
pub enum Question {
    /// The nearest input of another class: an adversarial example.
    Nearest(Nearest),
    /// The input to which an output responds most: feature visualisation.
    Extreme(Extreme),
}

/// The input at which an output is largest (the thesis' 4.18).
#[derive(Debug, Clone, PartialEq)]
pub struct Extreme {
    /// The output.
    pub output: usize,
    /// By how much it has to be above every other output, if it has to be.
    pub margin: Option<Margin>,
}

/// The nearest input that belongs to another class (the thesis' 4.19 to 4.27).
///
/// A network with one output has two classes: 1 where the output is positive, otherwise 0. With several outputs the class is
/// that of the largest one.
#[derive(Debug, Clone, PartialEq)]
pub struct Nearest {
    /// Where to start, in the network's units; integers are moved onto their grid.
    pub point: Vec<f64>,
    /// For each input how many units of the distance one unit of the network is.
    pub units: Vec<f64>,
    /// What is to be as small as possible.
    pub distance: Distance,
    /// The class to reach; any other one if there is none.
    pub target: Option<usize>,
    /// By how much it has to win.
    pub margin: Margin,
    /// No input may move farther than this.
    pub largest_change: Option<f64>,
    /// No more attributes than this may change. A one-hot group is one attribute.
    pub most_changed: Option<usize>,
    /// Inputs that must not change.
    pub fixed: Vec<usize>,
}

/// How far a point is from another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distance {
    /// The sum of all changes. A change of category counts 1.
    L1,
    /// The largest change.
    Linf,
    /// The number of attributes that change.
    L0,
}

/// A class wins over another one if its score is at least `ratio` times that of the other plus `difference`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Margin {
    /// At least 1; other than 1 only for outputs that cannot be negative, and with a positive difference, because (0, 0)
    /// satisfies every ratio.
    pub ratio: f64,
    /// At least 0. With 0 and a ratio of 1 a tie is enough.
    pub difference: f64,
}

/// What a question asks of an input, for saying what cannot be had together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// The class and its margin.
    Margin,
    /// The limit on each change.
    LargestChange,
    /// The limit on the number of changes.
    MostChanged,
    /// The inputs that must not change.
    Fixed,
}

impl Condition {
    pub(super) const ALL: [Self; 4] = [Self::Margin, Self::LargestChange, Self::MostChanged, Self::Fixed];
}

/// An attribute of the point to start from.
#[derive(Debug, Clone)]
pub(super) enum Attribute {
    /// One input.
    Number { input: usize, here: BigRational, unit: f64 },
    /// A one-hot group and its member that is 1.
    Category { members: Vec<usize>, chosen: usize },
}

/// A question about a network that makes sense.
#[derive(Debug, Clone)]
pub(super) struct Posed<'a> {
    inverse: &'a Inverse<'a>,
    question: &'a Question,
    /// The classes that will do.
    pub targets: Vec<usize>,
    margin: Option<Margin>,
    attributes: Vec<Attribute>,
}

/// The programme of one target.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub programme: Programme,
    /// For each attribute the columns whose sum is 1 if it changes, where that is counted.
    changed: Vec<[usize; 2]>,
}

impl<'a> Posed<'a> {
    pub fn new(inverse: &'a Inverse<'a>, question: &'a Question) -> Result<Self> {
        let classes = inverse.network.outputs().max(2);
        let class = |k: usize| {
            if k < classes { Ok(()) } else { wrong(format!("class {k}: the network has classes 0 to {}", classes - 1)) }
        };
        let (targets, margin, attributes) = match question {
            Question::Extreme(Extreme { output, margin }) => {
                if *output >= inverse.network.outputs() {
                    let last = inverse.network.outputs() - 1;
                    return wrong(format!("output {output}: the network has outputs 0 to {last}"));
                }
                let class = if inverse.network.outputs() == 1 { 1 } else { *output };
                (vec![class], *margin, Vec::new())
            }
            Question::Nearest(nearest) => {
                let attributes = attributes(inverse.domain, nearest)?;
                let point = on_grid(inverse.domain, &nearest.point);
                let scores = scores(&inverse.network.evaluate_exactly(&point));
                // The first of the largest.
                let here = (0..classes).rev().max_by(|a, b| scores[*a].cmp(&scores[*b])).expect("two classes or more");
                let targets = match nearest.target {
                    Some(target) => vec![target],
                    None => (0..classes).filter(|k| *k != here).collect(),
                };
                targets.iter().try_for_each(|target| class(*target))?;
                (targets, Some(nearest.margin), attributes)
            }
        };
        if let Some(Margin { ratio, difference }) = margin {
            if !(ratio >= 1.0 && ratio.is_finite() && difference >= 0.0 && difference.is_finite()) {
                return wrong(format!(
                    "expected a ratio of at least 1 and a difference of at least 0, found {ratio} and {difference}"
                ));
            }
            if ratio > 1.0 {
                let negative = inverse.graph.outputs.iter().position(|k| inverse.bounds.values[*k].lower < 0.0);
                if inverse.network.outputs() == 1 || negative.is_some() {
                    return wrong(format!(
                        "a ratio means something only between outputs that cannot be negative, and output {} can; use a difference",
                        negative.unwrap_or(0)
                    ));
                }
                if difference == 0.0 {
                    return wrong("a ratio alone is satisfied by outputs of 0; give a positive difference, too");
                }
            }
        }
        Ok(Self { inverse, question, targets, margin, attributes })
    }

    pub fn nearest(&self) -> Option<&Nearest> {
        match self.question {
            Question::Nearest(nearest) => Some(nearest),
            Question::Extreme(_) => None,
        }
    }

    /// The programme for one class. `slack` is added to the margin, so that what a solver finds holds in exact arithmetic;
    /// `without` leaves a condition out.
    pub fn programme(&self, encoding: &Encoding, target: usize, slack: f64, without: Option<&[Condition]>) -> Asked {
        let asked = |condition| without.is_none_or(|without| !without.contains(&condition));
        let mut programme = encoding.programme.clone();
        programme.name = "inverse".into();
        if let Some(margin) = self.margin.filter(|_| asked(Condition::Margin)) {
            self.win(&mut programme, encoding, target, Margin { difference: margin.difference + slack, ..margin });
        }
        let mut changed = Vec::new();
        match self.question {
            Question::Extreme(extreme) => {
                let output = encoding.columns[self.inverse.graph.outputs[extreme.output]];
                programme.columns[output].objective -= 1.0;
            }
            Question::Nearest(nearest) => {
                let limit = nearest.largest_change.filter(|_| asked(Condition::LargestChange));
                let farthest = (nearest.distance == Distance::Linf)
                    .then(|| programme.continuous("largest_change", (0.0, f64::INFINITY), 1.0));
                for (a, attribute) in self.attributes.iter().enumerate() {
                    let fixed = asked(Condition::Fixed) && attribute.is_fixed(&nearest.fixed);
                    attribute.confine(&mut programme, encoding, if fixed { Some(0.0) } else { limit });
                    let (terms, here, most) = attribute.movement(encoding);
                    let name = attribute.name(self.inverse);
                    match (nearest.distance, farthest) {
                        (Distance::L1, _) => {
                            let change = programme.continuous(format!("change_{name}"), (0.0, most), 1.0);
                            bound_movement(&mut programme, &name, change, &terms, here);
                        }
                        (Distance::Linf, Some(farthest)) => {
                            bound_movement(&mut programme, &name, farthest, &terms, here);
                        }
                        _ => {}
                    }
                    let counted = nearest.distance == Distance::L0
                        || nearest.most_changed.is_some() && asked(Condition::MostChanged);
                    if counted {
                        let cost = f64::from(u8::from(nearest.distance == Distance::L0));
                        let count = attribute.count_change(&mut programme, encoding, &name, cost);
                        debug_assert_eq!(changed.len(), a);
                        changed.push(count);
                    }
                }
                if let Some(farthest) = farthest {
                    // Boxed, so that prices on it prove something.
                    let most = self.attributes.iter().map(|attribute| attribute.movement(encoding).2);
                    programme.columns[farthest].upper = most.fold(0.0, f64::max);
                }
                if let Some(most) = nearest.most_changed.filter(|_| asked(Condition::MostChanged)) {
                    let terms = changed.iter().flatten().map(|column| (*column, 1.0));
                    programme.row("most_changed", terms, (f64::NEG_INFINITY, most as f64));
                }
            }
        }
        // An attribute may be called as one of our rows.
        programme.make_names_unique();
        Asked { programme, changed }
    }

    /// The rows that make a class win.
    fn win(&self, programme: &mut Programme, encoding: &Encoding, target: usize, margin: Margin) {
        let Margin { ratio, difference } = margin;
        let outputs: Vec<usize> = self.inverse.graph.outputs.iter().map(|k| encoding.columns[*k]).collect();
        if let [only] = outputs[..] {
            let sign = if target == 1 { 1.0 } else { -1.0 };
            programme.row("wins", [(only, sign)], (difference, f64::INFINITY));
            return;
        }
        for (k, other) in outputs.iter().enumerate().filter(|(k, _)| *k != target) {
            let terms = [(outputs[target], 1.0), (*other, -ratio)];
            programme.row(format!("wins_over_{k}"), terms, (difference, f64::INFINITY));
        }
    }

    /// The input that a solution means: inside the domain and the limits on changes, with unchanged attributes as they were.
    pub fn point(&self, encoding: &Encoding, asked: &Asked, values: &[f64]) -> Vec<BigRational> {
        let mut point: Vec<BigRational> = encoding.inputs.iter().map(|input| input.value(values)).collect();
        let Some(nearest) = self.nearest() else { return point };
        for (a, attribute) in self.attributes.iter().enumerate() {
            let Attribute::Number { input, here, unit } = attribute else { continue };
            let still = asked.changed.get(a).is_some_and(|of| of.iter().map(|c| values[*c]).sum::<f64>() < 0.5);
            if still || nearest.fixed.contains(input) {
                point[*input] = here.clone();
            } else if let (Some(limit), None) = (nearest.largest_change, encoding.inputs[*input].steps) {
                let reach = exact::rational(limit) / exact::rational(*unit);
                point[*input] = point[*input].clone().max(here - &reach).min(here + &reach);
            }
        }
        point
    }

    /// What is minimised, at a point: exactly.
    pub fn objective(&self, point: &[BigRational], outputs: &[BigRational]) -> BigRational {
        match self.question {
            Question::Extreme(extreme) => -outputs[extreme.output].clone(),
            Question::Nearest(nearest) => {
                let changes = self.attributes.iter().map(|attribute| attribute.change(point));
                match nearest.distance {
                    Distance::L1 => changes.sum(),
                    Distance::Linf => changes.max().unwrap_or_else(BigRational::zero),
                    Distance::L0 => BigRational::from_integer(changes.filter(|c| !c.is_zero()).count().into()),
                }
            }
        }
    }

    /// Whether the objective is always a whole number.
    pub fn counts(&self) -> bool {
        self.nearest().is_some_and(|nearest| nearest.distance == Distance::L0)
    }

    /// A witness of this value counts as the best if nothing is better by more than this.
    pub fn indifference(&self, value: f64) -> f64 {
        if self.counts() { 1.0 - OPTIMALITY_TOL } else { OPTIMALITY_TOL * value.abs().max(1e-3) }
    }

    /// The attributes of the point to start from.
    pub fn attributes(&self) -> &[Attribute] {
        &self.attributes
    }

    /// Whether a class wins by its margin.
    pub fn wins(&self, target: usize, outputs: &[BigRational]) -> bool {
        self.margin.is_none_or(|Margin { ratio, difference }| {
            let scores = scores(outputs);
            let (ratio, difference) = (exact::rational(ratio), exact::rational(difference));
            let mut others = (0..scores.len()).filter(|k| *k != target);
            others.all(|k| scores[target] >= &ratio * &scores[k] + &difference)
        })
    }

    /// The same in floating-point arithmetic.
    pub fn seems_to_win(&self, target: usize, outputs: &[f64]) -> bool {
        let Some(Margin { ratio, difference }) = self.margin else { return true };
        match outputs {
            [only] if target == 1 => *only >= difference,
            [only] => -*only >= difference,
            outputs => {
                let mut others = (0..outputs.len()).filter(|k| *k != target);
                others.all(|k| outputs[target] >= ratio * outputs[k] + difference)
            }
        }
    }

    /// Whether a point is what was asked for, exactly.
    pub fn holds(&self, target: usize, point: &[BigRational], outputs: &[BigRational]) -> bool {
        let within = self.nearest().is_none_or(|nearest| {
            let changes: Vec<_> = self.attributes.iter().map(|attribute| attribute.change(point)).collect();
            let limit = nearest.largest_change.map(lenient);
            let count = changes.iter().filter(|change| !change.is_zero()).count();
            let fixed = |(attribute, change): (&Attribute, &BigRational)| {
                !attribute.is_fixed(&nearest.fixed) || change.is_zero()
            };
            limit.is_none_or(|limit| changes.iter().all(|change| *change <= limit))
                && nearest.most_changed.is_none_or(|most| count <= most)
                && self.attributes.iter().zip(&changes).all(fixed)
        });
        self.wins(target, outputs) && within && contains(self.inverse.domain, point)
    }

    /// Where the inputs can lie whose attributes all change by at most `reach` and whose fixed ones do not; rounded outwards.
    pub fn region(&self, reach: Option<f64>) -> Vec<Interval> {
        let mut region = self.inverse.domain.input_box().to_vec();
        let Some(nearest) = self.nearest() else { return region };
        for attribute in &self.attributes {
            let fixed = attribute.is_fixed(&nearest.fixed).then_some(0.0);
            let Some(reach) = fixed.or(reach) else { continue };
            match attribute {
                Attribute::Number { input, here, unit } => {
                    let (here, reach) = (approximately(here), reach / unit * (1.0 + 1e-9));
                    let side = &mut region[*input];
                    // The first rounding is that of a value like 1/9.
                    side.lower = side.lower.max((here.next_down() - reach).next_down());
                    side.upper = side.upper.min((here.next_up() + reach).next_up());
                }
                Attribute::Category { members, chosen } if reach < 1.0 => {
                    members.iter().for_each(|j| region[*j] = Interval::new(0.0, 0.0));
                    region[*chosen] = Interval::new(1.0, 1.0);
                }
                Attribute::Category { .. } => {}
            }
        }
        region
    }

    /// How far an attribute of anything with an objective of at most `value` can move.
    pub fn reach(&self, value: Option<f64>) -> Option<f64> {
        let nearest = self.nearest()?;
        let by_value = value.filter(|_| nearest.distance != Distance::L0);
        let limits = [nearest.largest_change, by_value].into_iter().flatten();
        limits.reduce(f64::min)
    }

    /// The conditions that the question has.
    pub fn conditions(&self) -> Vec<Condition> {
        let has = |condition: &Condition| match (condition, self.nearest()) {
            (Condition::Margin, _) => self.margin.is_some(),
            (_, None) => false,
            (Condition::LargestChange, Some(nearest)) => nearest.largest_change.is_some(),
            (Condition::MostChanged, Some(nearest)) => nearest.most_changed.is_some(),
            (Condition::Fixed, Some(nearest)) => !nearest.fixed.is_empty(),
        };
        Condition::ALL.into_iter().filter(has).collect()
    }
}

/// One score for each class.
fn scores(outputs: &[BigRational]) -> Vec<BigRational> {
    // With a single output, class 0 wins where it is not positive: its score is 0 minus that output's part.
    match outputs {
        [only] => vec![-only.clone().min(BigRational::zero()), only.clone().max(BigRational::zero())],
        outputs => outputs.to_vec(),
    }
}

fn attributes(domain: &Domain, nearest: &Nearest) -> Result<Vec<Attribute>> {
    for (what, found) in [("point", nearest.point.len()), ("units", nearest.units.len())] {
        if found != domain.inputs() {
            return wrong(format!("{what}: expected {} numbers, found {found}", domain.inputs()));
        }
    }
    if let Some(j) = nearest.fixed.iter().find(|j| **j >= domain.inputs()) {
        return wrong(format!("fixed input {j} does not exist; there are inputs 0 to {}", domain.inputs() - 1));
    }
    if nearest.largest_change.is_some_and(|limit| !(0.0..=LARGEST_CHANGE).contains(&limit)) {
        return wrong("expected a largest change of at least 0, and not beyond 1e30");
    }
    for (j, (x, side)) in nearest.point.iter().zip(domain.input_box()).enumerate() {
        let Interval { lower, upper } = side;
        if !side.contains(*x) {
            return wrong(format!("input {j} of the point is {x}, outside its range [{lower}, {upper}]"));
        }
        if !(nearest.units[j] > 0.0 && nearest.units[j].is_finite()) {
            return wrong(format!("input {j}: expected a positive unit, found {}", nearest.units[j]));
        }
    }
    let here = on_grid(domain, &nearest.point);
    let mut attributes = Vec::new();
    for (j, x) in here.iter().enumerate() {
        match domain.one_hot().iter().find(|group| group.contains(&j)) {
            None => attributes.push(Attribute::Number { input: j, here: x.clone(), unit: nearest.units[j] }),
            Some(group) if group[0] == j => {
                let ones: Vec<usize> = group.iter().copied().filter(|k| nearest.point[*k] == 1.0).collect();
                match ones[..] {
                    [chosen] if group.iter().all(|k| *k == chosen || nearest.point[*k] == 0.0) => {
                        attributes.push(Attribute::Category { members: group.clone(), chosen });
                    }
                    _ => return wrong(format!("inputs {group:?} of the point: exactly one has to be 1, the others 0")),
                }
            }
            Some(_) => {}
        }
    }
    Ok(attributes)
}

impl Attribute {
    fn is_fixed(&self, fixed: &[usize]) -> bool {
        match self {
            Self::Number { input, .. } => fixed.contains(input),
            Self::Category { members, .. } => members.iter().any(|j| fixed.contains(j)),
        }
    }

    fn name(&self, inverse: &Inverse) -> String {
        match self {
            Self::Number { input, .. } => inverse.names[*input].clone(),
            Self::Category { members, .. } => format!("group_{}", inverse.names[members[0]]),
        }
    }

    /// By how much it differs at a point.
    fn change(&self, point: &[BigRational]) -> BigRational {
        match self {
            Self::Number { input, here, unit } => (&point[*input] - here).abs() * exact::rational(*unit),
            Self::Category { chosen, .. } => exact::rational(1.0) - &point[*chosen],
        }
    }

    /// Terms whose sum minus the number is the signed change, in units of the distance, and the largest that it can be.
    fn movement(&self, encoding: &Encoding) -> (Vec<(usize, f64)>, f64, f64) {
        match self {
            Self::Category { chosen, .. } => (vec![(encoding.inputs[*chosen].column, 1.0)], 1.0, 1.0),
            Self::Number { input, here, unit } => {
                let column = &encoding.inputs[*input];
                let side = column.side;
                let here_f64 = approximately(here);
                match column.steps {
                    Some((count, steps)) => {
                        let step = unit * (side.upper - side.lower) / f64::from(steps);
                        let k = self.step(encoding).unwrap_or(0.0);
                        (vec![(count, step)], step * k, (step * f64::from(steps)).next_up())
                    }
                    None => {
                        let most = unit * (side.upper - here_f64).max(here_f64 - side.lower);
                        (vec![(column.column, *unit)], unit * here_f64, most.next_up() * (1.0 + 1e-12))
                    }
                }
            }
        }
    }

    /// On which step of its grid an integer stands.
    fn step(&self, encoding: &Encoding) -> Option<f64> {
        let Self::Number { input, here, .. } = self else { return None };
        encoding.inputs[*input].step_of(here).map(|(_, step)| step)
    }

    /// Keeps the attribute within a limit, rounded outwards.
    fn confine(&self, programme: &mut Programme, encoding: &Encoding, limit: Option<f64>) {
        let Some(limit) = limit else { return };
        match self {
            Self::Category { chosen, .. } => {
                if limit < 1.0 {
                    programme.columns[encoding.inputs[*chosen].column].lower = 1.0;
                }
            }
            Self::Number { input, here, unit } => {
                let column = &encoding.inputs[*input];
                if let (Some((count, steps)), Some(k)) = (column.steps, self.step(encoding)) {
                    let width = exact::rational(column.side.upper) - exact::rational(column.side.lower);
                    let whole = width * exact::rational(*unit);
                    let reach = if whole.is_positive() {
                        approximately(&(lenient(limit) / whole * BigRational::from_integer(steps.into())).floor())
                    } else {
                        0.0
                    };
                    let side = &mut programme.columns[count];
                    (side.lower, side.upper) = (side.lower.max(k - reach), side.upper.min(k + reach));
                } else {
                    let (here, reach) = (approximately(here), limit / unit);
                    let side = &mut programme.columns[column.column];
                    let (low, high) = if limit == 0.0 {
                        (here, here)
                    } else {
                        ((here - reach.next_up()).next_down(), (here + reach.next_up()).next_up())
                    };
                    (side.lower, side.upper) = (side.lower.max(low), side.upper.min(high));
                }
            }
        }
    }

    /// Binaries for a change upwards and downwards (the thesis' 4.23 to 4.27, which are linear when written like this):
    /// `x <= x0 + (u - x0) up`, `x >= x0 - (x0 - l) down`, `up + down <= 1`.
    fn count_change(&self, programme: &mut Programme, encoding: &Encoding, name: &str, cost: f64) -> [usize; 2] {
        let up = programme.integer(format!("up_{name}"), (0.0, 1.0), cost);
        let down = programme.integer(format!("down_{name}"), (0.0, 1.0), cost);
        programme.row(format!("once_{name}"), [(up, 1.0), (down, 1.0)], (f64::NEG_INFINITY, 1.0));
        let (column, here) = match self {
            Self::Category { chosen, .. } => (encoding.inputs[*chosen].column, 1.0),
            Self::Number { input, here, .. } => match (encoding.inputs[*input].steps, self.step(encoding)) {
                (Some((count, _)), Some(k)) => (count, k),
                _ => (encoding.inputs[*input].column, approximately(here)),
            },
        };
        let side = &encoding.programme.columns[column];
        let room = |room: f64| if room > 0.0 { room.next_up() } else { 0.0 };
        let (above, below) = (room(side.upper - here), room(here - side.lower));
        programme.row(format!("rises_{name}"), [(column, 1.0), (up, -above)], (f64::NEG_INFINITY, here));
        programme.row(format!("falls_{name}"), [(column, 1.0), (down, below)], (here, f64::INFINITY));
        [up, down]
    }
}

/// A limit of 3 has to admit three steps of 1.0000000001.
fn lenient(limit: f64) -> BigRational {
    exact::rational(limit * (1.0 + 1e-9))
}

/// `change >= |terms - here|`
fn bound_movement(programme: &mut Programme, name: &str, change: usize, terms: &[(usize, f64)], here: f64) {
    // A product was rounded; a bound that is a little too small stays a bound.
    let slack = if here == 0.0 { 0.0 } else { here.abs() * f64::EPSILON };
    for (sign, word) in [(1.0, "up"), (-1.0, "down")] {
        let moved = terms.iter().map(|(column, w)| (*column, -sign * w));
        let row = [(change, 1.0)].into_iter().chain(moved);
        programme.row(format!("{word}_by_{name}"), row, (-sign * here - slack, f64::INFINITY));
    }
}
