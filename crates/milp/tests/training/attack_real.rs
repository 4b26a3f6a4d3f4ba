//! Real weights: no local search from any start is below the bound. Certified training: no monotone network of a grid is.

use certificate::{Direction, Domain, Interval, MonotoneFeatures};
use milp::training::{Constraint, End, Gates, LayerWeights, descend, train_certified, two_layer_optimum};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

fn pick<T: Clone>(rng: &mut ChaCha8Rng, of: &[T]) -> T {
    of[rng.random_range(0..of.len())].clone()
}

/// A problem of one hidden layer with real hidden weights, whose output counts units up or down.
struct Absorbed {
    inputs: usize,
    units: usize,
    w: (f64, f64),
    b: (f64, f64),
    c: (f64, f64),
    l1: f64,
    l2: f64,
    per_unit: Option<f64>,
    fixed: Option<Vec<f64>>,
    weight: Option<(usize, usize, f64, f64)>,
    anchor: Option<(Vec<f64>, usize, f64)>,
    samples: Vec<Vec<f64>>,
    targets: Targets,
    loss: Loss,
    signs: Option<Vec<f64>>,
}

impl Absorbed {
    fn sides(&self) -> Vec<(f64, f64)> {
        let mut sides = Vec::new();
        for j in 0..self.units {
            for k in 0..self.inputs {
                let (mut l, mut u) = self.w;
                if let Some((unit, input, lower, upper)) = self.weight
                    && (unit, input) == (j, k)
                {
                    (l, u) = (l.max(lower), u.min(upper));
                }
                sides.push((l, u));
            }
        }
        for j in 0..self.units {
            sides.push(self.fixed.as_ref().map_or(self.b, |f| (f[j], f[j])));
        }
        sides.push(self.c);
        sides
    }

    fn objective(&self, p: &[f64], signs: &[f64]) -> f64 {
        let (n, m) = (self.inputs, self.units);
        let mut value = 0.0;
        if let Some((x, input, sign)) = &self.anchor {
            let mut slope = 0.0;
            for j in 0..m {
                let t: f64 = x.iter().zip(&p[j * n..]).map(|(x, w)| x * w).sum::<f64>() + p[n * m + j];
                let d = signs[j] * p[j * n + input] * sign;
                slope += if t.abs() < 1e-9 {
                    d.max(0.0)
                } else if t > 0.0 {
                    d
                } else {
                    0.0
                };
            }
            if slope < 0.0 {
                return f64::INFINITY;
            }
        }
        for (i, x) in self.samples.iter().enumerate() {
            let mut f = p[n * m + m];
            for j in 0..m {
                let t: f64 = x.iter().zip(&p[j * n..]).map(|(x, w)| x * w).sum::<f64>() + p[n * m + j];
                f += signs[j] * t.max(0.0);
            }
            value += match (&self.targets, self.loss) {
                (Targets::Values(y), Loss::L1) => (f - y[i][0]).abs(),
                (Targets::Values(y), _) => (f - y[i][0]).powi(2),
                (Targets::Classes(y), loss) => {
                    let margin = if y[i] == 1 { f } else { -f };
                    match loss {
                        Loss::Hinge => (1.0 - margin).max(0.0),
                        Loss::ZeroOne { margin: delta } => f64::from(margin < delta),
                        _ => (1.0 + (-margin).exp()).ln(),
                    }
                }
            };
        }
        value += p[..n * m].iter().map(|w| self.l1 * w.abs() + self.l2 * w * w).sum::<f64>();
        if let Some(cost) = self.per_unit {
            let used = (0..m).filter(|j| p[n * m + j] != 0.0 || p[j * n..(j + 1) * n].iter().any(|w| *w != 0.0));
            value += cost * used.count() as f64;
        }
        value
    }

    fn problem(&self) -> Problem {
        let real = |(lower, upper): (f64, f64)| WeightDomain::Real { lower, upper };
        let mut hidden = Parameters::new(self.units, real(self.w), real(self.b));
        if let Some(fixed) = &self.fixed {
            hidden.biases = WeightDomain::Fixed(fixed.clone());
        }
        (hidden.l1, hidden.l2) = (self.l1, self.l2);
        hidden.gates = Gates { units: self.per_unit, ..Gates::default() };
        let signs = self.signs.clone();
        let output = Parameters::new(1, signs.map_or(WeightDomain::real(1.0), WeightDomain::Fixed), real(self.c));
        let mut constraints = Vec::new();
        if let Some((unit, input, lower, upper)) = self.weight {
            constraints.push(Constraint::Weight { layer: 0, unit, input, lower, upper });
        }
        if let Some((point, input, sign)) = &self.anchor {
            let direction = if *sign > 0.0 { Direction::Increasing } else { Direction::Decreasing };
            constraints.push(Constraint::Anchored { point: point.clone(), input: *input, direction });
        }
        Problem {
            input: Shape::list(self.inputs),
            layers: vec![Layer::Dense(hidden), Layer::Relu, Layer::Dense(output)],
            samples: self.samples.clone(),
            targets: self.targets.clone(),
            loss: self.loss,
            products: if self.signs.is_some() { Products::OneHot } else { Products::Absorbed },
            constraints,
        }
    }
}

fn draw(seed: u64) -> Absorbed {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let rng = &mut rng;
    let (inputs, units) = (rng.random_range(1..=2), rng.random_range(1..=2));
    let count = rng.random_range(2..=5);
    let mut samples: Vec<Vec<f64>> =
        (0..count).map(|_| (0..inputs).map(|_| f64::from(rng.random_range(-4..=4)) / 4.0).collect()).collect();
    if rng.random_bool(0.3) {
        samples[1] = samples[0].clone();
    }
    if rng.random_bool(0.3) {
        samples[0].fill(0.0);
    }
    let loss = pick(rng, &[Loss::L1, Loss::Hinge, Loss::ZeroOne { margin: 0.125 }, Loss::Squared, Loss::CrossEntropy]);
    let targets = if matches!(loss, Loss::L1 | Loss::Squared) {
        Targets::Values((0..count).map(|_| vec![f64::from(rng.random_range(-6..=6)) / 4.0]).collect())
    } else {
        Targets::Classes((0..count).map(|i| if i < 2 { i } else { rng.random_range(0..2) }).collect())
    };
    let boxes = [(-1.0, 1.0), (-2.0, 2.0), (-0.5, 1.5), (0.0, 1.0), (-3.0, 0.0), (-0.3, 0.7)];
    let per_unit = rng.random_bool(0.3).then(|| pick(rng, &[0.0, 0.125]));
    let (w, b, c) = (pick(rng, &boxes), pick(rng, &boxes), pick(rng, &boxes));
    let fixed = (per_unit.is_none() && rng.random_bool(0.25))
        .then(|| (0..units).map(|_| f64::from(rng.random_range(-2..=2)) / 2.0).collect());
    let weight = rng.random_bool(0.3).then(|| {
        let (lower, upper) = pick(rng, &[(0.25, 5.0), (-5.0, -0.125), (-0.25, 0.25)]);
        (rng.random_range(0..units), rng.random_range(0..inputs), lower, upper)
    });
    let weight = weight.filter(|v| v.2 <= w.1 && v.3 >= w.0);
    let anchor = rng.random_bool(0.3).then(|| {
        let point = (0..inputs).map(|_| f64::from(rng.random_range(-4..=4)) / 4.0).collect();
        (point, rng.random_range(0..inputs), pick(rng, &[1.0, -1.0]))
    });
    let signs = rng.random_bool(0.4).then(|| (0..units).map(|_| pick(rng, &[1.0, -1.0])).collect());
    let penalty = |rng: &mut ChaCha8Rng| if rng.random_bool(0.3) { 0.0625 } else { 0.0 };
    Absorbed {
        inputs,
        units,
        w,
        b,
        c,
        l1: penalty(rng),
        l2: penalty(rng),
        per_unit,
        fixed,
        weight,
        anchor,
        samples,
        targets,
        loss,
        signs,
    }
}

/// Pattern search from many starts, over all signs.
fn search(a: &Absorbed, seed: u64, starts: usize) -> (f64, Vec<f64>) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0xabc);
    let sides = a.sides();
    let mut best = (f64::INFINITY, vec![]);
    for _ in 0..starts {
        let signs: Vec<f64> =
            a.signs.clone().unwrap_or_else(|| (0..a.units).map(|_| pick(&mut rng, &[1.0, -1.0])).collect());
        let mut p: Vec<f64> = sides
            .iter()
            .map(|(l, u)| {
                let x = l
                    + (u - l)
                        * match rng.random_range(0..3) {
                            0 => rng.random::<f64>(),
                            1 => f64::from(rng.random_range(0..=4)) / 4.0,
                            _ => f64::from(rng.random_range(0..=1)),
                        };
                if rng.random_bool(0.2) && *l <= 0.0 && *u >= 0.0 { 0.0 } else { x }
            })
            .collect();
        let mut value = a.objective(&p, &signs);
        let mut step = 0.5;
        while step > 1e-5 {
            let mut better = false;
            for _ in 0..4 * p.len() {
                let mut q = p.clone();
                let k = rng.random_range(0..p.len());
                match rng.random_range(0..3) {
                    0 => q[k] += pick(&mut rng, &[-step, step]),
                    1 => q.iter_mut().for_each(|x| *x += step * (2.0 * rng.random::<f64>() - 1.0)),
                    _ => {
                        let l = rng.random_range(0..p.len());
                        q[k] += pick(&mut rng, &[-step, step]);
                        q[l] += pick(&mut rng, &[-step, step]);
                    }
                }
                q.iter_mut().zip(&sides).for_each(|(x, (l, u))| *x = x.clamp(*l, *u));
                let v = a.objective(&q, &signs);
                if v < value {
                    (p, value, better) = (q, v, true);
                }
            }
            if !better {
                step *= 0.5;
            }
        }
        if value < best.0 {
            best = (value, [p, signs].concat());
        }
    }
    best
}

#[test]
fn no_local_search_is_below_the_bound() {
    let (first, count) = (number("ATTACK_FIRST", 0), number("ATTACK_COUNT", 10));
    let (mut wrong, mut ends, mut far) = (Vec::new(), std::collections::BTreeMap::new(), 0);
    for seed in first..first + count {
        let a = draw(seed);
        let (found, p) = search(&a, seed, number("ATTACK_STARTS", 20) as usize);
        let problem = a.problem();
        let mut fault = |text: String| {
            println!("seed {seed}: {text}\n  {p:?}\n  {problem:?}");
            wrong.push(seed);
        };
        let start = (seed % 3 == 0).then(|| {
            let sides = a.sides();
            let middle: Vec<f64> = sides.iter().map(|(l, u)| 0.5 * (l + u)).collect();
            let n = a.inputs * a.units;
            let signs =
                a.signs.clone().unwrap_or_else(|| (0..a.units).map(|j| if j == 0 { -0.5 } else { 0.5 }).collect());
            vec![
                LayerWeights { weights: middle[..n].to_vec(), biases: middle[n..n + a.units].to_vec() },
                LayerWeights { weights: signs, biases: middle[n + a.units..].to_vec() },
            ]
        });
        match train(&problem, &Cbc, &Options { start, time_limit_s: 20.0, ..Options::default() }) {
            Err(error) => {
                *ends.entry("error".to_string()).or_insert(0) += 1;
                if found < f64::INFINITY || !matches!(error, milp::Error::Contradictory(_)) {
                    fault(format!("{error}, but {found}"));
                }
            }
            Ok(trained) => {
                let o = &trained.optimum;
                *ends.entry(format!("{:?}", o.end).chars().take(9).collect()).or_insert(0) += 1;
                if o.bound.unwrap() > found + 1e-6 {
                    fault(format!("BOUND {:?} above {found}: {o:?}", o.bound));
                } else if o.end == End::Optimal {
                    let fitted = trained.fitted.unwrap();
                    if o.objective.unwrap() > found + 2e-4 {
                        fault(format!("objective {:?} above {found}", o.objective));
                    }
                    let p =
                        [&fitted.weights[0].weights[..], &fitted.weights[0].biases, &fitted.weights[1].biases].concat();
                    let own = Absorbed { anchor: None, ..draw(seed) }.objective(&p, &fitted.weights[1].weights);
                    let per_unit = a.per_unit.unwrap_or(0.0);
                    if (own - o.objective.unwrap()).abs() > 1e-5 + per_unit && !matches!(a.loss, Loss::ZeroOne { .. }) {
                        fault(format!("objective {:?} is {own}", o.objective));
                    }
                    far += u64::from(found > o.objective.unwrap() + 1e-2);
                } else if o.end != End::TimeLimit {
                    fault(format!("end {:?}, search {found}", o.end));
                }
            }
        }
    }
    println!("{ends:?}, the search was far from the optimum {far} times");
    assert!(wrong.is_empty(), "{wrong:?}");
}

/// Exactly, over the box: the derivative of every cell with an inside has the right sign. One hidden layer.
fn is_monotone(weights: &[LayerWeights], sides: &[Interval], directions: &[Direction]) -> bool {
    let (n, m) = (sides.len(), weights[0].biases.len());
    let outputs = weights[1].biases.len();
    let pieces = if n == 1 { 4001 } else { 61 };
    let points = (pieces as usize).pow(n as u32);
    for code in 0..points {
        let x: Vec<f64> = (0..n)
            .map(|j| {
                let k = code / (pieces as usize).pow(j as u32) % pieces as usize;
                // Off every hyperplane with small numbers.
                let share = (k as f64 + 0.5 + 0.0137 * (j + 1) as f64) / (f64::from(pieces) + 0.1);
                sides[j].lower + share * (sides[j].upper - sides[j].lower)
            })
            .collect();
        for (j, direction) in directions.iter().enumerate() {
            for o in 0..outputs {
                let mut slope = 0.0;
                for unit in 0..m {
                    let row = &weights[0].weights[unit * n..][..n];
                    let t = row.iter().zip(&x).map(|(w, x)| w * x).sum::<f64>() + weights[0].biases[unit];
                    slope += if t > 0.0 { weights[1].weights[o * m + unit] * row[j] } else { 0.0 };
                }
                if slope * direction.sign() < -1e-12 {
                    return false;
                }
            }
        }
    }
    true
}

#[test]
fn no_monotone_network_is_below_the_certified_bound() {
    let (first, count) = (number("ATTACK_FIRST", 0), number("ATTACK_COUNT", 6));
    let (mut wrong, mut by_anchors, mut rounds) = (Vec::new(), 0, 0);
    for seed in first..first + count {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let rng = &mut rng;
        let inputs = pick(rng, &[1, 1, 2]);
        let units = if inputs == 1 { 2 } else { pick(rng, &[1, 2]) };
        let outputs = if inputs == 1 && rng.random_bool(0.2) { 2 } else { 1 };
        let grids: &[WeightDomain] = &[
            WeightDomain::integers(-1, 1),
            WeightDomain::Grid { lower: -0.5, step: 0.5, steps: 3 },
            WeightDomain::Grid { lower: -1.0, step: 2.0, steps: 1 },
            WeightDomain::integers(-2, 1),
        ];
        let any = |rng: &mut ChaCha8Rng, n: usize| {
            if rng.random_bool(0.2) {
                WeightDomain::Fixed((0..n).map(|_| pick(rng, &[-1.0, -0.5, 0.5, 1.0, 1.0])).collect())
            } else {
                pick(rng, grids)
            }
        };
        let hidden = Parameters::new(units, any(rng, inputs * units), any(rng, units));
        let output = Parameters::new(outputs, any(rng, units * outputs), any(rng, outputs));
        let sides: Vec<Interval> = (0..inputs)
            .map(|_| {
                pick(
                    rng,
                    &[
                        Interval::new(0.0, 1.0),
                        Interval::new(-1.0, 1.0),
                        Interval::new(0.0, 2.0),
                        Interval::new(0.5, 1.5),
                    ],
                )
            })
            .collect();
        let directions: Vec<Direction> = loop {
            let d: Vec<_> = (0..inputs)
                .map(|_| pick(rng, &[Direction::Increasing, Direction::Decreasing, Direction::Free]))
                .collect();
            if d.iter().any(|d| *d != Direction::Free) {
                break d;
            }
        };
        let n = rng.random_range(3..=5);
        let samples: Vec<Vec<f64>> = (0..n)
            .map(|_| {
                sides.iter().map(|s| s.lower + (s.upper - s.lower) * f64::from(rng.random_range(0..=4)) / 4.0).collect()
            })
            .collect();
        let y = (0..n).map(|_| (0..outputs).map(|_| f64::from(rng.random_range(-4..=4)) / 4.0).collect()).collect();
        let problem = Problem {
            input: Shape::list(inputs),
            layers: vec![Layer::Dense(hidden.clone()), Layer::Relu, Layer::Dense(output.clone())],
            samples,
            targets: Targets::Values(y),
            loss: Loss::L1,
            products: pick(rng, &[Products::OneHot, Products::BinaryExpansion]),
            constraints: vec![],
        };
        let values = |domain: &WeightDomain, k: usize| match domain {
            WeightDomain::Grid { lower, step, steps } => (0..=*steps).map(|j| lower + step * f64::from(j)).collect(),
            WeightDomain::Fixed(v) => vec![v[k]],
            WeightDomain::Real { .. } => unreachable!(),
        };
        let mut choices: Vec<Vec<f64>> = Vec::new();
        for (p, count) in [(&hidden, inputs * units), (&output, units * outputs)] {
            (0..count).for_each(|k| choices.push(values(&p.weights, k)));
            (0..p.outputs).for_each(|k| choices.push(values(&p.biases, k)));
        }
        if choices.iter().map(|c| c.len() as f64).product::<f64>() > 70_000.0 {
            continue;
        }
        let mut at = vec![0; choices.len()];
        let (mut best, mut best_weights) = (f64::INFINITY, vec![]);
        'all: loop {
            let mut p = choices.iter().zip(&at).map(|(c, k)| c[*k]);
            let layer = |p: &mut dyn Iterator<Item = f64>, n: usize, m: usize| LayerWeights {
                weights: p.take(n).collect(),
                biases: p.take(m).collect(),
            };
            let weights = vec![layer(&mut p, inputs * units, units), layer(&mut p, units * outputs, outputs)];
            let Targets::Values(y) = &problem.targets else { unreachable!() };
            let mut loss = 0.0;
            for (x, y) in problem.samples.iter().zip(y) {
                let h: Vec<f64> = (0..units)
                    .map(|j| {
                        (weights[0].weights[j * inputs..][..inputs].iter().zip(x).map(|(w, x)| w * x).sum::<f64>()
                            + weights[0].biases[j])
                            .max(0.0)
                    })
                    .collect();
                for o in 0..outputs {
                    loss += (weights[1].biases[o]
                        + h.iter().zip(&weights[1].weights[o * units..]).map(|(h, v)| h * v).sum::<f64>()
                        - y[o])
                        .abs();
                }
            }
            if loss < best && is_monotone(&weights, &sides, &directions) {
                (best, best_weights) = (loss, weights);
            }
            for k in 0..at.len() {
                at[k] += 1;
                if at[k] < choices[k].len() {
                    continue 'all;
                }
                at[k] = 0;
            }
            break;
        }
        let domain = Domain::new(sides.clone(), vec![], vec![]).unwrap();
        let found = train_certified(
            &problem,
            &domain,
            &MonotoneFeatures(directions.clone()),
            &Cbc,
            &Options { time_limit_s: 20.0, ..Options::default() },
            &milp::Options::default(),
            25,
        );
        let mut fault = |text: String| {
            println!("seed {seed}: {text}; best {best} {best_weights:?}\n  {problem:?} {sides:?} {directions:?}");
            wrong.push(seed);
        };
        match found {
            Err(error) => {
                if best < f64::INFINITY {
                    fault(format!("{error}"));
                }
            }
            Ok(found) => {
                rounds += found.rounds.len();
                by_anchors += u64::from(found.by_anchors);
                if found.bound.is_some_and(|bound| bound > best + 1e-6) {
                    fault(format!("BOUND {:?} {:?}", found.bound, found.rounds));
                }
                if let Some(trained) = &found.trained {
                    let fitted = trained.fitted.as_ref().unwrap();
                    if !is_monotone(&fitted.weights, &sides, &directions) {
                        fault("certified, but not monotone".into());
                    }
                    if found.by_anchors && (trained.optimum.objective.unwrap() - best).abs() > 2e-4 {
                        fault(format!("objective {:?}", trained.optimum));
                    }
                } else {
                    println!("seed {seed}: nothing certified, best {best}, {:?}", found.rounds);
                }
            }
        }
    }
    println!("by anchors {by_anchors}, rounds {rounds}");
    assert!(wrong.is_empty(), "{wrong:?}");
}

/// The objectives of gradient training are those of its networks, and no start is below the bound.
#[test]
fn no_descent_is_below_the_bound() {
    let (first, count) = (number("ATTACK_FIRST", 0), number("ATTACK_COUNT", 4));
    for seed in first..first + count {
        let a = Absorbed { weight: None, anchor: None, fixed: None, ..draw(seed) };
        let problem = a.problem();
        let Ok(Some(found)) =
            descend(&problem, 10, 200, |start| ChaCha8Rng::seed_from_u64(seed * 100 + u64::from(start)))
        else {
            panic!("{seed}")
        };
        let trained = match train(
            &problem,
            &Cbc,
            &Options { start: Some(found.weights.clone()), time_limit_s: 20.0, ..Options::default() },
        ) {
            Ok(trained) => trained,
            Err(error) => panic!("seed {seed}: {error} {problem:?}"),
        };
        let o = trained.optimum;
        assert!(o.bound.unwrap() <= found.best() + 1e-6, "seed {seed}: {found:?} {o:?} {problem:?}");
        if o.end != End::Optimal {
            println!("seed {seed} {:?}", o.end);
        }
        if let milp::training::Start::Given { objective } = o.start {
            assert!(
                (objective - found.best()).abs() < 1e-4 || matches!(a.loss, Loss::ZeroOne { .. }),
                "seed {seed}: {objective} {found:?} {problem:?}"
            );
        } else {
            println!("seed {seed}: start {:?} of {:?} {problem:?}", o.start, found.weights);
        }
    }
}

/// The same for the convex programme.
#[test]
fn no_network_is_below_the_convex_bound() {
    let (first, count) = (number("ATTACK_FIRST", 0), number("ATTACK_COUNT", 10));
    for seed in first..first + count {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let rng = &mut rng;
        let inputs = rng.random_range(1..=2);
        let n = rng.random_range(1..=5);
        let scale = pick(rng, &[0.25, 1.0, 10.0, 100.0]);
        let mut samples: Vec<Vec<f64>> =
            (0..n).map(|_| (0..inputs).map(|_| scale * f64::from(rng.random_range(-4..=4)) / 4.0).collect()).collect();
        if n > 1 && rng.random_bool(0.4) {
            samples[1] = samples[0].clone();
        }
        if rng.random_bool(0.3) {
            samples[0].fill(0.0);
        }
        let y: Vec<f64> = (0..n).map(|_| f64::from(rng.random_range(-4..=4)) / 4.0).collect();
        let decay = pick(rng, &[0.01, 0.1, 1.0]);
        let o = match two_layer_optimum(&samples, &y, decay) {
            Ok(o) => o,
            Err(e) => {
                println!("seed {seed}: {e} {samples:?} {y:?} {decay}");
                continue;
            }
        };
        assert!(o.bound <= o.objective + 1e-9, "{seed} {o:?}");
        if o.objective - o.bound > 1e-4 {
            println!("seed {seed}: gap {} of {} scale {scale} decay {decay}", o.objective - o.bound, o.objective);
        }
        // Units (w, b) with sign; the norm is decay * |(w, b)|, the convex form of the same cost.
        let units = 3;
        let d = inputs + 1;
        let value = |p: &[f64], signs: &[f64]| {
            let mut v = 0.0;
            for (x, y) in samples.iter().zip(&y) {
                let f: f64 = (0..units)
                    .map(|j| {
                        signs[j]
                            * (x.iter().zip(&p[j * d..]).map(|(x, w)| x * w).sum::<f64>() + p[j * d + inputs]).max(0.0)
                    })
                    .sum();
                v += 0.5 * (f - y).powi(2);
            }
            v + decay * p.chunks(d).map(|u| u.iter().map(|w| w * w).sum::<f64>().sqrt()).sum::<f64>()
        };
        let mut best = f64::INFINITY;
        for _ in 0..10 {
            let signs: Vec<f64> = (0..units).map(|_| pick(rng, &[1.0, -1.0])).collect();
            let mut p: Vec<f64> = (0..units * d)
                .map(|_| if rng.random_bool(0.3) { 0.0 } else { rng.random_range(-1.0..1.0) / scale })
                .collect();
            let mut v = value(&p, &signs);
            let (mut step, mut turns) = (0.5, 0);
            while step > 1e-6 && turns < 150 {
                turns += 1;
                let mut better = false;
                for _ in 0..60 {
                    let mut q = p.clone();
                    let k = rng.random_range(0..q.len());
                    match rng.random_range(0..3) {
                        0 => q[k] += pick(rng, &[-step, step]) / scale,
                        1 => q.iter_mut().for_each(|x| *x += step * (2.0 * rng.random::<f64>() - 1.0) / scale),
                        _ => {
                            let u = k / d;
                            let s = 1.0 + pick(rng, &[-step, step]);
                            q[u * d..(u + 1) * d].iter_mut().for_each(|x| *x *= s)
                        }
                    }
                    let w = value(&q, &signs);
                    if w < v {
                        (p, v, better) = (q, w, true);
                    }
                }
                if !better {
                    step *= 0.5;
                }
            }
            best = best.min(v);
        }
        assert!(best >= o.bound - 1e-9, "seed {seed}: {best} {o:?}");
        if best > o.objective + 0.01 {
            println!("seed {seed}: search {best}, optimum {}", o.objective);
        }
    }
}
