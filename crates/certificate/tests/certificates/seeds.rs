//! What fuzzing starts from is what it should be: proofs of the monotone models, and of no other.

use std::fs;
use std::path::Path;

use certificate::{Conclusion, check};

#[path = "../../../../fuzz/models.rs"]
mod models;

#[test]
fn each_seed_is_a_certificate_of_the_model_that_it_is_about_and_of_no_other() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/check");
    let mut seeds = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let (bytes, name) = (fs::read(entry.path()).unwrap(), entry.file_name().into_string().unwrap());
        seeds += 1;
        for known in models::all() {
            let result = check(&known.certificate(&bytes)[..], &known.model);
            let expected = match name.split_once(['-', '.']).unwrap().0 {
                "refutation" => (known.name, known.monotone) == ("plain", false),
                about => (known.name, known.monotone) == (about, true),
            };
            assert_eq!(result.is_ok(), expected, "{name}, {} {}: {result:?}", known.name, known.monotone);
            if let Ok(checked) = result {
                assert_eq!(checked.conclusion == Conclusion::Certified, known.monotone);
            }
        }
    }
    assert!(seeds >= 5);
}
