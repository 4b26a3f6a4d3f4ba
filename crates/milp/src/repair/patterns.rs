//! Activation patterns of a block's first layer that are known to occur.

use std::collections::HashSet;

use certificate::Affine;

/// Patterns of all hidden neurons, each once, in the order in which they were found. They depend on the first layer
/// only, so they hold for every second layer.
pub(super) struct Patterns {
    hidden: usize,
    /// `[patterns, hidden]`: 1 where a neuron is active.
    rows: Vec<f64>,
    seen: HashSet<Vec<u64>>,
}

impl Patterns {
    pub fn new(hidden: usize) -> Self {
        Self { hidden, rows: Vec::new(), seen: HashSet::new() }
    }

    /// Takes in a pattern. `false` if it is known.
    pub fn insert(&mut self, pattern: &[bool]) -> bool {
        assert_eq!(pattern.len(), self.hidden);
        let word = |bits: &[bool]| bits.iter().rev().fold(0u64, |word, bit| word << 1 | u64::from(*bit));
        let new = self.seen.insert(pattern.chunks(64).map(word).collect());
        if new {
            self.rows.extend(pattern.iter().map(|active| f64::from(u8::from(*active))));
        }
        new
    }

    pub fn get(&self, k: usize) -> &[f64] {
        &self.rows[k * self.hidden..(k + 1) * self.hidden]
    }

    /// `sum_i c_i z_i` of every pattern.
    pub fn values(&self, coefficients: &[f64]) -> Vec<f64> {
        let value = |z: &[f64]| z.iter().zip(coefficients).map(|(z, c)| z * c).sum();
        self.rows.chunks_exact(self.hidden).map(value).collect()
    }
}

/// The pattern at a point in `f64`. On a hyperplane either is right: both cells are near.
pub(super) fn pattern_at(first: &Affine, x: &[f64]) -> Vec<bool> {
    first.evaluate(x).iter().map(|t| *t > 0.0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_kept_once() {
        let mut patterns = Patterns::new(70);
        let mut pattern = vec![false; 70];
        pattern[69] = true;
        assert!(patterns.insert(&pattern) && !patterns.insert(&pattern));
        pattern[3] = true;
        assert!(patterns.insert(&pattern));
        let coefficients: Vec<f64> = (0..70).map(f64::from).collect();
        assert_eq!(patterns.values(&coefficients), [69.0, 72.0]);
        assert_eq!(patterns.get(1)[3], 1.0);
    }
}
