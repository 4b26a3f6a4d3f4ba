use std::fmt::{self, Display, Formatter};

use crate::data::{DataSet, Part};
use crate::trees::{Node, Tree};

/// A small classification tree (CART) over raw feature values that says where the large errors of a model are.
///
/// Nothing is predicted with it: it is grown on the very rows that it describes. The crate `linfa-trees` would bring 40 others
/// and keeps no counts; the trees of [`crate::trees`] split by the same rule.
#[derive(Debug, Clone, PartialEq)]
pub struct ErrorTree {
    /// Rows that come here.
    pub rows: usize,
    /// Those of them with a large error.
    pub large: usize,
    /// How they are told apart; none in a leaf.
    pub split: Option<ErrorSplit>,
}

/// Where an [`ErrorTree`] branches.
#[derive(Debug, Clone, PartialEq)]
pub struct ErrorSplit {
    /// The feature's name.
    pub feature: String,
    /// Raw value.
    pub threshold: f64,
    /// The rows below the threshold, and the others.
    pub children: Box<[ErrorTree; 2]>,
}

/// Most splits from the root to a leaf: more would be no explanation.
const DEPTH: u32 = 3;
/// Fewest rows of a leaf.
const LEAST_ROWS: usize = 5;

impl ErrorTree {
    /// The tree that tells the rows with a large error from the others.
    ///
    /// # Panics
    /// If `large` does not have one entry per row.
    pub fn grow(data: &DataSet, part: &Part, large: &[bool]) -> Self {
        assert_eq!(large.len(), part.len());
        let part = Part { y: large.iter().map(|large| f32::from(u8::from(*large))).collect(), ..part.clone() };
        let tree = Tree::alone(&part, data.features.len(), DEPTH, LEAST_ROWS);
        Self::below(&tree, 0, data, &part, (0..part.len()).collect())
    }

    /// The branch of a node, with the rows that come there.
    fn below(tree: &Tree, node: usize, data: &DataSet, part: &Part, rows: Vec<usize>) -> Self {
        let large = rows.iter().filter(|row| part.y[**row] > 0.5).count();
        let Node::Split { feature, threshold, children } = tree.0[node] else {
            return Self { rows: rows.len(), large, split: None };
        };
        let value = |row: &usize| f64::from(part.x[row * data.features.len() + feature]);
        let count = rows.len();
        let (first, second) = rows.into_iter().partition(|row| value(row) < threshold);
        let [low, high] = children;
        let children =
            Box::new([Self::below(tree, low, data, part, first), Self::below(tree, high, data, part, second)]);
        let threshold = data.features[feature].raw(threshold);
        let split = Some(ErrorSplit { feature: data.features[feature].name.clone(), threshold, children });
        Self { rows: count, large, split }
    }

    fn write(&self, f: &mut Formatter, indent: usize) -> fmt::Result {
        writeln!(f, "{} of {} rows", self.large, self.rows)?;
        let Some(split) = &self.split else { return Ok(()) };
        for (child, question) in split.children.iter().zip(split.questions()) {
            write!(f, "{:indent$}{question}: ", "")?;
            child.write(f, indent + 2)?;
        }
        Ok(())
    }
}

impl ErrorSplit {
    /// What holds of the rows of the first child and of the second, in words: `X1 < 0.705`.
    pub fn questions(&self) -> [String; 2] {
        // Four digits; thresholds lie half way between two values, so no more are meant.
        let threshold: f64 = format!("{:.3e}", self.threshold).parse().expect("a number was just printed");
        ["<", ">="].map(|sign| format!("{} {sign} {threshold}", self.feature))
    }
}

impl Display for ErrorTree {
    /// One line per node, deeper ones indented.
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        self.write(f, 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flats() -> DataSet {
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../../datasets/example/manifest.toml");
        DataSet::load(manifest.as_ref(), None, None).unwrap()
    }

    #[test]
    fn a_planted_rule_is_found_in_raw_units() {
        let data = flats();
        // Large where the flat has 70 square metres or more (half of 20 to 120) and is heated with gas.
        let rule = |x: &[f32]| x[0] >= 0.5 && x[2] == 1.0;
        let large: Vec<bool> = data.fit.x.chunks(5).map(rule).collect();
        let tree = ErrorTree::grow(&data, &data.fit, &large);
        assert_eq!((tree.rows, tree.large), (128, large.iter().filter(|large| **large).count()));
        let text = tree.to_string();
        assert!(text.contains("heating=gas >= 0.5") && text.contains("area_m2 >= "), "{text}");

        fn leaves(tree: &ErrorTree) -> Vec<&ErrorTree> {
            match &tree.split {
                Some(split) => split.children.iter().flat_map(leaves).collect(),
                None => vec![tree],
            }
        }
        let leaves = leaves(&tree);
        assert!(leaves.iter().all(|leaf| leaf.large == 0 || leaf.large == leaf.rows), "{text}");
        assert_eq!(leaves.iter().map(|leaf| leaf.rows).sum::<usize>(), 128);

        let Some(split) = &tree.split else { panic!("a split") };
        let area = match &split.feature[..] {
            "area_m2" => split.threshold,
            _ => split.children[1].split.as_ref().unwrap().threshold,
        };
        assert!((68.0..=71.0).contains(&area), "{text}");
    }

    #[test]
    fn without_large_errors_there_is_nothing_to_ask() {
        let data = flats();
        let tree = ErrorTree::grow(&data, &data.test, &[false; 40]);
        assert_eq!(tree, ErrorTree { rows: 40, large: 0, split: None });
        assert_eq!(tree.to_string(), "0 of 40 rows\n");
    }

    #[test]
    fn thresholds_are_printed_with_four_digits() {
        let leaf = ErrorTree { rows: 5, large: 0, split: None };
        let split =
            |threshold| ErrorSplit { feature: "X".into(), threshold, children: Box::new([leaf.clone(), leaf.clone()]) };
        assert_eq!(split(0.704_999_98).questions(), ["X < 0.705", "X >= 0.705"]);
        assert_eq!(split(661.500_02).questions()[0], "X < 661.5");
        assert_eq!(split(-0.000_123_45).questions()[0], "X < -0.0001234");
    }
}
