//! Pictures that stand beside a report: as an SVG that brings its font along, and the same as a PNG.
//!
//! Without a font of its own a picture has no text on a machine that has none, and another one on every other machine.

use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use certificate::write_atomically;
use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::fontdb::Database;
use resvg::usvg::{Options, Tree};

use crate::error::Result;

/// Latin letters and a few signs; `assets/README.md` says how it was made.
const FONT: &[u8] = include_bytes!("../assets/DejaVuSansCondensed.ttf");
/// What it is called.
const FAMILY: &str = "DejaVu Sans Condensed";
/// Pixels of a PNG for one of the SVG, so that it can be printed.
const SCALE: f32 = 2.0;
/// No side of a PNG has more pixels.
const LONGEST: f32 = 4096.0;

/// Writes a drawing to `file`, which ends in `.svg`, and as a PNG beside it.
///
/// # Errors
/// If one of them cannot be written.
///
/// # Panics
/// If `svg` is no drawing.
pub fn write(file: &Path, svg: &str) -> Result<()> {
    let svg = with_font(svg);
    write_atomically(file, svg.as_bytes())?;
    Ok(write_atomically(&file.with_extension("png"), &png(&svg, font()))?)
}

/// A rule of CSS that brings the font along, for SVGs and pages.
pub fn font_face() -> String {
    format!("@font-face{{font-family:\"{FAMILY}\";src:url(data:font/ttf;base64,{})}}", STANDARD.encode(FONT))
}

/// The drawing with the font in it, and without characters that XML has no place for.
fn with_font(svg: &str) -> String {
    let allowed = |c: &char| !c.is_control() && !matches!(c, '\u{fffe}' | '\u{ffff}') || c.is_ascii_whitespace();
    let svg: String = svg.chars().filter(allowed).collect();
    let (tag, rest) = svg.split_once('>').expect("a drawing begins with its tag");
    // The system's fonts come after it, for letters that it lacks.
    let rule = format!("text{{font-family:\"{FAMILY}\",sans-serif}}");
    format!("{tag}>\n<style>{}{rule}</style>{rest}", font_face())
}

fn font() -> Database {
    let mut fonts = Database::new();
    fonts.load_font_data(FONT.to_vec());
    fonts
}

/// The drawing in pixels, with no other fonts than these.
fn png(svg: &str, fonts: Database) -> Vec<u8> {
    let options = Options { fontdb: Arc::new(fonts), font_family: FAMILY.into(), ..Options::default() };
    let tree = Tree::from_str(svg, &options).expect("what this program draws is valid");
    let size = tree.size();
    let scale = SCALE.min(LONGEST / size.width().max(size.height()));
    let pixels = |side: f32| ((side * scale).round() as u32).max(1);
    let mut image = Pixmap::new(pixels(size.width()), pixels(size.height())).expect("neither empty nor too large");
    resvg::render(&tree, Transform::from_scale(scale, scale), &mut image.as_mut());
    image.encode_png().expect("a picture in memory can be encoded")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawing(text: &str) -> String {
        format!(
            "<svg width=\"60\" height=\"30\" xmlns=\"http://www.w3.org/2000/svg\">\n<rect width=\"60\" height=\"30\" fill=\"white\"/>\
             <text x=\"5\" y=\"20\" font-family=\"sans-serif\" font-size=\"16\">{text}</text></svg>"
        )
    }

    fn pixels(svg: &str, fonts: Database) -> Pixmap {
        Pixmap::decode_png(&png(&with_font(svg), fonts)).unwrap()
    }

    #[test]
    fn every_character_that_is_used_is_drawn_with_the_font_that_is_brought_along() {
        let blank = pixels(&drawing(" "), font());
        assert_eq!((blank.width(), blank.height()), (120, 60));
        for character in "AgÄßéłő09%.-+±−–—…“”’λ→≤≥∞".chars() {
            let svg = drawing(&character.to_string());
            assert_ne!(pixels(&svg, font()), blank, "{character}");
            assert_eq!(pixels(&svg, Database::new()), blank, "{character}: there is no font, and yet it is drawn");
        }
    }

    #[test]
    fn both_files_are_written_and_the_font_is_in_the_svg() {
        let temporary = tempfile::tempdir().unwrap();
        let file = temporary.path().join("a.b.svg");
        write(&file, &drawing("x\u{1}\u{ffff} &lt;")).unwrap();
        let svg = std::fs::read_to_string(&file).unwrap();
        let (_, rest) = svg.split_once("url(data:font/ttf;base64,").unwrap();
        assert_eq!(STANDARD.decode(rest.split_once(')').unwrap().0).unwrap(), FONT);
        let image = Pixmap::decode_png(&std::fs::read(temporary.path().join("a.b.png")).unwrap()).unwrap();
        assert_eq!(image, pixels(&drawing("x &lt;"), font()));
    }

    #[test]
    fn a_huge_drawing_stays_a_file_of_usual_size() {
        let image = pixels("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"24000\" height=\"800\"></svg>", font());
        assert_eq!((image.width(), image.height()), (4096, 137));
    }
}
