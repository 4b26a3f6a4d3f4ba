//! The program as a command, for every test that meets it as its users do.

// Each test program uses some of it.
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The program with these arguments, in the repository's folder.
pub fn orchestrator(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_orchestrator"));
    command.current_dir(repository()).args(args).stdin(Stdio::null());
    command
}

pub fn run(args: &[&str]) -> Output {
    orchestrator(args).output().unwrap()
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
