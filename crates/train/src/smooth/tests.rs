use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use certificate::{Interval, Scale};

use super::*;
use crate::data::{DataSet, Part, Task};
use crate::seeds::unit;
use crate::{Error, Stream};

fn load(name: &str, split: &str) -> DataSet {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../datasets/{name}/manifest.toml"));
    DataSet::load(&manifest, Some(split), None).unwrap()
}

fn samples() -> DataSet {
    load("wbc", "file_order")
}

/// The invented flats, with a target that can be an output with ReLU.
fn flats() -> DataSet {
    DataSet { task: Task::Regression { range: Interval::new(0.0, 10.0) }, ..load("example", "random") }
}

fn settings(loss: Loss) -> Settings {
    Settings { loss, inputs: Inputs::Standardised, epsilon: 1e-3, weight_decay: 0.01, starts: 3, iterations: 100 }
}

fn shape(hidden: &[usize], output: OutputActivation) -> Shape {
    Shape { hidden: hidden.to_vec(), output }
}

fn first(part: &Part, rows: usize) -> Part {
    let width = part.x.len() / part.len();
    Part { x: part.x[..rows * width].to_vec(), y: part.y[..rows].to_vec(), rows: part.rows[..rows].to_vec() }
}

fn point(n: usize, seed: u64) -> Vec<f64> {
    let mut rng = Stream::Samples.generator(seed, 0, 0);
    (0..n).map(|_| 2.0 * unit(&mut rng) - 1.0).collect()
}

fn run(problem: &Problem) -> Vec<Start> {
    multistart(problem, 7, &AtomicBool::new(false), &|_| ())
}

#[test]
fn gradients_are_those_of_differences() {
    use OutputActivation::{Linear, Relu};
    let (samples, flats) = (samples(), flats());
    for (data, loss) in
        [(&samples, Loss::ExpectedCorrect), (&samples, Loss::CrossEntropy), (&flats, Loss::LeastSquares)]
    {
        let data = DataSet { fit: first(&data.fit, 20), ..data.clone() };
        for (hidden, output) in [(vec![3], Relu), (vec![4, 3], Linear), (vec![3, 2, 4], Relu)] {
            for inputs in [Inputs::Raw, Inputs::Standardised] {
                let settings = Settings { inputs, epsilon: 0.1, weight_decay: 0.3, ..settings(loss) };
                let problem = Problem::new(&data, &shape(&hidden, output), &settings).unwrap();
                let at = point(problem.parameters(), hidden.len() as u64);
                let mut gradient = vec![f64::NAN; at.len()];
                let value = problem.value_and_gradient(&at, &mut gradient);
                for (k, slope) in gradient.iter().enumerate() {
                    let step = 1e-6;
                    let moved = |by: f64| {
                        let mut moved = at.clone();
                        moved[k] += by;
                        problem.value_and_gradient(&moved, &mut vec![0.0; at.len()])
                    };
                    let difference = (moved(step) - moved(-step)) / (2.0 * step);
                    // The value's own rounding over the step, and the third derivative.
                    let tolerance = 1e-6 * (1.0 + slope.abs()) + 1e-9 * value.abs();
                    assert!((slope - difference).abs() < tolerance, "{loss:?} {hidden:?} {k}: {slope} {difference}");
                }
            }
        }
    }
}

/// (3.2) of the thesis counts it once per row as well.
#[test]
fn the_penalty_is_counted_once() {
    let data = samples();
    let plain = Settings { weight_decay: 0.0, ..settings(Loss::ExpectedCorrect) };
    let decaying = Settings { weight_decay: 0.5, ..plain.clone() };
    let shape = shape(&[3], OutputActivation::Relu);
    let value = |settings: &Settings, at: &[f64]| {
        Problem::new(&data, &shape, settings).unwrap().value_and_gradient(at, &mut vec![0.0; at.len()])
    };
    let at = point(38, 1);
    let penalty = value(&decaying, &at) - value(&plain, &at);
    assert!((penalty - 0.5 * at.iter().map(|w| w * w).sum::<f64>()).abs() < 1e-9, "{penalty}");
    // All outputs alike: every second answer is right.
    assert_eq!(value(&decaying, &[0.0; 38]), -0.5 * 342.0);
}

#[test]
fn the_delivered_network_is_the_exact_one() {
    let (samples, flats) = (samples(), flats());
    for (data, loss) in [(&samples, Loss::ExpectedCorrect), (&flats, Loss::LeastSquares)] {
        for (hidden, output) in [(vec![3], OutputActivation::Relu), (vec![4, 3], OutputActivation::Linear)] {
            for inputs in [Inputs::Raw, Inputs::Standardised] {
                let settings = Settings { inputs, ..settings(loss) };
                let problem = Problem::new(data, &shape(&hidden, output), &settings).unwrap();
                let parameters = point(problem.parameters(), 3);
                let network = problem.network(&parameters).unwrap();
                let outputs = |x: &[f32]| network.evaluate(&x.iter().map(|x| f64::from(*x)).collect::<Vec<_>>());
                let delivered: Vec<Vec<f64>> = data.test.x.chunks(data.features.len()).map(outputs).collect();
                match problem.score(&parameters, Relu::Exact, &data.test) {
                    Score::Accuracy(share) => {
                        let right = delivered.iter().zip(&data.test.y).filter(|(output, y)| {
                            let class = usize::from(**y > 0.5);
                            output[class] > output[1 - class]
                        });
                        assert_eq!(share, right.count() as f64 / data.test.len() as f64);
                    }
                    Score::RelativeError { .. } => {
                        let errors = problem.relative_errors(&parameters, Relu::Exact, &data.test);
                        for ((error, output), y) in errors.iter().zip(&delivered).zip(&data.test.y) {
                            // Scaled by the same number, so the ratio is that of the raw values.
                            let found = ((output[0] - f64::from(*y)) / f64::from(*y)).abs();
                            assert!((error - found).abs() < 1e-4 * (1.0 + error), "{error} {found}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn starts_depend_on_the_seed_and_on_nothing_else() {
    let data = flats();
    let few = Settings { iterations: 15, ..settings(Loss::LeastSquares) };
    let more = Settings { starts: 5, ..few.clone() };
    let shape = shape(&[3], OutputActivation::Relu);
    let problem = Problem::new(&data, &shape, &few).unwrap();
    let found = run(&problem);
    assert_eq!(found.iter().map(|start| start.number).collect::<Vec<_>>(), [0, 1, 2]);
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert_eq!(pool.install(|| run(&problem)), found);
    }
    assert_eq!(run(&Problem::new(&data, &shape, &more).unwrap())[..3], found);
    assert_ne!(multistart(&problem, 8, &AtomicBool::new(false), &|_| ()), found);
    assert_ne!(found[0].minimum, found[1].minimum);
}

/// Raw numbers are folded into the first layer, which a logarithm cannot be.
#[test]
fn raw_inputs_want_linear_scales() {
    let mut data = flats();
    data.features[0].scale = Scale::Symlog;
    let of = |inputs| Settings { inputs, ..settings(Loss::LeastSquares) };
    let [raw, standardised] = [Inputs::Raw, Inputs::Standardised].map(of);
    let shape = shape(&[2], OutputActivation::Linear);
    let message = Problem::new(&data, &shape, &raw).unwrap_err().to_string();
    assert!(message.contains("area_m2") && message.contains("data.scale"), "{message}");
    assert!(Problem::new(&data, &shape, &standardised).is_ok());
}

/// The best of some starts is no worse than the weights that the targets were made with.
#[test]
fn a_planted_network_is_found_or_beaten() {
    let mut data = flats();
    let settings = Settings { starts: 8, iterations: 400, ..settings(Loss::LeastSquares) };
    let shape = shape(&[2], OutputActivation::Linear);
    let planted: Vec<f64> = point(15, 5);
    let made = Problem::new(&data, &shape, &settings).unwrap();
    let y = made.fitted(&planted);
    data.fit.y = y.iter().map(|y| (*y / 10.0) as f32).collect();
    let problem = Problem::new(&data, &shape, &settings).unwrap();
    let planted_value = problem.value_and_gradient(&planted, &mut [0.0; 15]);
    let starts = run(&problem);
    let summary = Summary::of(&starts).unwrap();
    assert!(summary.best_objective <= planted_value + 1e-6, "{summary:?} {planted_value}");
    let best = starts[summary.best as usize].minimum.as_ref().unwrap();
    assert!(best.gradient_norm < 1e-2, "{best:?}");
}

/// The plateau of the file-order split is at -183.947: all 342 get the class of 184.
#[test]
fn dead_outputs_are_told() {
    let data = samples();
    let settings = Settings { inputs: Inputs::Raw, starts: 12, iterations: 60, ..settings(Loss::ExpectedCorrect) };
    let problem = Problem::new(&data, &shape(&[3], OutputActivation::Relu), &settings).unwrap();
    let starts = run(&problem);
    let summary = Summary::of(&starts).unwrap();
    assert!((1..12).contains(&summary.plateau), "{summary:?}");
    for minimum in starts.iter().filter_map(|start| start.minimum.as_ref()) {
        if minimum.plateau {
            assert!((minimum.objective + 183.947).abs() < 1e-3, "{minimum:?}");
            assert_eq!(minimum.smooth.train, Score::Accuracy(184.0 / 342.0));
        } else {
            assert!(minimum.objective < -300.0, "{minimum:?}");
        }
    }
    assert!(!starts[summary.best as usize].minimum.as_ref().unwrap().plateau);

    // A number: nearly the same output for everybody.
    let data = flats();
    let settings = super::tests::settings(Loss::LeastSquares);
    let problem = Problem::new(&data, &shape(&[3], OutputActivation::Relu), &settings).unwrap();
    assert!(problem.is_plateau(&vec![0.0; problem.parameters()]));
    assert!(!problem.is_plateau(&point(problem.parameters(), 3)));
}

#[test]
fn a_start_that_is_not_finite_is_recorded_and_never_chosen() {
    // The squares of such targets are infinite.
    let data = DataSet { task: Task::Regression { range: Interval::new(0.0, 1e200) }, ..flats() };
    let settings = settings(Loss::LeastSquares);
    let problem = Problem::new(&data, &shape(&[3], OutputActivation::Relu), &settings).unwrap();
    let starts = run(&problem);
    assert_eq!(starts.len(), 3);
    assert!(starts.iter().all(|start| start.end == End::Failed && start.minimum.is_none()));
    assert_eq!(Summary::of(&starts), None);

    let fine = run(&Problem::new(&flats(), &shape(&[3], OutputActivation::Relu), &settings).unwrap());
    let mixed = [starts[0].clone(), fine[1].clone(), fine[2].clone()];
    let summary = Summary::of(&mixed).unwrap();
    assert!(summary.best != 0 && summary.failed == 1 && summary.starts == 3, "{summary:?}");
}

#[test]
fn a_stop_leaves_out_what_is_not_finished() {
    let data = flats();
    let settings = Settings { starts: 4, ..settings(Loss::LeastSquares) };
    let problem = Problem::new(&data, &shape(&[3], OutputActivation::Relu), &settings).unwrap();
    let stop = AtomicBool::new(true);
    assert!(multistart(&problem, 0, &stop, &|_| ()).is_empty());
    stop.store(false, Ordering::Relaxed);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let after_first = |_: &Start| stop.store(true, Ordering::Relaxed);
    let kept = pool.install(|| multistart(&problem, 0, &stop, &after_first));
    assert_eq!(kept.len(), 1);
}

#[test]
fn a_tie_is_no_right_answer() {
    let data = samples();
    let settings = settings(Loss::CrossEntropy);
    let problem = Problem::new(&data, &shape(&[3], OutputActivation::Relu), &settings).unwrap();
    assert_eq!(problem.score(&vec![0.0; problem.parameters()], Relu::Exact, &data.test), Score::Accuracy(0.0));
}

#[test]
fn what_cannot_be_asked_is_said() {
    let (samples, flats) = (samples(), flats());
    let good = shape(&[3], OutputActivation::Relu);
    let classes = settings(Loss::ExpectedCorrect);
    let number = settings(Loss::LeastSquares);
    let error = |data: &DataSet, shape: &Shape, settings: &Settings| {
        let Err(Error::Smooth(message)) = Problem::new(data, shape, settings) else { panic!("{settings:?}") };
        message
    };
    for (hidden, found) in [(vec![], "found []"), (vec![3, 0], "found [3, 0]")] {
        let message = error(&samples, &shape(&hidden, OutputActivation::Relu), &classes);
        assert!(message.starts_with("hidden must list") && message.ends_with(found), "{message}");
    }
    for epsilon in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let message = error(&samples, &good, &Settings { epsilon, ..classes.clone() });
        assert!(message.starts_with("epsilon must be a finite number above 0"), "{message}");
    }
    for weight_decay in [-0.1, f64::NAN, f64::INFINITY] {
        let message = error(&samples, &good, &Settings { weight_decay, ..classes.clone() });
        assert!(message.starts_with("weight_decay must be a finite number, 0 or more"), "{message}");
    }
    for (starts, iterations) in [(0, 1), (1, 0)] {
        let message = error(&samples, &good, &Settings { starts, iterations, ..classes.clone() });
        assert!(message.contains("at least 1"), "{message}");
    }
    assert!(error(&samples, &good, &number).contains("the target is a class"));
    assert!(error(&flats, &good, &classes).contains("the target is a number"));
    let from_200 = DataSet { task: Task::Regression { range: Interval::new(200.0, 1800.0) }, ..flats.clone() };
    assert!(error(&from_200, &good, &number).contains("the target's range begins at 200"));
    assert!(Problem::new(&from_200, &shape(&[3], OutputActivation::Linear), &number).is_ok());
    let mut free = flats;
    free.test.y[0] = 0.0;
    assert!(error(&free, &good, &number).contains("a target is 0"));
}
