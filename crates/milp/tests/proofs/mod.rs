//! Certificates of single queries, for tests.

use certificate::{
    Affine, Block, CertificateWriter, Conclusion, Direction, Domain, Header, Model, ModelFeature, Network, Proof,
    Query, Target, check,
};
use milp::QueryReport;

/// A network of one block with one output, of which only the query's claim is asked.
pub fn model(block: &Block, domain: &Domain, query: Query) -> Model {
    let second = Affine::new(block.hidden(), block.second().row(query.row).to_vec(), vec![0.0]).unwrap();
    let block = Block::new(block.first().clone(), block.activation(), second).unwrap();
    let direction = |j: usize| if j == query.input { query.direction } else { Direction::Free };
    let feature = |j| ModelFeature::linear(format!("x{j}"), direction(j), 0.0, 1.0);
    Model {
        features: (0..block.inputs()).map(feature).collect(),
        network: Network::new(vec![block], vec![]).unwrap(),
        domain: domain.clone(),
        target: Target::Regression { column: "y".into(), minimum: 0.0, maximum: 1.0 },
    }
}

/// A certificate with these proofs.
pub fn write(model: &Model, proofs: &[Proof]) -> Vec<u8> {
    let domains = std::slice::from_ref(&model.domain);
    let header = Header::new(model, &model.specification(), domains, Conclusion::Certified);
    let mut writer = CertificateWriter::new(Vec::new(), &header).unwrap();
    proofs.iter().for_each(|proof| writer.proof(proof).unwrap());
    writer.finish().unwrap()
}

/// The certificate of a certified query.
pub fn certificate(model: &Model, report: &QueryReport) -> Vec<u8> {
    let side = model.domain.input_box()[report.query.input];
    if side.lower == side.upper {
        return write(model, &[]);
    }
    let steps = report.proof.clone().expect("a certified query of this engine has a proof");
    let query = Query { row: 0, ..report.query };
    write(model, &[Proof { block: 0, query, at_least: report.lower_bound, steps }])
}

/// Checks the proof of a query that branch and bound certified.
pub fn check_query(block: &Block, domain: &Domain, report: &QueryReport) {
    if report.verdict.is_certified() && report.engine == "branch_and_bound" {
        let model = model(block, domain, report.query);
        let certificate = certificate(&model, report);
        if let Err(error) = check(&certificate[..], &model) {
            panic!("{error}\n{report:?}\n{}", String::from_utf8(certificate).unwrap());
        }
    }
}
