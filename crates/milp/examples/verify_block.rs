//! Verifies a block written by hand: `cargo run -p milp --example verify_block`.

use certificate::{Activation, Affine, Block, Direction, Domain, Query, Verdict};
use milp::{Engine, Mode, Options, verify_query};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // f(x) = max(0, x0 + x1) - 0.5 max(0, x0 - x1) + max(0, x1 - x0)
    let first = Affine::new(2, vec![1.0, 1.0, 1.0, -1.0, -1.0, 1.0], vec![0.0, 0.0, 0.0])?;
    let second = Affine::new(3, vec![1.0, -0.5, 1.0], vec![0.0])?;
    let block = Block::new(first, Activation::Relu, second)?;
    let options = Options { mode: Mode::Minimum, ..Options::default() };

    for (input, direction) in [(0, Direction::Increasing), (1, Direction::Increasing), (1, Direction::Decreasing)] {
        let query = Query { row: 0, input, direction };
        let report = verify_query(&block, &Domain::unit_cube(2), query, Engine::BranchAndBound, &options)?;
        print!("{direction:?} in x{input}: {}, worst-case derivative {:?}", report.verdict.word(), report.incumbent);
        match report.verdict {
            Verdict::Refuted(pair) => {
                let point = |x: &[_]| x.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                println!("; f falls by {} from ({}) to ({})", pair.drop, point(&pair.lower), point(&pair.upper));
            }
            _ => println!(),
        }
    }
    Ok(())
}
