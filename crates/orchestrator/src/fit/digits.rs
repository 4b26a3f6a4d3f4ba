//! Handwritten digits of MNIST, made so small that a programme of their training ends.

use std::env;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use train::Stream;
use train::data::DATASETS_DIR;
use train::seeds::shuffle;

use super::config::Images;
use crate::error::{Error, Result};

/// Rows and columns of an image in the files.
const SIDE: usize = 28;
/// Grey values are rounded to multiples of this, so that sums of them are exact.
const GREY: f64 = 1.0 / 16.0;

/// Images, each row by row and from 0 to 1, and their classes.
pub struct Digits {
    pub images: Vec<Vec<f64>>,
    pub classes: Vec<usize>,
}

/// The digits drawn to train with, and all test images of these digits.
///
/// # Errors
/// If the files are not there or are no such files, or there is no such digit or side.
pub fn load(wanted: &Images) -> Result<(Digits, Digits)> {
    let Images { digits, side, each, seed } = wanted;
    let wrong = |message: String| Err(Error::Config { place: "[images]".into(), message });
    if *side == 0 || !SIDE.is_multiple_of(*side) {
        return wrong(format!("side must be a divisor of {SIDE}, found {side}"));
    }
    let twice = digits.iter().enumerate().any(|(k, digit)| digits[..k].contains(digit));
    if digits.len() < 2 || twice || digits.iter().any(|digit| *digit > 9) {
        return wrong(format!("expected two or more different digits from 0 to 9, found {digits:?}"));
    }
    let folder = folder()?;
    let all = read(&folder, "train", wanted)?;
    let mut order: Vec<usize> = (0..all.classes.len()).collect();
    shuffle(&mut Stream::Batches.generator(*seed, 0, 0), &mut order, usize::MAX);
    let mut chosen = Digits { images: Vec::new(), classes: Vec::new() };
    for class in 0..digits.len() {
        for k in order.iter().filter(|k| all.classes[**k] == class).take(*each) {
            chosen.images.push(all.images[*k].clone());
            chosen.classes.push(class);
        }
    }
    Ok((chosen, read(&folder, "t10k", wanted)?))
}

fn folder() -> Result<PathBuf> {
    match env::var_os(DATASETS_DIR) {
        Some(folder) => Ok(Path::new(&folder).join("mnist")),
        None => Err(Error::Config {
            place: "[images]".into(),
            message: format!(
                "set {DATASETS_DIR} to a folder with mnist/train-images-idx3-ubyte.gz and the three files beside it"
            ),
        }),
    }
}

/// The wanted digits of one pair of files, images and labels.
fn read(folder: &Path, part: &str, wanted: &Images) -> Result<Digits> {
    let labels = idx(&folder.join(format!("{part}-labels-idx1-ubyte.gz")), &[])?;
    let images = idx(&folder.join(format!("{part}-images-idx3-ubyte.gz")), &[SIDE, SIDE])?;
    let mut digits = Digits { images: Vec::new(), classes: Vec::new() };
    for (image, label) in images.chunks(SIDE * SIDE).zip(&labels) {
        if let Some(class) = wanted.digits.iter().position(|digit| digit == label) {
            digits.images.push(shrink(image, wanted.side));
            digits.classes.push(class);
        }
    }
    Ok(digits)
}

/// The bytes of an IDX file: after the header, which says how many items of which sides there are.
fn idx(path: &Path, sides: &[usize]) -> Result<Vec<u8>> {
    let io = |source| Error::Io { path: path.into(), source };
    let mut bytes = Vec::new();
    GzDecoder::new(File::open(path).map_err(io)?).read_to_end(&mut bytes).map_err(io)?;
    let number = |k: usize| bytes.get(4 * k..4 * k + 4).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]) as usize);
    // Two zeros, unsigned bytes, number of dimensions.
    let as_expected = number(0) == Some(0x0800 + 1 + sides.len())
        && sides.iter().enumerate().all(|(k, side)| number(2 + k) == Some(*side))
        && number(1)
            .is_some_and(|count| bytes.len() == 4 * (2 + sides.len()) + count * sides.iter().product::<usize>());
    if !as_expected {
        let message = "not an IDX file of bytes with the sides of MNIST; fetch it again".into();
        return Err(Error::Config { place: path.display().to_string(), message });
    }
    Ok(bytes.split_off(4 * (2 + sides.len())))
}

/// Means over squares of pixels.
fn shrink(image: &[u8], side: usize) -> Vec<f64> {
    let square = SIDE / side;
    let mean = |k: usize| {
        let (top, left) = (k / side * square, k % side * square);
        let pixels = (0..square * square).map(|p| f64::from(image[(top + p / square) * SIDE + left + p % square]));
        let grey = pixels.sum::<f64>() / (255 * square * square) as f64;
        (grey / GREY).round() * GREY
    };
    (0..side * side).map(mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// White in the left half of the image, black elsewhere, with one pixel that rounding loses.
    #[test]
    fn a_small_image_is_the_mean_of_its_squares() {
        let mut image: Vec<u8> = (0..SIDE * SIDE).map(|k| if k % SIDE < 14 { 255 } else { 0 }).collect();
        image[SIDE * SIDE - 1] = 255;
        assert_eq!(shrink(&image, 2), [1.0, 0.0, 1.0, 0.0]);
        assert_eq!(shrink(&image, 1), [0.5]);
        assert_eq!(shrink(&image, 28)[SIDE * SIDE - 1], 1.0);
    }
}
