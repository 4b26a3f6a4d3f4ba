//! A quick look for an input of another class: far points, pulled back towards the start.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::Inverse;
use super::answer::Witness;
use super::encoding::{approximately, on_grid};
use super::question::{Attribute, Posed};

/// Points that are tried, at most.
const POINTS: usize = 200;
/// Halvings on the way back of one attribute.
const HALVINGS: usize = 12;
/// Multiplications that all of it may cost.
const WORK: usize = 200_000_000;

impl Inverse<'_> {
    /// The best input found for a class, if there is one. Only a start: it bounds how far a solver has to look.
    pub(super) fn sample(&self, posed: &Posed, target: usize) -> Option<Witness> {
        let nearest = posed.nearest()?;
        let start: Vec<f64> = on_grid(self.domain, &nearest.point).iter().map(approximately).collect();
        let region = posed.region(nearest.largest_change);
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let mut left = WORK / self.graph.terms().max(1);
        let mut wins = |x: &[f64]| {
            left = left.saturating_sub(1);
            left > 0 && posed.seems_to_win(target, &self.network.evaluate(&self.domain.snapped(x)))
        };
        let mut best: Option<Witness> = None;
        for k in 0..POINTS {
            let mut x = start.clone();
            // Few attributes at first, where few may be enough.
            let share = (1 + k % 8) as f64 / 8.0;
            for attribute in posed.attributes() {
                if rng.random::<f64>() < share {
                    attribute.randomise(&mut x, &region, k % 3 == 0, &mut rng);
                }
            }
            if !wins(&x) {
                continue;
            }
            for attribute in posed.attributes() {
                attribute.pull_back(&mut x, &start, &mut wins);
            }
            let found = self.witness(posed, target, on_grid(self.domain, &x));
            best = found.filter(|found| best.as_ref().is_none_or(|best| found.value < best.value)).or(best);
        }
        best
    }
}

impl Attribute {
    /// Somewhere in its region, or at one of its ends.
    fn randomise(&self, x: &mut [f64], region: &[certificate::Interval], corner: bool, rng: &mut ChaCha8Rng) {
        match self {
            Self::Number { input, .. } => {
                let side = region[*input];
                let share = if corner { f64::from(u8::from(rng.random::<bool>())) } else { rng.random() };
                x[*input] = side.lower + share * (side.upper - side.lower);
            }
            Self::Category { members, .. } => {
                let able: Vec<usize> = members.iter().copied().filter(|j| region[*j].upper > 0.0).collect();
                members.iter().for_each(|j| x[*j] = 0.0);
                x[able[rng.random_range(0..able.len())]] = 1.0;
            }
        }
    }

    /// As close to the start as the class allows while all else stays.
    fn pull_back(&self, x: &mut [f64], start: &[f64], wins: &mut impl FnMut(&[f64]) -> bool) {
        let inputs = match self {
            Self::Number { input, .. } => std::slice::from_ref(input),
            Self::Category { members, .. } => members,
        };
        let there: Vec<f64> = inputs.iter().map(|j| x[*j]).collect();
        inputs.iter().for_each(|j| x[*j] = start[*j]);
        if wins(x) {
            return;
        }
        let (mut near, mut far) = (0.0, 1.0);
        if let Self::Number { input, .. } = self {
            let at = |share: f64| start[*input] + share * (there[0] - start[*input]);
            for _ in 0..HALVINGS {
                let middle = (near + far) / 2.0;
                x[*input] = at(middle);
                if wins(x) { far = middle } else { near = middle }
            }
        }
        inputs.iter().zip(&there).for_each(|(j, there)| x[*j] = start[*j] + far * (there - start[*j]));
    }
}
