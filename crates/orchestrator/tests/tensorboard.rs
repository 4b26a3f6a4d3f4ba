//! The event files of a run, read as TensorBoard reads them.

mod command;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use command::{orchestrator, run, text};
use serde_json::Value;

/// CRC-32C, bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

fn assert_checksum(bytes: &[u8], found: &[u8]) {
    let crc = crc32c(bytes);
    let masked = crc.rotate_right(15).wrapping_add(0xa282_ead8);
    assert_eq!(found, masked.to_le_bytes());
}

/// The contents of a file's frames.
fn frames(mut file: &[u8]) -> Vec<&[u8]> {
    let mut frames = Vec::new();
    while !file.is_empty() {
        assert_checksum(&file[..8], &file[8..12]);
        let length = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
        let (content, rest) = file[12..].split_at(length);
        assert_checksum(content, &rest[..4]);
        frames.push(content);
        file = &rest[4..];
    }
    frames
}

fn varint(message: &mut &[u8]) -> u64 {
    let length = message.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
    let (number, rest) = message.split_at(length);
    *message = rest;
    number.iter().rev().fold(0, |value, byte| value << 7 | u64::from(byte & 0x7f))
}

/// The fields of a protobuf message: number and bytes, of a number its little-endian ones.
fn fields(mut message: &[u8]) -> Vec<(u64, Vec<u8>)> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let key = varint(&mut message);
        let length = match key & 7 {
            0 => {
                fields.push((key >> 3, varint(&mut message).to_le_bytes().to_vec()));
                continue;
            }
            1 => 8,
            2 => varint(&mut message) as usize,
            5 => 4,
            kind => panic!("kind {kind}"),
        };
        fields.push((key >> 3, message[..length].to_vec()));
        message = &message[length..];
    }
    fields
}

/// Values by round, tag and step. A step that is there twice is a fault.
type Scalars = BTreeMap<(String, String, u64), f32>;

fn scalars(run: &Path) -> Scalars {
    let mut scalars = Scalars::new();
    for round in fs::read_dir(run.join("tensorboard")).unwrap().map(|entry| entry.unwrap()) {
        for file in fs::read_dir(round.path()).unwrap().map(|entry| entry.unwrap()) {
            assert!(file.file_name().to_str().unwrap().starts_with("events.out.tfevents."));
            let bytes = fs::read(file.path()).unwrap();
            let frames = frames(&bytes);
            assert!(fields(frames[0]).contains(&(3, b"brain.Event:2".to_vec())));
            for event in &frames[1..] {
                let event: BTreeMap<u64, Vec<u8>> = fields(event).into_iter().collect();
                let wall_time = f64::from_le_bytes(event[&1][..].try_into().unwrap());
                assert!((1.7e9..1e10).contains(&wall_time));
                let step = u64::from_le_bytes(event[&2][..].try_into().unwrap());
                for (field, value) in fields(&event[&5]) {
                    assert_eq!(field, 1);
                    let value: BTreeMap<u64, Vec<u8>> = fields(&value).into_iter().collect();
                    let key = (round.file_name().into_string().unwrap(), text(&value[&1]), step);
                    let number = f32::from_le_bytes(value[&2][..].try_into().unwrap());
                    assert_eq!(scalars.insert(key.clone(), number), None, "{key:?} is there twice");
                }
            }
        }
    }
    scalars
}

/// What should be there.
fn expected(run: &Path) -> Scalars {
    let mut scalars = Scalars::new();
    for line in fs::read_to_string(run.join("metrics.jsonl")).unwrap().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let record = &line["record"];
        let round = match line["attempt"].as_u64().unwrap() {
            0 => format!("round-{:02}", line["round"].as_u64().unwrap() + 1),
            attempt => format!("round-{:02}-try-{}", line["round"].as_u64().unwrap() + 1, attempt + 1),
        };
        for (tag, value) in [
            ("loss/fitting", &record["loss"]),
            ("loss/validation", &record["validation"]["loss"]),
            ("score/rmse", &record["validation"]["rmse"]),
            ("penalty/penalty", &record["penalty"]),
            ("penalty/lambda", &line["lambda"]),
        ] {
            let key = (round.clone(), tag.to_owned(), record["epoch"].as_u64().unwrap());
            scalars.insert(key, value.as_f64().unwrap() as f32);
        }
    }
    scalars
}

/// There is no time to certify anything, so that there are three rounds.
const ROUNDS: [&str; 12] = [
    "--set",
    "certify.during_training=0",
    "--set",
    "repair.method=off",
    "--set",
    "certify.candidates=1",
    "--set",
    "certify.time_limit_s=1e-9",
    "--set",
    "escalation.round_limit=3",
    "--set",
    "train.epochs=24",
];

#[test]
fn the_numbers_are_those_of_the_metrics_also_of_a_run_that_was_killed() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("calm");
    let arguments = |folder: &Path| {
        let out = folder.to_str().unwrap().to_owned();
        let fixed = ["configs/smoke.toml", "--quiet", "--out"].into_iter().map(str::to_owned);
        fixed.chain([out]).chain(ROUNDS.map(str::to_owned)).collect::<Vec<_>>()
    };
    let strings = arguments(&folder);
    let output = run(&strings.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    let calm = scalars(&folder);
    assert_eq!(calm.len(), 3 * 24 * 5);
    assert_eq!(calm, expected(&folder));

    // Killed when it has begun to write a round down, again and again; between checkpoints there is something to cut.
    let folder = temporary.path().join("stormy");
    for kills in 0..3 {
        let mut strings = arguments(&folder);
        strings.extend((kills > 0).then(|| "--resume".to_owned()));
        let arguments: Vec<&str> = strings.iter().map(String::as_str).collect();
        let mut child = orchestrator(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let begun = folder.join(format!("tensorboard/round-{:02}", kills + 1));
        let deadline = Instant::now() + Duration::from_secs(60);
        // The folder is there a moment before its file.
        let has_begun = || fs::read_dir(&begun).is_ok_and(|mut files| files.next().is_some());
        while !has_begun() && child.try_wait().unwrap().is_none() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What a kill in the midst of writing leaves: lines after the checkpoint, and half a frame.
        let epoch = |line: &str| line.replace("\"epoch\":", "\"epoch\":1000");
        let file = folder.join("metrics.jsonl");
        let lines = fs::read_to_string(&file).unwrap();
        fs::write(&file, format!("{lines}{}\n{{\"rou", epoch(lines.lines().last().unwrap()))).unwrap();
        let events = fs::read_dir(&begun).unwrap().next().unwrap().unwrap().path();
        let mut bytes = fs::read(&events).unwrap();
        bytes.extend([7, 0, 0]);
        fs::write(&events, bytes).unwrap();
    }
    let mut strings = arguments(&folder);
    strings.push("--resume".into());
    let output = run(&strings.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    assert_eq!(scalars(&folder), calm);
    assert_eq!(expected(&folder), calm);
}
