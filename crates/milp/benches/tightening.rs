//! What tighter bounds are worth: a 784-40-20-10 network that reads handwritten digits, and the question whether another
//! digit can be had by changing every pixel by at most so much.
//!
//! `DATASETS_DIR=... cargo bench -p milp --bench tightening -- [RADIUS [IMAGES]]`

mod digits;

use std::time::{Duration, Instant};

use certificate::Layered;
use digits::Digits;
use milp::{Distance, Inverse, Margin, Nearest, Outcome, Question, Tightening};

const LIMIT: Duration = Duration::from_secs(60);

fn main() {
    let numbers: Vec<f64> = std::env::args().filter_map(|arg| arg.parse().ok()).collect();
    let radius = numbers.first().copied().unwrap_or(0.02);
    let count = numbers.get(1).map_or(5, |count| *count as usize);
    let (Some(model), Some(test)) = (digits::train(), Digits::load("t10k", 1000)) else {
        println!("skipped: there is no mnist/ under DATASETS_DIR");
        return;
    };
    let right = |k: &usize| digits::seen(&model, &test.images[*k]) == usize::from(test.labels[*k]);
    let all = (0..test.images.len()).filter(right).count();
    println!("784-40-20-10, {all} of {} test digits right; radius {radius}", test.images.len());
    println!("image  bounds    open units   bounds s   answer");
    let network = Layered::try_from(&model.network).expect("relu only");
    let names: Vec<String> = model.features.iter().map(|feature| feature.name.clone()).collect();
    for k in (0..test.images.len()).filter(right).take(count) {
        let point: Vec<f64> = test.images[k].iter().map(|p| f64::from(*p)).collect();
        let near = |x: f64| certificate::Interval::new((x - radius).max(0.0), (x + radius).min(1.0));
        let ball = certificate::Domain::from_box(point.iter().map(|x| near(*x)).collect()).expect("a box");
        for tightening in [Tightening::Interval, Tightening::Lp, Tightening::Milp] {
            let start = Instant::now();
            let inverse = Inverse::new(&network, &ball, &names, tightening, LIMIT).expect("a network and its box");
            let seconds = start.elapsed().as_secs_f64();
            let question = Question::Nearest(Nearest {
                point: point.clone(),
                units: vec![1.0; 784],
                distance: Distance::Linf,
                target: None,
                margin: Margin { ratio: 1.0, difference: 0.0 },
                largest_change: Some(radius),
                most_changed: None,
                fixed: vec![],
            });
            let answer = inverse.answer(&question, LIMIT).expect("a question that makes sense");
            let said = match &answer.outcome {
                Outcome::Optimal(_) => format!("nearest at {:.5}", answer.bound),
                Outcome::Infeasible(..) => "none".to_owned(),
                Outcome::Undecided(_) => "undecided".to_owned(),
            };
            println!(
                "{k:>5}  {:<8} {:>11} {seconds:>10.2}   {said} in {:.2} s",
                format!("{tightening:?}").to_lowercase(),
                inverse.unstable(),
                answer.seconds
            );
        }
    }
}
