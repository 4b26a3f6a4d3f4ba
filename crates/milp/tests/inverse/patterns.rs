//! The oracle: every activation pattern of a dense ReLU network, one linear programme each.

use certificate::{Domain, Layer, Layered};
use milp::Programme;
use milp::solver::{Cbc, Status};

use super::solve;

/// The programme of the inputs that have a pattern, and the outputs there as slopes and constants.
pub type Cell = (Programme, Vec<(Vec<f64>, f64)>);

/// One cell for every pattern that an input has.
pub fn cells(network: &Layered, domain: &Domain) -> Vec<Cell> {
    let mut inputs = Programme::new("cell");
    for (j, side) in domain.input_box().iter().enumerate() {
        inputs.continuous(format!("x{j}"), (side.lower, side.upper), 0.0);
    }
    let identity = |j: usize| ((0..network.inputs()).map(|k| f64::from(u8::from(j == k))).collect::<Vec<_>>(), 0.0);
    let mut cells = vec![(inputs, (0..network.inputs()).map(identity).collect::<Vec<_>>())];
    for layer in network.layers() {
        match layer {
            Layer::Dense(affine) => {
                for (_, values) in &mut cells {
                    *values = (0..affine.outputs())
                        .map(|i| {
                            let mut sum = (vec![0.0; network.inputs()], f64::from(affine.bias()[i]));
                            for (w, (slope, constant)) in affine.row(i).iter().zip(values.iter()) {
                                let w = f64::from(*w);
                                sum.0.iter_mut().zip(slope).for_each(|(sum, s)| *sum += w * s);
                                sum.1 += w * constant;
                            }
                            sum
                        })
                        .collect();
                }
            }
            Layer::Relu => {
                for unit in 0..cells[0].1.len() {
                    cells = cells.into_iter().flat_map(|cell| [true, false].map(|on| phase(&cell, unit, on))).collect();
                }
                // Cells without a point are dropped, or there would be too many of them.
                cells.retain(|(programme, _)| solve(programme, &Cbc).status == Status::Optimal);
            }
            _ => panic!("dense layers and relu only"),
        }
    }
    cells
}

fn phase((programme, values): &Cell, unit: usize, on: bool) -> Cell {
    let (mut programme, mut values) = (programme.clone(), values.clone());
    let (slope, constant) = &values[unit];
    let terms: Vec<_> = slope.iter().copied().enumerate().collect();
    let name = format!("r{}", programme.rows.len());
    let sides = if on { (-constant, f64::INFINITY) } else { (f64::NEG_INFINITY, -constant) };
    programme.row(name, terms, sides);
    if !on {
        values[unit] = (vec![0.0; slope.len()], 0.0);
    }
    (programme, values)
}

/// The largest value of an output over the box.
pub fn maximum(network: &Layered, domain: &Domain, output: usize) -> f64 {
    let of_cell = |(mut programme, values): Cell| {
        let (slope, constant) = &values[output];
        programme.columns.iter_mut().zip(slope).for_each(|(column, s)| column.objective = -s);
        programme.objective_constant = -constant;
        -solve(&programme, &Cbc).incumbent.expect("a cell that is not empty").objective
    };
    cells(network, domain).into_iter().map(of_cell).fold(f64::NEG_INFINITY, f64::max)
}
