//! The checker against certificates made by hand, by a small prover, and by chance.

mod accepted;
mod models;
mod prover;
mod rejected;
mod seeds;
mod soundness;
