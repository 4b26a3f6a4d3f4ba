//! What fuzzing does, bounded and repeatable: the seeds of `fuzz/`, changed 20,000 times at random.

use std::fs;
use std::path::Path;

use certificate::{
    Checked, Conclusion, Counterexample, Direction, Domain, Model, Specification, check, contains, exact,
};
use num_rational::BigRational;

#[path = "../../../fuzz/models.rs"]
mod models;

use models::Known;

/// SplitMix64
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % limit as u64) as usize
    }
}

/// Changes that leave most lines readable.
fn edit(random: &mut Random, lines: &mut Vec<String>) {
    let (line, other) = (random.below(lines.len()), random.below(lines.len()));
    match random.below(8) {
        0 if lines.len() > 1 => drop(lines.remove(line)),
        1 => lines.insert(line, lines[other].clone()),
        2 => lines.swap(line, other),
        3 => {
            let marks: Vec<usize> = lines[line].match_indices(['[', ']', ',']).map(|(at, _)| at).collect();
            if !marks.is_empty() {
                let at = marks[random.below(marks.len())];
                lines[line].replace_range(at..=at, ["", "[", "]", ",", ",0"][random.below(5)]);
            }
        }
        _ => {
            let text = lines[line].as_bytes();
            let starts = |at: &usize| text[*at].is_ascii_digit() && (*at == 0 || !text[at - 1].is_ascii_digit());
            let starts: Vec<usize> = (0..text.len()).filter(starts).collect();
            if !starts.is_empty() {
                let start = starts[random.below(starts.len())];
                let end = (start..text.len()).find(|&at| !text[at].is_ascii_digit()).unwrap_or(text.len());
                let old = i128::from(lines[line][start..end].parse::<i64>().unwrap_or(0));
                let extremes = [i128::from(i64::MAX), i128::from(u64::MAX), 1 << random.below(40), -1, 0, 2];
                let new = [-old, old + 1, old - 1, 2 * old, extremes[random.below(6)]][random.below(5)];
                lines[line].replace_range(start..end, &new.to_string());
            }
        }
    }
}

fn damage(random: &mut Random, bytes: &mut Vec<u8>) {
    let (place, other) = (random.below(bytes.len()), random.below(bytes.len()));
    match random.below(5) {
        0 => bytes[place] ^= 1 << random.below(8),
        1 => bytes[place] = b"0123456789-.,[]{}\"\n"[random.below(19)],
        2 if bytes.len() > 1 => drop(bytes.remove(place)),
        3 => bytes.insert(place, bytes[other]),
        _ => {
            let piece = bytes[place.min(other)..place.max(other)].to_vec();
            bytes.splice(place..place, piece);
        }
    }
}

/// Whether a row moves against a direction between points of the domain, on lines through its corners and middle.
/// Looked for in `f64`, decided exactly.
fn falls(model: &Model, domain: &Domain, Specification { directions, rows }: &Specification) -> bool {
    let outputs = |x: &[f64]| rows.evaluate(model.network.evaluate(x));
    let exact_outputs = |x: &[BigRational]| exact::rows(rows, exact::network(&model.network, x).unwrap());
    let with = |x: &[f64], j: usize, value: f64| [&x[..j], &[value], &x[j + 1..]].concat();
    let values = |j: usize, parts: u32| -> Vec<f64> {
        let side = domain.input_box()[j];
        let feature = domain.integer().iter().find(|feature| feature.input == j);
        let parts = feature.map_or(parts, |feature| feature.steps.min(16));
        (0..=parts).map(|k| side.lower + (side.upper - side.lower) * f64::from(k) / f64::from(parts)).collect()
    };
    let grouped = domain.one_hot().concat();
    let mut points = vec![vec![0.0; domain.inputs()]];
    for group in domain.one_hot() {
        points = points.iter().flat_map(|x| group.iter().map(|&one| with(x, one, 1.0))).collect();
    }
    for j in (0..domain.inputs()).filter(|j| !grouped.contains(j)) {
        points = points.iter().flat_map(|x| values(j, 2).into_iter().map(|value| with(x, j, value))).collect();
    }
    let exactly = |x: &[f64]| x.iter().map(|x| exact::rational(*x)).collect::<Vec<BigRational>>();
    for (input, direction) in directions.0.iter().enumerate().filter(|(_, direction)| **direction != Direction::Free) {
        let mut along = values(input, 16);
        if *direction == Direction::Decreasing {
            along.reverse();
        }
        for (point, step) in points.iter().flat_map(|point| along.windows(2).map(move |step| (point, step))) {
            let [before, after] = [step[0], step[1]].map(|value| with(point, input, value));
            let mut values = outputs(&before).into_iter().zip(outputs(&after));
            if values.any(|(before, after)| after < before) {
                let (before, after) = (exactly(&before), exactly(&after));
                let mut values = exact_outputs(&before).into_iter().zip(exact_outputs(&after));
                let fell = values.any(|(before, after)| after < before);
                if fell && contains(domain, &before) && contains(domain, &after) {
                    return true;
                }
            }
        }
    }
    false
}

/// Fails if something false was accepted.
fn judge(known: &Known, checked: &Checked) {
    let Known { name, model, monotone, .. } = known;
    let Checked { conclusion, domain, specification, counterexample, .. } = checked;
    let own = *domain == model.domain && *specification == model.specification();
    match (conclusion, counterexample) {
        (Conclusion::Certified, None) => {
            assert!(*monotone || !own, "{name} is not monotone");
            assert!(!falls(model, domain, specification), "{name} falls: {checked:?}");
        }
        (Conclusion::Refuted, Some(pair)) => {
            assert!(!monotone || !own, "{name} is monotone");
            let claim = (pair.row, pair.input, specification.directions.0[pair.input]);
            let points = (pair.lower.clone(), pair.upper.clone());
            let confirmed = Counterexample::confirm(domain, claim, points, |x| {
                Ok(exact::rows(&specification.rows, exact::network(&model.network, x)?))
            });
            assert_eq!(confirmed.unwrap().as_ref(), Some(pair));
        }
        (Conclusion::Undecided, None) => {}
        _ => panic!("{checked:?}"),
    }
}

#[test]
fn changes_of_the_seeds_prove_nothing_false() {
    let files = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/seeds/check")).unwrap();
    let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    paths.sort();
    let about = |path: &Path, name: &str| path.file_name().unwrap().to_str().unwrap().starts_with(name);
    let known = models::all();
    let mut random = Random(1);
    let mut accepted = 0;
    for round in 0..20_000 {
        let known = &known[random.below(known.len())];
        // Mostly what is about this model or its twin, and always with the right hash.
        let fitting = paths.iter().filter(|path| random.below(8) == 0 || about(path, known.name));
        let fitting: Vec<_> = fitting.collect();
        let seed = fs::read(fitting[random.below(fitting.len())]).unwrap();
        let mut bytes = known.certificate(&seed);
        if round % 3 == 0 {
            for _ in 0..1 + random.below(3) {
                damage(&mut random, &mut bytes);
            }
        } else {
            let mut lines: Vec<String> = String::from_utf8(bytes).unwrap().lines().map(Into::into).collect();
            lines.pop();
            for _ in 0..1 + random.below(4) {
                edit(&mut random, &mut lines);
            }
            let end = format!("{{\"end\":{{\"steps\":{}}}}}\n", lines.len() - 1);
            bytes = (lines.join("\n") + "\n" + &end).into_bytes();
        }
        if let Ok(checked) = check(&bytes[..], &known.model) {
            judge(known, &checked);
            accepted += 1;
        }
    }
    assert!(accepted > 400, "{accepted}");
}
