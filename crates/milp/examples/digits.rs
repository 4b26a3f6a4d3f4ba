//! Trains a small network on handwritten digits and leaves it, with one digit of each kind, for `orchestrator attack`:
//!
//! ```text
//! DATASETS_DIR=... cargo run --release -p milp --example digits -- FOLDER
//! orchestrator attack FOLDER/model.safetensors --input "$(cat FOLDER/7.csv)" --distance linf --image 28x28 --out FOLDER
//! ```

#[path = "../benches/digits/mod.rs"]
mod digits;

use std::path::PathBuf;

use digits::Digits;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).ok_or("which folder?")?);
    let test = Digits::load("t10k", 1000).ok_or("there is no mnist/ under DATASETS_DIR")?;
    let model = digits::train().ok_or("there is no mnist/ under DATASETS_DIR")?;
    std::fs::create_dir_all(&folder)?;
    model.save(&folder.join("model.safetensors"))?;
    for digit in 0..10 {
        let fits = |k: &usize| usize::from(test.labels[*k]) == digit && digits::seen(&model, &test.images[*k]) == digit;
        if let Some(k) = (0..test.images.len()).find(fits) {
            let pixels: Vec<String> = test.images[k].iter().map(|p| (p * 255.0).round().to_string()).collect();
            std::fs::write(folder.join(format!("{digit}.csv")), pixels.join(","))?;
        }
    }
    Ok(())
}
