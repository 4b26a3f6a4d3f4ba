//! Event files for TensorBoard, beside `metrics.jsonl` and with the same numbers, rounded to `f32`.
//!
//! The format: a file is a row of frames (length, its checksum, content, its checksum), and what is in a frame is a protobuf
//! message `Event`, of which five fields are used. That is little enough to do without a library.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::{Error, Result};
use crate::run_folder::Metrics;

/// The event files of a run: `tensorboard/round-NN/events.out.tfevents.*`, one folder for each round and try.
pub struct EventFiles {
    folder: PathBuf,
    /// Of this process: TensorBoard reads the files of a folder one after the other, in the order of their names.
    name: String,
}

impl EventFiles {
    /// Those of the run in this folder.
    pub fn new(run: &Path) -> Self {
        let name = format!("events.out.tfevents.{:010}.{}", since_1970().floor(), std::process::id());
        Self { folder: run.join("tensorboard"), name }
    }

    /// Adds epochs.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn append(&self, lines: &[Metrics]) -> Result<()> {
        for epochs in lines.chunk_by(|a, b| (a.round, a.attempt) == (b.round, b.attempt)) {
            let folder = self.folder.join(name_of(&epochs[0]));
            let path = folder.join(&self.name);
            let mut frames = if path.exists() { Vec::new() } else { frame(&version()) };
            epochs.iter().for_each(|epoch| frames.extend(frame(&event(epoch))));
            let append = || {
                fs::create_dir_all(&folder)?;
                OpenOptions::new().create(true).append(true).open(&path)?.write_all(&frames)
            };
            append().map_err(|source| Error::Io { path: path.clone(), source })?;
        }
        Ok(())
    }

    /// Puts these epochs in the place of all that were written. The files are new ones, so that a TensorBoard that has the old
    /// ones open sees what comes.
    ///
    /// # Errors
    /// If a file cannot be removed or written.
    pub fn replace(&self, lines: &[Metrics]) -> Result<()> {
        match fs::remove_dir_all(&self.folder) {
            Err(source) if source.kind() != ErrorKind::NotFound => Err(Error::Io { path: self.folder.clone(), source }),
            _ => self.append(lines),
        }
    }
}

/// The folder of a round, counted from 1 as everywhere where people read.
fn name_of(epoch: &Metrics) -> String {
    match epoch.attempt {
        0 => format!("round-{:02}", epoch.round + 1),
        attempt => format!("round-{:02}-try-{}", epoch.round + 1, attempt + 1),
    }
}

fn since_1970() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

/// Length, content, and the checksum of either.
fn frame(content: &[u8]) -> Vec<u8> {
    let length = (content.len() as u64).to_le_bytes();
    [&length, &checksum(&length)[..], content, &checksum(content)].concat()
}

/// CRC-32C, masked because checksums of data that contain checksums are weak.
fn checksum(bytes: &[u8]) -> [u8; 4] {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

/// `Event { wall_time, file_version }`, the first of a file.
fn version() -> Vec<u8> {
    [double(1, since_1970()), bytes(3, b"brain.Event:2")].concat()
}

/// `Event { wall_time, step, summary }`; the step is the epoch.
fn event(line: &Metrics) -> Vec<u8> {
    let epoch = &line.record;
    let validation = &epoch.validation;
    let scalars = [
        ("loss/fitting", Some(epoch.loss)),
        ("loss/validation", Some(validation.loss)),
        ("score/accuracy", validation.accuracy),
        ("score/rmse", validation.rmse),
        ("penalty/penalty", Some(epoch.penalty)),
        ("penalty/lambda", Some(line.lambda)),
    ];
    let scalar =
        |(tag, value): (&str, Option<f64>)| Some(bytes(1, &[bytes(1, tag.as_bytes()), float(2, value?)].concat()));
    let summary: Vec<u8> = scalars.into_iter().filter_map(scalar).flatten().collect();
    let step = [&[2 << 3], &varint(epoch.epoch.into())[..]].concat();
    [double(1, since_1970()), step, bytes(5, &summary)].concat()
}

fn double(field: u8, value: f64) -> Vec<u8> {
    [&[field << 3 | 1], &value.to_le_bytes()[..]].concat()
}

fn float(field: u8, value: f64) -> Vec<u8> {
    [&[field << 3 | 5], &(value as f32).to_le_bytes()[..]].concat()
}

fn bytes(field: u8, value: &[u8]) -> Vec<u8> {
    [&[field << 3 | 2], &varint(value.len() as u64)[..], value].concat()
}

/// Seven bits a byte, the lowest first; all but the last have the eighth bit.
fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}
