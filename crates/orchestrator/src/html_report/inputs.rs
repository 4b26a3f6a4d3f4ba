//! Tables with a line for each input, in which hundreds of free ones do not bury the few with a direction.

use super::markup::{Markup, folded, table};

/// Free inputs that are shown among the others; more are folded away.
const SHOWN: usize = 24;

/// A line about an input or a column.
pub struct Line {
    /// Whether nothing is claimed about it.
    pub free: bool,
    /// What stands in it.
    pub cells: Vec<Markup>,
}

/// The lines under their headings, in their order. Many free ones among others come below, where a click shows them; `about` says
/// what is to be known of them without it.
pub fn inputs_table(headings: &[&str], lines: Vec<Line>, about: &str) -> Markup {
    let of = |lines: Vec<Line>| table(headings, lines.into_iter().map(|line| line.cells));
    let free = lines.iter().filter(|line| line.free).count();
    if free <= SHOWN || free == lines.len() {
        return of(lines);
    }
    let (free_lines, others) = lines.into_iter().partition(|line| line.free);
    [of(others), folded(format!("{free} free inputs: {about}"), of(free_lines))].into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(free: usize, others: usize) -> Vec<Line> {
        let line = |k: usize| Line { free: k < free, cells: vec![format!("input {k}.").into()] };
        (0..free + others).map(line).collect()
    }

    #[test]
    fn many_free_inputs_come_last_and_none_is_left_out() {
        let folded = inputs_table(&["input"], lines(SHOWN + 1, 2), "about them");
        let Some((shown, below)) = folded.text().split_once("<details>") else { panic!("{}", folded.text()) };
        assert!(below.contains("<summary>25 free inputs: about them</summary>"), "{below}");
        for k in 0..SHOWN + 3 {
            let place = if k < SHOWN + 1 { below } else { shown };
            assert!(place.contains(&format!("input {k}.")), "{k} in {place}");
        }
    }

    #[test]
    fn a_few_stay_in_their_order_and_so_do_all_without_a_direction() {
        for (free, others) in [(SHOWN, 2), (SHOWN + 1, 0)] {
            let rows = lines(free, others).into_iter().map(|line| line.cells);
            assert_eq!(inputs_table(&["input"], lines(free, others), ""), table(&["input"], rows));
        }
    }
}
