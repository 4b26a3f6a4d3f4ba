//! Deciding whether a network is monotone: all queries of all blocks, in parallel.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use certificate::exact::{self, rational};
use certificate::{Counterexample, Direction, Domain, Limit, Network, Query, Rows, Specification, Verdict};
use num_traits::ToPrimitive;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::derivative::{DirectedDerivative, round_down};
use crate::sampling::{least_sample, random_point};
use crate::tighten::block_domains;
use crate::verify::{Engine, Options, QueryReport, QueryVerifier, seconds};

/// Called with the index of the block and each finished query, from several threads.
pub type Progress<'a> = dyn Fn(usize, &QueryReport) + Sync + 'a;

/// What a caller can do to a running verification.
#[derive(Clone, Copy, Default)]
pub struct Control<'a> {
    /// Set it to stop; running solver calls are finished first.
    pub interrupt: Option<&'a AtomicBool>,
    /// Told about each finished query.
    pub progress: Option<&'a Progress<'a>>,
}

/// What was found out about a network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkReport {
    /// The answer about the whole network.
    pub verdict: Verdict,
    /// For each block its queries in the order of [`Specification::queries`].
    pub queries: Vec<Vec<QueryReport>>,
    /// The domain of each block.
    pub domains: Vec<Domain>,
    /// Wall-clock time.
    pub seconds: f64,
}

/// A point of a block's domain where a row follows an input less than was asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Suspect {
    /// Index of the block.
    pub block: usize,
    /// Which row and input.
    pub query: Query,
    /// The directed derivative there.
    pub derivative: f64,
    /// The point, in the block's inputs.
    pub point: Vec<f64>,
}

/// For each query of a network whose least sampled derivative is below `threshold` the point where that is so: a quick
/// look that proves nothing, for the training to go on from. Deterministic.
///
/// # Errors
/// As [`verify_network`].
pub fn suspects(
    network: &Network,
    domain: &Domain,
    specification: &Specification,
    threshold: f64,
    options: &Options,
) -> Result<Vec<Suspect>> {
    let per_block = specification.queries(network)?;
    let domains = certificate::interval::block_domains(network, domain);
    let tasks: Vec<_> =
        per_block.iter().enumerate().flat_map(|(k, queries)| queries.iter().map(move |q| (k, *q))).collect();
    let look = |&(block, query): &(usize, Query)| {
        let rows = specification.rows_of(network, block);
        let derivative = DirectedDerivative::new(&network.blocks()[block], rows, &domains[block], query)?;
        let none =
            !derivative.input_moves() || derivative.sign_bound().to_f64().is_some_and(|bound| bound >= threshold);
        let sample = if none { None } else { least_sample(&derivative, &[], options.samples, options.seed) };
        let below = sample.filter(|sample| sample.value < threshold);
        Ok(below.map(|sample| Suspect { block, query, derivative: sample.value, point: sample.point }))
    };
    let found: Vec<Result<_>> = tasks.par_iter().map(look).collect();
    Ok(found.into_iter().collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
}

/// Decides whether the rows of a network follow its monotone features over a domain.
///
/// Deterministic but for time limits, interrupts and [`Options::stop_at_first_refutation`].
///
/// # Soundness
/// *Certified* iff every query of every block is. *Refuted* only with two inputs of the whole network, confirmed in
/// exact arithmetic; when a later block is refuted on its box but no such pair was found, the verdict is
/// [`Limit::Composition`].
///
/// # Errors
/// If the widths do not fit, a link is not cut, a block is no ReLU block, or a query makes no sense.
pub fn verify_network(
    network: &Network,
    domain: &Domain,
    specification: &Specification,
    engine: Engine,
    options: &Options,
    control: Control,
) -> Result<NetworkReport> {
    let start = Instant::now();
    let deadline = start + seconds(options.total_time_limit_s);
    let per_block = specification.queries(network)?;
    let domains = block_domains(network, domain, options.tightening, deadline)?;
    let mut tasks = Vec::new();
    for (k, queries) in per_block.iter().enumerate() {
        for (q, &query) in queries.iter().enumerate() {
            let rows = specification.rows_of(network, k);
            let verifier = QueryVerifier::new(&network.blocks()[k], rows, &domains[k], query, engine, options)?;
            tasks.push((k, q, query, verifier));
        }
    }
    let stop = AtomicBool::new(false);
    let finish = |k: usize, report: QueryReport| {
        if options.stop_at_first_refutation && report.verdict.is_refuted() {
            stop.store(true, Ordering::Relaxed);
        }
        if let Some(progress) = control.progress {
            progress(k, &report);
        }
        report
    };
    let interrupted = || {
        let asked = control.interrupt.is_some_and(|flag| flag.load(Ordering::Relaxed));
        asked || stop.load(Ordering::Relaxed)
    };

    // Sampling is cheap and refutes most of what can be refuted, so it comes first for all queries.
    let screened: Vec<Result<_>> = tasks
        .into_par_iter()
        .map(|(k, q, query, mut verifier)| {
            let report = if interrupted() { None } else { verifier.screen(&[])? };
            Ok((k, q, query, verifier, report.map(|report| finish(k, report))))
        })
        .collect();
    let mut screened = screened.into_iter().collect::<Result<Vec<_>>>()?;
    // Then the most suspicious first, whichever block it belongs to.
    let suspicion = |verifier: &QueryVerifier| verifier.sampled().unwrap_or(0.0);
    screened.sort_by(|a, b| suspicion(&a.3).total_cmp(&suspicion(&b.3)));
    // One queue instead of a parallel iterator, which would hand out contiguous ranges and lose the order.
    let queue = Mutex::new(screened.into_iter());
    let next = || queue.lock().expect("taking the next query does not panic").next();
    let work = |_| {
        let mut done = Vec::new();
        while let Some((k, q, query, mut verifier, report)) = next() {
            let report = match report {
                Some(report) => report,
                None if interrupted() => {
                    let rows = specification.rows_of(network, k);
                    let derivative = DirectedDerivative::new(&network.blocks()[k], rows, &domains[k], query)?;
                    QueryReport::skipped(round_down(&derivative.sign_bound()), query, engine, Limit::Interrupted)
                }
                None => finish(k, verifier.decide(deadline, control.interrupt)?),
            };
            done.push((k, q, report));
        }
        Ok(done)
    };
    let done = (0..rayon::current_num_threads()).into_par_iter().map(work).collect::<Result<Vec<Vec<_>>>>()?;
    let mut done: Vec<_> = done.into_iter().flatten().collect();
    done.sort_by_key(|(k, q, _)| (*k, *q));
    let mut queries: Vec<Vec<QueryReport>> = per_block.iter().map(|_| Vec::new()).collect();
    done.into_iter().for_each(|(k, _, report)| queries[k].push(report));
    let verdict = compose(network, domain, specification, options, &queries)?;
    Ok(NetworkReport { verdict, queries, domains, seconds: start.elapsed().as_secs_f64() })
}

/// The verdict about the network from those about its blocks.
fn compose(
    network: &Network,
    domain: &Domain,
    specification: &Specification,
    options: &Options,
    queries: &[Vec<QueryReport>],
) -> Result<Verdict> {
    let all = || queries.iter().flatten();
    if all().all(|report| report.verdict.is_certified()) {
        // The derivative of a chain is a sum of products of block derivatives, so zero is what is known in general.
        let bounds = all().map(|report| report.lower_bound).fold(f64::INFINITY, f64::min);
        let single = network.blocks().len() == 1 && bounds.is_finite();
        return Ok(Verdict::Certified { lower_bound: if single { bounds } else { 0.0 } });
    }
    let lower_bound = all().map(|report| report.lower_bound).fold(0.0, f64::min);
    let undecided = |limit| Verdict::Undecided { lower_bound, limit };
    if !all().any(|report| report.verdict.is_refuted()) {
        let limit = all().find_map(|report| match &report.verdict {
            Verdict::Undecided { limit, .. } => Some(limit.clone()),
            _ => None,
        });
        return Ok(undecided(limit.unwrap_or(Limit::Composition)));
    }
    for report in &queries[0] {
        if let Verdict::Refuted(pair) = &report.verdict {
            if network.blocks().len() == 1 {
                return Ok(Verdict::Refuted(pair.clone()));
            }
            let Query { input, direction, .. } = report.query;
            let points = (pair.lower.clone(), pair.upper.clone());
            if let Some(pair) = confirm(network, domain, &specification.rows, (input, direction), points)? {
                return Ok(Verdict::Refuted(pair));
            }
        }
    }
    Ok(match attack(network, domain, specification, options)? {
        Some(pair) => Verdict::Refuted(pair),
        None => undecided(Limit::Composition),
    })
}

type Points = (Vec<num_rational::BigRational>, Vec<num_rational::BigRational>);

/// The pair as a counterexample to the whole network, for whichever row falls.
fn confirm(
    network: &Network,
    domain: &Domain,
    rows: &Rows,
    (input, direction): (usize, Direction),
    (lower, upper): Points,
) -> Result<Option<Counterexample>> {
    for row in 0..rows.count(network.outputs()) {
        let evaluate = |x: &[num_rational::BigRational]| Ok(exact::rows(rows, exact::network(network, x)?));
        let points = (lower.clone(), upper.clone());
        match Counterexample::confirm(domain, (row, input, direction), points, evaluate) {
            Ok(None) => {}
            // A smooth activation between blocks cannot be evaluated exactly, so nothing can be refuted.
            Err(certificate::Error::NotPiecewiseLinear(_)) => return Ok(None),
            found => return Ok(found?),
        }
    }
    Ok(None)
}

/// Evaluations of the whole network that an attack may cost per monotone feature, per sample.
const VALUES_PER_LINE: u32 = 17;

/// Searches lines along the monotone features through random points of the domain for a falling row.
fn attack(
    network: &Network,
    domain: &Domain,
    specification: &Specification,
    options: &Options,
) -> Result<Option<Counterexample>> {
    let Specification { directions, rows } = specification;
    let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
    let moving = directions.0.iter().enumerate().filter(|(_, direction)| **direction != Direction::Free);
    let moving: Vec<_> = moving.map(|(input, direction)| (input, *direction)).collect();
    if moving.is_empty() {
        return Ok(None);
    }
    for k in 0..options.samples {
        let point = random_point(domain, None, k % 4 == 0, &mut rng);
        let (input, direction) = moving[rng.random_range(0..moving.len())];
        // Wide steps find gross violations, narrow ones those of a single cell.
        let zoom = 2f64.powi(-(rng.random_range(0..12)));
        let Some((a, b)) = falling_pair(network, domain, rows, &point, (input, direction), zoom) else { continue };
        let exactly = |value: f64| {
            let mut x: Vec<_> = point.iter().map(|x| rational(*x)).collect();
            x[input] = rational(value);
            x
        };
        if let Some(pair) = confirm(network, domain, rows, (input, direction), (exactly(a), exactly(b)))? {
            return Ok(Some(pair));
        }
    }
    Ok(None)
}

/// The neighbouring values of `input` between which a row falls most, in the order of the direction.
fn falling_pair(
    network: &Network,
    domain: &Domain,
    rows: &Rows,
    point: &[f64],
    (input, direction): (usize, Direction),
    zoom: f64,
) -> Option<(f64, f64)> {
    let side = domain.input_box()[input];
    let integer = domain.integer().iter().find(|feature| feature.input == input);
    let (steps, width) = match integer {
        Some(feature) => (feature.steps.min(1024), side.upper - side.lower),
        None => (VALUES_PER_LINE - 1, (side.upper - side.lower) * zoom),
    };
    let start = if integer.is_some() { side.lower } else { point[input].min(side.upper - width).max(side.lower) };
    let count = integer.map_or(steps, |feature| feature.steps);
    let mut values: Vec<f64> = (0..=steps).map(|k| start + width * f64::from(k) / f64::from(count)).collect();
    values.iter_mut().for_each(|x| *x = x.min(side.upper));
    if direction == Direction::Decreasing {
        values.reverse();
    }
    let outputs = |x: f64| {
        let mut point = point.to_vec();
        point[input] = x;
        rows.evaluate(network.evaluate(&point))
    };
    let outputs: Vec<_> = values.iter().map(|x| outputs(*x)).collect();
    let drop =
        |k: &usize| outputs[*k].iter().zip(&outputs[k + 1]).map(|(a, b)| a - b).fold(f64::NEG_INFINITY, f64::max);
    let worst = (0..values.len() - 1).max_by(|a, b| drop(a).total_cmp(&drop(b)))?;
    (drop(&worst) > 0.0).then(|| (values[worst], values[worst + 1]))
}
