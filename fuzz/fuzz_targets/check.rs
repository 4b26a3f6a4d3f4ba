//! Any bytes, taken as a certificate: the checker must not panic, certify what is not monotone, or refute what is.
//!
//! `cargo +nightly fuzz run check fuzz/corpus/check fuzz/seeds/check -- -max_len=4096`; with a stable compiler
//! `cargo fuzz run -s none check ...`, which is faster and does without the address sanitizer.

#![no_main]

use std::sync::LazyLock;

use certificate::{Conclusion, check};
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

#[path = "../models.rs"]
mod models;

static KNOWN: LazyLock<Vec<models::Known>> = LazyLock::new(models::all);

fuzz_target!(|bytes: &[u8]| {
    for known in KNOWN.iter() {
        let model = &known.model;
        let Ok(checked) = check(&known.certificate(bytes)[..], model) else { continue };
        // About another domain or another specification another claim may be true.
        if checked.domain == model.domain && checked.specification == model.specification() {
            let name = known.name;
            match checked.conclusion {
                Conclusion::Certified => assert!(known.monotone, "{name} is not monotone, but it was certified"),
                Conclusion::Refuted => assert!(!known.monotone, "{name} is monotone, but it was refuted"),
                Conclusion::Undecided => {}
            }
        }
    }
});

/// Steps that a proof may be changed to; `0` becomes another digit now and then.
const STEPS: [&str; 7] = [
    r#"{"split":{"neuron":0}}"#,
    r#"{"split":{"group":0}}"#,
    r#"{"split":{"integer":{"input":0,"at":0}}}"#,
    r#"{"tighten":{"exponent":0,"upper":[[0,[[0,0]]]],"lower":[]}}"#,
    r#"{"tighten":{"exponent":0,"upper":[],"lower":[[0,[[0,0]]]]}}"#,
    r#"{"bound":{"exponent":0,"multipliers":[[0,0]]}}"#,
    r#"{"empty":{"multipliers":[[0,"0"]]}}"#,
];

// Bytes changed at random are hardly ever a proof. Half of the changes are made to steps and numbers instead.
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let mut random = seed;
    let mut roll = |sides: usize| {
        // The constants of Numerical Recipes' generator; its upper half is random enough for this.
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (random >> 16) as usize % sides
    };
    if roll(2) == 0 {
        return fuzzer_mutate(data, size, max_size);
    }
    let mut lines: Vec<Vec<u8>> = data[..size].split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    let (line, other) = (roll(lines.len().max(1)), roll(lines.len().max(1)));
    match roll(6) {
        0 => lines.insert(line, format!("{}\n", STEPS[roll(STEPS.len())]).into_bytes()),
        _ if lines.is_empty() => {}
        1 => drop(lines.remove(line)),
        2 => lines.swap(line, other),
        3 => lines.insert(other, lines[line].clone()),
        4 => {
            // A list loses what is in it.
            let text = &mut lines[line];
            let begin = text.windows(2).position(|pair| pair == b"[[").map(|k| k + 1);
            let end = text.windows(2).rposition(|pair| pair == b"]]").map(|k| k + 1);
            if let (Some(begin), Some(end)) = (begin, end)
                && begin < end
            {
                text.drain(begin..end);
            }
        }
        _ => {
            let digits: Vec<_> = (0..lines[line].len()).filter(|&k| lines[line][k].is_ascii_digit()).collect();
            if !digits.is_empty() {
                let number = ["0", "1", "2", "3", "9", "-1", "-2", "10"][roll(8)];
                let k = digits[roll(digits.len())];
                lines[line].splice(k..=k, number.bytes());
            }
        }
    }
    let changed = lines.concat();
    let size = changed.len().min(max_size);
    data[..size].copy_from_slice(&changed[..size]);
    size
});
