use std::fs;
use std::path::Path;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::error::{DataError, Result};
use super::manifest::Split;
use super::table::Table;
use crate::seeds::below;

/// The rows of each part, in the order in which they are to be used.
#[derive(Debug, PartialEq)]
pub(super) struct Parts {
    pub fit: Vec<usize>,
    pub validation: Vec<usize>,
    pub test: Vec<usize>,
}

impl Split {
    /// Divides the positions of the rows of a table. `name` is that of the split, `folder` that of the manifest; `seed`
    /// takes the place of the split's own.
    ///
    /// # Errors
    /// If an index file cannot be read or does not fit to the table, or a part is empty that should not be.
    pub(super) fn divide(&self, name: &str, seed: Option<u64>, table: &Table, folder: &Path) -> Result<Parts> {
        let rows = table.rows.len();
        let (mut fit, test, validation) = match self {
            Self::Indices { train, test, validation } => {
                let mut listed = vec![false; rows];
                let train = read_indices(&folder.join(train), &mut listed)?;
                let test = read_indices(&folder.join(test), &mut listed)?;
                if let Some(first) = listed.iter().position(|listed| !listed) {
                    let count = rows - train.len() - test.len();
                    return Err(DataError::UnlistedRows { split: name.into(), count, first, rows });
                }
                (train, test, *validation)
            }
            Self::Files { validation, validation_seed } => {
                let first = table.rows_of_first_file();
                let train = validation_seed.map_or_else(|| (0..first).collect(), |seed| permutation(first, seed));
                (train, (first..rows).collect(), *validation)
            }
            Self::Random { seed: default, test, validation } => {
                let mut order = permutation(rows, seed.unwrap_or(*default));
                let test = order.split_off(kept(rows, *test));
                (order, test, *validation)
            }
            Self::FileOrder { test, validation } => {
                let first = kept(rows, *test);
                ((0..first).collect(), (first..rows).collect(), *validation)
            }
        };
        let validation_rows = fit.split_off(kept(fit.len(), validation));

        let empty = |part| Err(DataError::EmptyPart { split: name.into(), part, rows });
        match (fit.is_empty(), validation > 0.0 && validation_rows.is_empty(), test.is_empty()) {
            (true, _, _) => empty("fitting"),
            (_, true, _) => empty("validation"),
            (_, _, true) => empty("test"),
            _ => Ok(Parts { fit, validation: validation_rows, test }),
        }
    }
}

/// How many of `rows` are left when a `fraction` is taken away, rounded down.
fn kept(rows: usize, fraction: f64) -> usize {
    // Without the small addition 0.07 taken from 100 rows would leave 92: 1 - 0.07 is a little less than 0.93.
    ((1.0 - fraction) * rows as f64 + 1e-6).floor() as usize
}

/// The numbers below `n` in an order drawn from `seed`: a Fisher-Yates shuffle from the last place down.
fn permutation(n: usize, seed: u64) -> Vec<usize> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut order: Vec<usize> = (0..n).collect();
    for last in (1..n).rev() {
        order.swap(last, below(&mut rng, last + 1));
    }
    order
}

/// Reads one index a line and marks each as listed.
pub(super) fn read_indices(file: &Path, listed: &mut [bool]) -> Result<Vec<usize>> {
    let text = fs::read_to_string(file).map_err(|source| DataError::Read { file: file.into(), source })?;
    let mut indices = Vec::new();
    for (i, found) in text.lines().map(str::trim).enumerate() {
        let line = i + 1;
        let Ok(index) = found.parse() else {
            return Err(DataError::NotAnIndex { file: file.into(), line, found: found.into() });
        };
        let rows = listed.len();
        match listed.get_mut(index) {
            None => return Err(DataError::IndexOutOfRange { file: file.into(), line, index, rows }),
            Some(true) => return Err(DataError::RepeatedIndex { file: file.into(), line, index }),
            Some(seen) => *seen = true,
        }
        indices.push(index);
    }
    Ok(indices)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permutations_never_change() {
        assert_eq!(permutation(10, 0), [6, 1, 8, 3, 2, 9, 0, 5, 4, 7]);
        assert_eq!(permutation(10, 1), [2, 7, 8, 5, 3, 6, 1, 9, 0, 4]);
        assert_eq!(permutation(6172, 0)[..8], [2910, 1431, 3800, 4234, 4569, 2322, 5569, 4795]);
        assert!(permutation(0, 0).is_empty());
        assert_eq!(permutation(1, 0), [0]);
    }

    #[test]
    fn permutations_are_uniform() {
        // Each of the 6 orders of 3 numbers is expected 1,000 times, with a standard deviation of 29.
        let mut counts = std::collections::BTreeMap::new();
        for seed in 0..6000 {
            *counts.entry(permutation(3, seed)).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 6);
        assert!(counts.values().all(|count| (880..=1120).contains(count)), "{counts:?}");
    }

    #[test]
    fn fractions_are_rounded_down_and_not_hurt_by_rounding() {
        assert_eq!(kept(6172, 0.2), 4937);
        assert_eq!(kept(4937, 0.2), 3949);
        for percent in 0..100 {
            assert_eq!(kept(100, f64::from(percent) / 100.0), 100 - percent as usize);
        }
    }
}
