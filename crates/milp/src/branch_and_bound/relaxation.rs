//! The linear relaxation of a query in the space of the inputs.
//!
//! Projecting the indicators out of the linear relaxation of the big-M programme leaves
//!
//! ```text
//! min constant + sum_i phi_i(t_i(x))   over the box,
//! ```
//!
//! where `phi_i` is convex and has two linear pieces that meet at `t_i = 0`: for an unstable neuron `c max(0, t/u)` if
//! `c > 0` and `(|c|/|l|) max(0, -t)` if `c < 0` (and `c` in the constant); for a neuron whose phase is fixed a steep
//! penalty on the wrong side. Its minimum lies at a vertex of the arrangement of the hyperplanes `t_i = 0` and the sides
//! of the box, which a primal simplex method finds that walks along edges and, like that of Barrodale and Roberts (1973)
//! for least absolute deviations, passes through hyperplanes as long as the objective falls. A basis has as many members
//! as there are inputs, however many neurons there are.
//!
//! The slopes `s_i` of the pieces at the minimum are the dual multipliers: for *every* `s` between the left and the right
//! slopes `constant + sum_i s_i b_i + sum_j min_x (W^T s)_j x_j` is a lower bound. So nothing here has to be exact: wrong
//! slopes give a weaker bound, never a wrong one.

/// Steps after which everything that is updated is computed anew.
const REFRESH: usize = 48;
/// Relative size of the shifts of the hyperplanes that keep them from meeting in one point.
const SHIFT: f64 = 1e-10;

/// `t = W x + b` over `lower <= x <= upper`.
#[derive(Debug, Clone)]
pub(super) struct Hyperplanes {
    pub units: usize,
    pub inputs: usize,
    /// `[units, inputs]`
    rows: Vec<f64>,
    /// `[inputs, units]`
    columns: Vec<f64>,
    bias: Vec<f64>,
    lower: Vec<f64>,
    upper: Vec<f64>,
}

/// The two pieces of every `phi_i`.
#[derive(Debug, Clone, Default)]
pub(super) struct Slopes {
    pub constant: f64,
    /// Where `t_i < 0`.
    pub left: Vec<f64>,
    /// Where `t_i > 0`.
    pub right: Vec<f64>,
}

impl Slopes {
    /// The slope of unit `i` on a side, 0 on neither.
    fn at(&self, i: usize, side: f64) -> f64 {
        if side > 0.0 {
            self.right[i]
        } else if side < 0.0 {
            self.left[i]
        } else {
            0.0
        }
    }
}

/// A member of the basis: a hyperplane that passes through the vertex.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Member {
    Unit(usize),
    Lower(usize),
    Upper(usize),
}

/// A vertex of the arrangement with all that is needed to walk on from it.
#[derive(Debug, Clone)]
pub(super) struct Vertex {
    pub x: Vec<f64>,
    /// `t` at `x`.
    pub t: Vec<f64>,
    /// For each unit 1 if the vertex counts as lying on its right, -1 on its left, 0 for the members of the basis; ties are
    /// resolved by how they were reached.
    side: Vec<f64>,
    basis: Vec<Member>,
    input_in_basis: Vec<bool>,
    /// `[inputs, inputs]`: moving along row `k` leaves all members of the basis but `k`, whose `t` (or coordinate) grows
    /// at rate one.
    directions: Vec<f64>,
    /// Gradient of all pieces but those of the basis.
    gradient: Vec<f64>,
}

impl Vertex {
    /// Becomes a copy of another vertex of the same relaxation without asking for memory.
    pub fn copy_from(&mut self, other: &Self) {
        self.x.copy_from_slice(&other.x);
        self.t.copy_from_slice(&other.t);
        self.side.copy_from_slice(&other.side);
        self.basis.copy_from_slice(&other.basis);
        self.input_in_basis.copy_from_slice(&other.input_in_basis);
        self.directions.copy_from_slice(&other.directions);
        self.gradient.copy_from_slice(&other.gradient);
    }
}

/// Buffers of a walk.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    rates: Vec<f64>,
    breaks: Vec<(f64, usize)>,
    pivots: Vec<f64>,
    direction: Vec<f64>,
}

/// Where a walk along an edge ends.
struct Stop {
    /// Number of hyperplanes on the way.
    passed: usize,
    length: f64,
    /// The unit, or the number of units plus the input, that stops it.
    member: usize,
    /// By how much the objective has fallen.
    fall: f64,
}

/// What is known at the end of a walk.
#[derive(Debug, Clone)]
pub(super) struct Minimum {
    /// The bound that `multipliers` prove, up to rounding.
    pub bound: f64,
    /// `s`, one per unit, within the slopes.
    pub multipliers: Vec<f64>,
}

/// A scalar product in four strands, which the compiler can put side by side.
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut strands = [0.0; 4];
    let ((a, rest), (b, other)) = (a.as_chunks::<4>(), b.as_chunks::<4>());
    let rest: f64 = rest.iter().zip(other).map(|(a, b)| a * b).sum();
    for (a, b) in a.iter().zip(b) {
        (0..4).for_each(|k| strands[k] += a[k] * b[k]);
    }
    strands.iter().sum::<f64>() + rest
}

fn add(to: &mut [f64], factor: f64, row: &[f64]) {
    to.iter_mut().zip(row).for_each(|(to, row)| *to += factor * row);
}

impl Hyperplanes {
    /// Hyperplanes from `[units, inputs]` weights; they are shifted by tiny amounts to avoid degenerate vertices.
    pub fn new(rows: Vec<f64>, mut bias: Vec<f64>, lower: Vec<f64>, upper: Vec<f64>) -> Self {
        let (units, inputs) = (bias.len(), lower.len());
        assert_eq!(rows.len(), units * inputs);
        let columns = (0..units * inputs).map(|k| rows[(k % units) * inputs + k / units]).collect();
        for (i, b) in bias.iter_mut().enumerate() {
            let size: f64 = rows[i * inputs..(i + 1) * inputs].iter().map(|w| w.abs()).sum();
            // Golden-ratio steps: different for every neuron, and the same in every run.
            *b += SHIFT * (size + b.abs()) * ((i + 1) as f64 * 0.618_033_988_749_894_9).fract();
        }
        Self { units, inputs, rows, columns, bias, lower, upper }
    }

    pub fn row(&self, i: usize) -> &[f64] {
        &self.rows[i * self.inputs..(i + 1) * self.inputs]
    }

    /// The corner of the box where every input has its least value.
    pub fn corner(&self) -> Vertex {
        let p = self.inputs;
        let mut vertex = Vertex {
            x: self.lower.clone(),
            t: vec![0.0; self.units],
            side: vec![1.0; self.units],
            basis: (0..p).map(Member::Lower).collect(),
            input_in_basis: vec![true; p],
            directions: (0..p * p).map(|k| if k / p == k % p { 1.0 } else { 0.0 }).collect(),
            gradient: vec![0.0; p],
        };
        self.place(&mut vertex);
        vertex
    }

    /// Computes `x` and `t` from the basis.
    fn place(&self, vertex: &mut Vertex) {
        let p = self.inputs;
        vertex.x.fill(0.0);
        for k in 0..p {
            let level = match vertex.basis[k] {
                Member::Unit(i) => -self.bias[i],
                Member::Lower(j) => self.lower[j],
                Member::Upper(j) => self.upper[j],
            };
            add(&mut vertex.x, level, &vertex.directions[k * p..(k + 1) * p]);
        }
        for k in 0..p {
            match vertex.basis[k] {
                Member::Lower(j) => vertex.x[j] = self.lower[j],
                Member::Upper(j) => vertex.x[j] = self.upper[j],
                Member::Unit(_) => {}
            }
        }
        vertex.t.copy_from_slice(&self.bias);
        for (j, x) in vertex.x.iter().enumerate() {
            add(&mut vertex.t, *x, &self.columns[j * self.units..(j + 1) * self.units]);
        }
        for (side, t) in vertex.side.iter_mut().zip(&mut vertex.t) {
            if *side == 0.0 {
                *t = 0.0;
            } else if t.abs() > 1e-9 {
                *side = t.signum();
            }
        }
    }

    /// The gradient of all pieces but those of the basis, from scratch; needed after slopes have changed.
    pub fn steepness(&self, slopes: &Slopes, vertex: &mut Vertex) {
        vertex.gradient.fill(0.0);
        for i in 0..self.units {
            let slope = slopes.at(i, vertex.side[i]);
            if slope != 0.0 {
                add(&mut vertex.gradient, slope, self.row(i));
            }
        }
    }

    /// Walks from `vertex` to a minimum, at most `steps` steps.
    pub fn minimise(&self, slopes: &Slopes, vertex: &mut Vertex, scratch: &mut Scratch, steps: usize) {
        self.steepness(slopes, vertex);
        self.walk_down(slopes, vertex, scratch, steps, |_| false);
    }

    /// Gives unit `i` other slopes; `vertex` has to know the gradient for the slopes before.
    pub fn bend(&self, slopes: &mut Slopes, vertex: &mut Vertex, i: usize, (left, right): (f64, f64)) {
        let before = slopes.at(i, vertex.side[i]);
        (slopes.left[i], slopes.right[i]) = (left, right);
        add(&mut vertex.gradient, slopes.at(i, vertex.side[i]) - before, self.row(i));
    }

    /// Walks from a vertex that knows its gradient towards a minimum, at most `steps` steps. `enough` is told by how much
    /// the objective has fallen so far and may end it. Says whether it arrived.
    pub fn walk_down(
        &self,
        slopes: &Slopes,
        vertex: &mut Vertex,
        scratch: &mut Scratch,
        steps: usize,
        enough: impl Fn(f64) -> bool,
    ) -> bool {
        let mut fallen = 0.0;
        for step in 1..=steps {
            let Some((k, sign, rate)) = self.falling_edge(slopes, vertex) else { return true };
            match self.walk(slopes, vertex, scratch, (k, sign, rate)) {
                Some(fall) => fallen += fall,
                None => return false,
            }
            if enough(fallen) {
                return false;
            }
            if step % REFRESH == 0 {
                self.place(vertex);
                self.steepness(slopes, vertex);
            }
        }
        self.falling_edge(slopes, vertex).is_none()
    }

    /// The multiplier of member `k` of the basis that would balance the gradient.
    fn balance(&self, vertex: &Vertex, k: usize) -> f64 {
        let p = self.inputs;
        -dot(&vertex.gradient, &vertex.directions[k * p..(k + 1) * p])
    }

    /// The edge along which the objective falls fastest per unit of length: member, sign, rate.
    fn falling_edge(&self, slopes: &Slopes, vertex: &Vertex) -> Option<(usize, f64, f64)> {
        let p = self.inputs;
        let (mut best, mut best_score) = (None, 0.0);
        for k in 0..p {
            let s = self.balance(vertex, k);
            let (left, right) = match vertex.basis[k] {
                Member::Unit(i) => (slopes.left[i], slopes.right[i]),
                Member::Lower(_) => (f64::NEG_INFINITY, 0.0),
                Member::Upper(_) => (0.0, f64::INFINITY),
            };
            let (rate, sign) = if s > right { (s - right, 1.0) } else { (left - s, -1.0) };
            if rate > 1e-10 * (1.0 + s.abs()) {
                let direction = &vertex.directions[k * p..(k + 1) * p];
                let score = rate * rate / dot(direction, direction);
                if score > best_score {
                    best_score = score;
                    best = Some((k, sign, rate));
                }
            }
        }
        best
    }

    /// Walks along an edge to where the objective stops falling, and makes what stops it a member of the basis. By how much
    /// the objective has fallen; `None` if nothing stops the walk.
    fn walk(
        &self,
        slopes: &Slopes,
        vertex: &mut Vertex,
        scratch: &mut Scratch,
        (k, sign, rate): (usize, f64, f64),
    ) -> Option<f64> {
        let (p, n) = (self.inputs, self.units);
        let Scratch { rates, breaks, pivots, direction } = scratch;
        direction.clear();
        direction.extend(vertex.directions[k * p..(k + 1) * p].iter().map(|d| sign * d));
        rates.clear();
        rates.resize(n, 0.0);
        for (j, d) in direction.iter().enumerate() {
            if *d != 0.0 {
                add(rates, *d, &self.columns[j * n..(j + 1) * n]);
            }
        }
        let leaving = vertex.basis[k];
        match leaving {
            Member::Unit(i) => {
                vertex.side[i] = sign;
                add(&mut vertex.gradient, slopes.at(i, sign), self.row(i));
            }
            Member::Lower(j) | Member::Upper(j) => vertex.input_in_basis[j] = false,
        }

        let stop = self.stop(slopes, vertex, direction, rates, breaks, rate)?;
        for &(_, i) in breaks[..stop.passed].iter() {
            let change = slopes.left[i] - slopes.right[i];
            add(&mut vertex.gradient, vertex.side[i] * change, self.row(i));
            vertex.side[i] = -vertex.side[i];
        }
        add(&mut vertex.x, stop.length, direction);
        add(&mut vertex.t, stop.length, rates);

        let which = stop.member;
        pivots.clear();
        if which < n {
            add(&mut vertex.gradient, -slopes.at(which, vertex.side[which]), self.row(which));
            vertex.side[which] = 0.0;
            vertex.t[which] = 0.0;
            vertex.basis[k] = Member::Unit(which);
            pivots.extend((0..p).map(|m| dot(self.row(which), &vertex.directions[m * p..(m + 1) * p])));
        } else {
            let j = which - n;
            vertex.input_in_basis[j] = true;
            let upwards = direction[j] > 0.0;
            vertex.basis[k] = if upwards { Member::Upper(j) } else { Member::Lower(j) };
            vertex.x[j] = if upwards { self.upper[j] } else { self.lower[j] };
            pivots.extend((0..p).map(|m| vertex.directions[m * p + j]));
        }
        direction.clear();
        direction.extend(vertex.directions[k * p..(k + 1) * p].iter().map(|d| d / pivots[k]));
        for (m, (row, pivot)) in vertex.directions.chunks_exact_mut(p).zip(pivots.iter()).enumerate() {
            if m == k {
                row.copy_from_slice(direction);
            } else if *pivot != 0.0 {
                add(row, -pivot, direction);
            }
        }
        Some(stop.fall)
    }

    /// Where the objective stops falling along an edge on which it falls at `rate` at first and `t` grows at `rates`; leaves
    /// what the edge passes on the way at the front of `breaks`. `None` if nothing stops it: the box does, but rounding can
    /// hide that.
    fn stop(
        &self,
        slopes: &Slopes,
        vertex: &Vertex,
        direction: &[f64],
        rates: &[f64],
        breaks: &mut Vec<(f64, usize)>,
        rate: f64,
    ) -> Option<Stop> {
        // Where the edge leaves the box; nothing matters beyond.
        let (mut room, mut last) = (f64::INFINITY, None);
        for (j, &d) in direction.iter().enumerate() {
            if !vertex.input_in_basis[j] && d.abs() > 1e-11 {
                let end = if d > 0.0 { self.upper[j] } else { self.lower[j] };
                let length = ((end - vertex.x[j]) / d).max(0.0);
                if length < room {
                    (room, last) = (length, Some(self.units + j));
                }
            }
        }
        // Where it meets hyperplanes before. Written without a branch, which the processor could not foresee.
        breaks.clear();
        breaks.resize(self.units, (0.0, 0));
        let mut meets = 0;
        for (i, ((side, t), rate)) in vertex.side.iter().zip(&vertex.t).zip(rates).enumerate() {
            let (distance, speed) = ((side * t).max(0.0), -side * rate);
            breaks[meets] = (distance, i);
            meets += usize::from(distance < room * speed) & usize::from(speed > 1e-11);
        }
        breaks.truncate(meets);
        breaks.iter_mut().for_each(|(distance, i)| *distance /= -vertex.side[*i] * rates[*i]);
        let mut slope = -rate;
        let (mut fall, mut walked) = (0.0, 0.0);
        // Usually one of the first few stops the walk, so they are not sorted all at once.
        for passed in 0..breaks.len() {
            let nearer = |least: usize, i: usize| if breaks[i].0 < breaks[least].0 { i } else { least };
            let next = (passed + 1..breaks.len()).fold(passed, nearer);
            breaks.swap(passed, next);
            let (length, member) = breaks[passed];
            fall -= slope * (length - walked);
            walked = length;
            slope += (slopes.right[member] - slopes.left[member]) * rates[member].abs();
            if slope >= 0.0 {
                return Some(Stop { passed, length, member, fall });
            }
        }
        fall -= slope * (room - walked);
        last.map(|member| Stop { passed: breaks.len(), length: room, member, fall })
    }

    /// The multipliers at a vertex and the bound that they prove.
    pub fn bound(&self, slopes: &Slopes, vertex: &Vertex) -> Minimum {
        let mut multipliers: Vec<f64> = (0..self.units).map(|i| slopes.at(i, vertex.side[i])).collect();
        for k in 0..self.inputs {
            if let Member::Unit(i) = vertex.basis[k] {
                multipliers[i] = self.balance(vertex, k).clamp(slopes.left[i], slopes.right[i]);
            }
        }
        let mut weight = vec![0.0; self.inputs];
        let mut bound = slopes.constant;
        for (i, s) in multipliers.iter().enumerate().filter(|(_, s)| **s != 0.0) {
            bound += s * self.bias[i];
            add(&mut weight, *s, self.row(i));
        }
        bound += (0..self.inputs).map(|j| (weight[j] * self.lower[j]).min(weight[j] * self.upper[j])).sum::<f64>();
        Minimum { bound, multipliers }
    }

    /// The value of the relaxation at a vertex.
    pub fn value(&self, slopes: &Slopes, vertex: &Vertex) -> f64 {
        let piece = |i: usize| vertex.t[i] * if vertex.t[i] > 0.0 { slopes.right[i] } else { slopes.left[i] };
        slopes.constant + (0..self.units).map(piece).sum::<f64>()
    }
}
