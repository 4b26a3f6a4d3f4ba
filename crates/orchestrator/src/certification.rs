//! From a verified network to a certificate that was checked, and the command that checks one.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::Path;

use certificate::{
    CertificateWriter, Checked, Conclusion, Domain, Header, Limit, Model, Proof, Specification, Verdict, check,
};
use milp::{Control, Engine, NetworkReport, Options};

use crate::error::{Error, Result};

/// Name of the certificate in a run folder.
pub const FILE: &str = "certificate.jsonl";

/// Proves a claim about a model by branch and bound, writes the certificate and has it checked. What the checker does
/// not accept is not certified.
///
/// # Errors
/// If the claim does not fit the model or the file cannot be written.
pub fn certify(
    model: &Model,
    (domain, specification): (&Domain, &Specification),
    options: &Options,
    control: Control,
    path: &Path,
) -> Result<NetworkReport> {
    let options = Options { stop_at_first_refutation: false, ..options.clone() };
    let (network, engine) = (&model.network, Engine::BranchAndBound);
    let mut report = milp::verify_network(network, domain, specification, engine, &options, control)?;
    write(model, specification, &report, path)?;
    if let Err(reason) = recheck(path, model)
        && !matches!(report.verdict, Verdict::Undecided { .. })
    {
        // Kept for whoever wants to know why, under a name that nobody takes for a certificate.
        let aside = path.with_extension("rejected");
        std::fs::rename(path, &aside).map_err(|source| Error::Io { path: aside, source })?;
        let limit = Limit::Numerical(format!("the certificate was not accepted: {reason}"));
        report.verdict = Verdict::Undecided { lower_bound: f64::MIN, limit };
    }
    Ok(report)
}

/// Checks a certificate against a model file.
///
/// # Errors
/// If a file cannot be read or the certificate is not valid.
pub fn recheck(certificate: &Path, model: &Model) -> Result<Checked> {
    let file = File::open(certificate).map_err(|source| Error::Io { path: certificate.into(), source })?;
    check(BufReader::new(file), model)
        .map_err(|error| Error::Invalid { path: certificate.into(), reason: error.to_string() })
}

fn write(model: &Model, specification: &Specification, report: &NetworkReport, path: &Path) -> Result<()> {
    // Through a neighbour, as every file; streamed, because certificates of wide networks are large.
    let part = path.with_extension("part");
    let io = |source| Error::Io { path: part.clone(), source };
    let mut to = BufWriter::new(File::create(&part).map_err(io)?);
    let mut write = || -> std::io::Result<()> {
        let header = Header::new(model, specification, &report.domains, Conclusion::from(&report.verdict));
        let mut writer = CertificateWriter::new(&mut to, &header)?;
        match &report.verdict {
            Verdict::Certified { .. } => {
                for (block, queries) in report.queries.iter().enumerate() {
                    for query in queries {
                        let side = report.domains[block].input_box()[query.query.input];
                        // About an input that cannot move nothing has to be proved.
                        if let (Some(steps), true) = (&query.proof, side.lower < side.upper) {
                            let (query, at_least) = (query.query, query.lower_bound.max(0.0));
                            writer.proof(&Proof { block, query, at_least, steps: steps.clone() })?;
                        }
                    }
                }
            }
            Verdict::Refuted(pair) => writer.counterexample(pair)?,
            Verdict::Undecided { lower_bound, limit } => writer.undecided(*lower_bound, limit)?,
        }
        writer.finish()?;
        to.flush()?;
        to.get_ref().sync_all()
    };
    write().map_err(io)?;
    std::fs::rename(&part, path).map_err(|source| Error::Io { path: path.into(), source })
}
