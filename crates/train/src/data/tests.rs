use std::error::Error;
use std::fs;
use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::*;

/// The folder `datasets/` of the repository.
fn datasets() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets")
}

fn compas() -> DataSet {
    DataSet::load_from(&datasets().join("compas/manifest.toml"), Some("paper"), None, None).unwrap()
}

/// A data set written for one test: a table, and a manifest that fits it until a test changes one of them.
struct Written {
    folder: TempDir,
    manifest: String,
}

const TABLE: &str = "\
id,size,price,colour,sold
1,10,0.5,red,yes
2,20,1.5,blue,no
3,30,2.5,red,yes
4,40,3.5,blue,no
5,50,4.5,green,yes
6,60,5.5,green,no
7,70,6.5,red,yes
8,80,7.5,blue,no
9,90,8.5,red,yes
10,100,9.5,blue,no
";

const MANIFEST: &str = r#"format = 1
name = "sales"
title = "Sales"
licence = "CC0-1.0"
file = "sales.csv"
dataset_path = "shops/sales.csv"
sha256 = "SHA256"
default_split = "order"
source = { text = "invented", url = "https://example.org/sales.csv" }
feature = [
    { column = "size", range = [0, 100], integer = true, direction = "increasing" },
    { column = "price", range = "fit", direction = "decreasing" },
    { column = "colour", values = ["red", "green", "blue"] },
]
target = { column = "sold", task = "binary", positive = "yes", negative = "no" }

[split]
order = { method = "file_order", test = 0.2, validation = 0.25 }
drawn = { method = "random", seed = 7, test = 0.2, validation = 0.25 }
listed = { method = "indices", train = "train.txt", test = "test.txt", validation = 0.25 }
"#;

impl Written {
    fn new() -> Self {
        Self::with_table(TABLE)
    }

    fn with_table(table: &str) -> Self {
        Self::with_file("sales.csv", table.as_bytes())
    }

    fn with_file(name: &str, bytes: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(name), bytes).unwrap();
        let sha256: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        let manifest = MANIFEST.replace("sales.csv\"\ndata", &format!("{name}\"\ndata")).replace("SHA256", &sha256);
        Self { folder, manifest }
    }

    /// Replaces text of the table.
    fn table(from: &str, to: &str) -> Self {
        assert!(TABLE.contains(from));
        Self::with_table(&TABLE.replace(from, to))
    }

    /// Replaces text of the manifest.
    fn manifest(mut self, from: &str, to: &str) -> Self {
        assert!(self.manifest.contains(from));
        self.manifest = self.manifest.replace(from, to);
        self
    }

    fn file(self, name: &str, text: &str) -> Self {
        fs::write(self.folder.path().join(name), text).unwrap();
        self
    }

    fn load_split(&self, split: Option<&str>, seed: Option<u64>, datasets: Option<&Path>) -> Result<DataSet> {
        let path = self.folder.path().join("manifest.toml");
        fs::write(&path, &self.manifest).unwrap();
        DataSet::load_from(&path, split, seed, datasets)
    }

    fn load(&self) -> DataSet {
        self.load_split(None, None, None).unwrap()
    }

    /// The message of the error with those of its sources, as a program prints them, with file names alone.
    fn error_of_split(&self, split: Option<&str>) -> String {
        let error = self.load_split(split, None, None).unwrap_err();
        let mut chain = error.to_string();
        let mut source = error.source();
        while let Some(error) = source {
            chain += &format!(": {error}");
            source = error.source();
        }
        chain.replace(&format!("{}/", self.folder.path().display()), "")
    }

    fn error(&self) -> String {
        self.error_of_split(None)
    }
}

// The COMPAS data set

#[test]
fn compas_has_the_published_sizes_and_labels() {
    let data = compas();
    assert_eq!([data.fit.len(), data.validation.len(), data.test.len()], [3949, 988, 1235]);
    let positive = |part: &Part| part.y.iter().filter(|y| **y == 1.0).count();
    assert_eq!(positive(&data.fit) + positive(&data.validation) + positive(&data.test), 2809);
    assert_eq!(positive(&data.test), 538, "43.56 % of the test set");
    assert_eq!(data.task, Task::Binary);
}

#[test]
fn compas_has_four_monotone_features_and_two_one_hot_groups() {
    let data = compas();
    let directions = data.directions();
    assert_eq!(directions.0[..4], [Direction::Increasing; 4]);
    assert_eq!(directions.0[4..], [Direction::Free; 9]);

    assert_eq!(data.domain(DomainKind::Box), Domain::unit_cube(13));
    let groups = [(5..11).collect::<Vec<_>>(), vec![11, 12]];
    assert_eq!(data.domain(DomainKind::OneHot).one_hot(), groups);
    assert!(data.domain(DomainKind::OneHot).integer().is_empty());
    let domain = data.domain(DomainKind::OneHotInteger);
    assert_eq!(domain.one_hot(), groups);
    assert_eq!(
        domain.integer().iter().map(|f| (f.input, f.steps)).collect::<Vec<_>>(),
        [(0, 38), (1, 20), (2, 13), (3, 9), (4, 78)]
    );
}

/// A row of the encoded matrix that was computed by the paper's own code.
struct GoldenRow {
    source_row: usize,
    features: Vec<f64>,
    target: f32,
    part: String,
}

fn golden(bytes: &[u8], data: &DataSet) -> Vec<GoldenRow> {
    let mut reader = csv::Reader::from_reader(bytes);
    let header = reader.headers().unwrap().clone();
    let features = 2..header.len() - 2;
    let names: Vec<_> = data.features.iter().map(|feature| feature.name.replace(['=', ' '], "_")).collect();
    assert_eq!(header.iter().skip(2).take(13).collect::<Vec<_>>(), names);
    let row = |record: csv::StringRecord| GoldenRow {
        source_row: record[1].parse().unwrap(),
        features: features.clone().map(|j| record[j].parse().unwrap()).collect(),
        target: record[header.len() - 2].parse().unwrap(),
        part: record[header.len() - 1].to_string(),
    };
    reader.records().map(|record| row(record.unwrap())).collect()
}

/// The golden file has all digits of its 64-bit numbers, so nothing but equality will do.
fn assert_row(data: &DataSet, part: &Part, i: usize, golden: &GoldenRow) {
    let width = data.features.len();
    let expected: Vec<_> = golden.features.iter().map(|value| *value as f32).collect();
    assert_eq!(part.x[i * width..(i + 1) * width], expected, "row {}", golden.source_row);
    assert_eq!((part.rows[i], part.y[i]), (golden.source_row, golden.target));
}

#[test]
fn compas_equals_the_golden_excerpt() {
    let data = compas();
    let golden = golden(&fs::read(datasets().join("compas/golden_excerpt.csv")).unwrap(), &data);
    assert_eq!(golden.len(), 60);
    for row in &golden {
        let part = match row.part.as_str() {
            "train" => &data.fit,
            "val" => &data.validation,
            _ => &data.test,
        };
        let i = part.rows.iter().position(|source_row| *source_row == row.source_row).expect("in the same part");
        assert_row(&data, part, i, row);
    }
}

#[test]
fn compas_equals_the_golden_file() {
    let Some(folder) = env::var_os(DATASETS_DIR) else {
        eprintln!("skipped: {DATASETS_DIR} does not name a folder with compas/compas_encoded_paper.csv.gz");
        return;
    };
    let file = Path::new(&folder).join("compas/compas_encoded_paper.csv.gz");
    let mut bytes = Vec::new();
    GzDecoder::new(fs::File::open(file).unwrap()).read_to_end(&mut bytes).unwrap();

    let data = compas();
    let golden = golden(&bytes, &data);
    assert_eq!(golden.len(), 6172);
    let mut golden_rows = golden.iter();
    for (part, name) in [(&data.fit, "train"), (&data.validation, "val"), (&data.test, "test")] {
        for i in 0..part.len() {
            let row = golden_rows.next().unwrap();
            assert_eq!(row.part, name);
            assert_row(&data, part, i, row);
        }
    }

    // The same before rounding to 32 bits.
    let manifest = Manifest::read(&datasets().join("compas/manifest.toml")).unwrap();
    let (bytes, _) = table::read_checked(&data.file, &data.sha256).unwrap();
    let table = Table::parse(&manifest, &data.file, &bytes).unwrap();
    let all: Vec<_> = (0..table.rows.len()).collect();
    let mut encoder = Encoder::new(&manifest.features, &manifest.target, &table, &all, &data.file).unwrap();
    let mut features = Vec::new();
    for row in &golden {
        let i = table.rows.binary_search(&row.source_row).unwrap();
        encoder.encode_row(table.row(i), &mut features);
        assert_eq!(features, row.features);
    }
}

// The example

#[test]
fn example_needs_no_code() {
    let data = DataSet::load_from(&datasets().join("example/manifest.toml"), None, None, None).unwrap();
    assert_eq!([data.fit.len(), data.validation.len(), data.test.len()], [128, 32, 40]);
    let directions = [Direction::Increasing, Direction::Decreasing, Direction::Free, Direction::Free, Direction::Free];
    assert_eq!(data.directions().0, directions);
    assert_eq!(data.task, Task::Regression { range: Interval::new(200.0, 1800.0) });
    assert!(data.fit.y.iter().all(|y| (0.0..=1.0).contains(y)));

    let in_order =
        DataSet::load_from(&datasets().join("example/manifest.toml"), Some("file_order"), None, None).unwrap();
    assert_eq!(in_order.test.rows, (160..200).collect::<Vec<_>>());
    // 1,11.4 km from 0 to 15, 105 m2 from 20 to 120, district heating, 1,075 from 200 to 1,800.
    assert_eq!(in_order.fit.x[..5], [0.85, 0.76, 0.0, 1.0, 0.0]);
    assert_eq!(in_order.fit.y[0], 0.546_875);
}

// What a manifest can say

#[test]
fn file_order_takes_the_ends() {
    let data = Written::new().load();
    assert_eq!(data.fit.rows, [0, 1, 2, 3, 4, 5]);
    assert_eq!(data.validation.rows, [6, 7]);
    assert_eq!(data.test.rows, [8, 9]);
    assert_eq!((data.split.as_str(), data.split_seed), ("order", None));
}

#[test]
fn fitted_range_comes_from_fitting_rows_and_clamps_the_others() {
    let data = Written::new().load();
    assert_eq!(data.features[1].range, Interval::new(0.5, 5.5));
    assert_eq!(data.features.iter().map(|feature| feature.clamped).collect::<Vec<_>>(), [0, 4, 0, 0, 0]);
    assert_eq!(data.fit.x[5..10], [0.2, 0.2, 0.0, 0.0, 1.0]);
    assert_eq!(data.test.x[..5], [0.9, 1.0, 1.0, 0.0, 0.0]);
}

#[test]
fn fitted_target_is_not_clamped() {
    let manifest = r#"{ column = "id", task = "regression", range = "fit" }"#;
    let written =
        Written::new().manifest(r#"{ column = "sold", task = "binary", positive = "yes", negative = "no" }"#, manifest);
    let data = written.load();
    assert_eq!(data.task, Task::Regression { range: Interval::new(1.0, 6.0) });
    assert_eq!(data.test.y, [1.6, 1.8]);
}

#[test]
fn seed_of_the_caller_replaces_that_of_the_manifest() {
    let written = Written::new();
    let own = written.load_split(Some("drawn"), None, None).unwrap();
    assert_eq!(own.split_seed, Some(7));
    assert_eq!(own, written.load_split(Some("drawn"), Some(7), None).unwrap());
    let other = written.load_split(Some("drawn"), Some(8), None).unwrap();
    assert_eq!(other.split_seed, Some(8));
    assert_ne!(own.fit.rows, other.fit.rows);
    assert_eq!(written.load(), written.load_split(None, Some(8), None).unwrap(), "file order draws nothing");
}

#[test]
fn indices_keep_their_order_and_count_filtered_rows() {
    let written = Written::new()
        .manifest("[split]", "[[filter]]\ncolumn = \"size\"\nmin = 30\n\n[split]")
        .file("train.txt", "7\n0\n3\n4\n")
        .file("test.txt", "6\n1\n2\n5\n");
    let data = written.load_split(Some("listed"), None, None).unwrap();
    assert_eq!(data.fit.rows, [9, 2, 5]);
    assert_eq!(data.validation.rows, [6]);
    assert_eq!(data.test.rows, [8, 3, 4, 7]);
}

#[test]
fn filters_keep_what_passes_all_of_them() {
    let kept = |filter: &str| {
        let data = Written::new().manifest("[split]", &format!("[[filter]]\n{filter}\n[split]")).load();
        [data.fit.rows, data.validation.rows, data.test.rows].concat()
    };
    assert_eq!(kept("column = \"size\"\nmin = 30\nmax = 90"), [2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(kept("column = \"colour\"\nnot_equal = \"red\""), [1, 3, 4, 5, 7, 9]);
    assert_eq!(kept("column = \"colour\"\none_of = [\"red\", \"blue\"]"), [0, 1, 2, 3, 6, 7, 8, 9]);
    assert_eq!(kept("column = \"colour\"\nmax_string = \"green\""), [1, 3, 4, 5, 7, 9]);
    assert_eq!(kept("column = \"id\"\nmin = 2\n[[filter]]\ncolumn = \"id\"\nmax = 9"), [1, 2, 3, 4, 5, 6, 7, 8]);
}

#[test]
fn filter_without_condition_drops_missing_values() {
    for missing in ["3,30,,red,yes", "3,30, ? ,red,yes"] {
        let written = Written::table("3,30,2.5,red,yes", missing)
            .manifest("[split]", "[[filter]]\ncolumn = \"price\"\n[split]")
            .manifest("format = 1", "format = 1\nmissing = [\"?\"]");
        assert_eq!(written.load().fit.rows, [0, 1, 3, 4, 5]);
    }
}

#[test]
fn table_may_have_other_delimiters_and_line_ends_spaces_and_no_header() {
    let plain = Written::new().load();
    let (_, rows) = TABLE.split_once('\n').unwrap();
    let written = Written::with_table(&rows.replace(',', " ; ").replace('\n', "\r\n"))
        .manifest("format = 1", "format = 1\ndelimiter = \";\"")
        .manifest("format = 1", "format = 1\ncolumn_names = [\"id\", \"size\", \"price\", \"colour\", \"sold\"]");
    let data = written.load();
    assert_eq!((data.fit, data.validation, data.test), (plain.fit, plain.validation, plain.test));
}

#[test]
fn byte_order_mark_is_no_part_of_the_first_column() {
    let written = Written::with_table(&format!("\u{feff}{TABLE}"))
        .manifest("column = \"size\", range = [0, 100]", "column = \"id\", range = [0, 10]");
    assert_eq!(written.load().features[0].name, "id");
}

#[test]
fn compressed_table_is_read_and_its_checksum_is_that_of_the_file() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(TABLE.as_bytes()).unwrap();
    let bytes = encoder.finish().unwrap();
    let (plain, data) = (Written::new().load(), Written::with_file("sales.csv.gz", &bytes).load());
    assert_ne!(plain.sha256, data.sha256);
    assert_eq!((data.fit, data.validation, data.test), (plain.fit, plain.validation, plain.test));

    let written = Written::with_file("sales.csv.gz", &bytes[..bytes.len() / 2]);
    assert!(written.error().starts_with("sales.csv.gz: not a readable table: "));
}

#[test]
fn table_is_found_in_the_folder_of_data_sets() {
    let written = Written::new();
    let datasets = tempfile::tempdir().unwrap();
    fs::create_dir(datasets.path().join("shops")).unwrap();
    let elsewhere = datasets.path().join("shops/sales.csv");
    fs::rename(written.folder.path().join("sales.csv"), &elsewhere).unwrap();
    let data = written.load_split(None, None, Some(datasets.path())).unwrap();
    assert_eq!(data.file, elsewhere);
}

#[test]
fn a_second_file_continues_the_first() {
    let (header, rows) = TABLE.split_once('\n').unwrap();
    let (first, second) = rows.split_at(rows.find("9,90").unwrap());
    let (first, second) = (format!("{header}\n{first}"), format!("{header}\n{second}"));
    let key = |sha256: &str| {
        format!(
            "continued = {{ file = \"more.csv\", dataset_path = \"shops/more.csv\", sha256 = \"{sha256}\" }}\ntarget ="
        )
    };
    let sha256 = table::sha256(second.as_bytes());
    let two = Written::with_table(&first).manifest("target =", &key(&sha256)).file("more.csv", &second);
    let (found, whole) = (two.load(), Written::new().load());
    assert_eq!((found.fit, found.validation, found.test), (whole.fit, whole.validation, whole.test));
    assert_eq!(found.sha256, table::sha256((first.clone() + &second).as_bytes()));

    let datasets = tempfile::tempdir().unwrap();
    fs::create_dir(datasets.path().join("shops")).unwrap();
    fs::rename(two.folder.path().join("more.csv"), datasets.path().join("shops/more.csv")).unwrap();
    assert_eq!(two.load_split(None, None, Some(datasets.path())).unwrap().test.rows, [8, 9]);
    assert!(
        two.error().contains("more.csv: no such file") && two.error().contains("shops/more.csv"),
        "{}",
        two.error()
    );

    let changed = Written::with_table(&first).manifest("target =", &key(&sha256)).file("more.csv", &first);
    assert!(changed.error().starts_with("more.csv: sha256 is"), "{}", changed.error());
}

// Data sets that lie elsewhere

/// A data set of the repository whose table is not; `None`, with a line that says so, where it is not at hand.
fn elsewhere(name: &str, split: Option<&str>, seed: Option<u64>) -> Option<DataSet> {
    let manifest = datasets().join(name).join("manifest.toml");
    let Some(folder) = env::var_os(DATASETS_DIR) else {
        eprintln!("skipped: {DATASETS_DIR} does not name a folder with the table of {}", manifest.display());
        let error = DataSet::load_from(&manifest, split, seed, None).unwrap_err().to_string();
        assert!(error.contains(DATASETS_DIR), "{error}");
        return None;
    };
    Some(DataSet::load_from(&manifest, split, seed, Some(Path::new(&folder))).unwrap())
}

#[test]
fn heart_has_the_published_sizes() {
    let Some(data) = elsewhere("heart", None, None) else { return };
    assert_eq!([data.fit.len(), data.validation.len(), data.test.len()], [193, 49, 61]);
    assert_eq!(data.test.rows, (242..303).collect::<Vec<_>>());
    let positive = [&data.fit, &data.validation, &data.test].map(|part| part.y.iter().sum::<f32>());
    assert_eq!(positive.iter().sum::<f32>(), 83.0);
    assert_eq!(positive[2], 13.0, "the majority class has 78.7 % of the test rows");
    let increasing = data.features.iter().filter(|feature| feature.direction == Direction::Increasing);
    assert_eq!(increasing.map(|feature| feature.name.as_str()).collect::<Vec<_>>(), ["trestbps", "chol"]);
    assert_eq!(data.features.len(), 13);

    let drawn = elsewhere("heart", Some("random"), Some(1)).unwrap();
    assert_eq!([drawn.fit.len(), drawn.validation.len(), drawn.test.len()], [193, 49, 61]);
}

#[test]
fn auto_mpg_has_the_published_rows() {
    let Some(data) = elsewhere("autompg", None, None) else { return };
    // 392 of 398: six have no horsepower.
    assert_eq!([data.fit.len(), data.validation.len(), data.test.len()], [250, 63, 79]);
    let decreasing = data.features.iter().filter(|feature| feature.direction == Direction::Decreasing);
    let names: Vec<_> = decreasing.map(|feature| feature.name.as_str()).collect();
    assert_eq!(names, ["displacement", "horsepower", "weight"]);
    assert_eq!(data.features.len(), 7);
    assert_eq!(data.task, Task::Regression { range: Interval::new(5.0, 50.0) });
}

// What can be wrong

#[test]
fn missing_file() {
    let written = Written::new();
    fs::remove_file(written.folder.path().join("sales.csv")).unwrap();
    assert_eq!(
        written.error(),
        "sales.csv: no such file; put the table there (from https://example.org/sales.csv), or set DATASETS_DIR to a \
         folder that holds shops/sales.csv"
    );
    let error = written.load_split(None, None, Some(Path::new("/nowhere"))).unwrap_err();
    assert!(error.to_string().contains("no such file, nor /nowhere/shops/sales.csv; put the table there"));
}

#[test]
fn missing_manifest() {
    let error = DataSet::load(Path::new("/nowhere/manifest.toml"), None, None).unwrap_err();
    assert!(matches!(error, DataError::Read { .. }));
    assert_eq!(error.to_string(), "/nowhere/manifest.toml: cannot be read");
}

#[test]
fn wrong_checksum() {
    let written = Written::new();
    let found = written.load().sha256;
    let expected = "0".repeat(64);
    let error = written.manifest(&found, &expected).error();
    assert!(error.starts_with(&format!("sales.csv: sha256 is {found}, expected {expected}: ")), "{error}");
}

/// The error of a manifest in which `from` was replaced by `to`.
#[track_caller]
fn assert_manifest_error(from: &str, to: &str, expected: &[&str]) {
    let error = Written::new().manifest(from, to).error();
    for expected in expected {
        assert!(error.contains(expected), "{error}\n\nlacks: {expected}");
    }
}

#[test]
fn unknown_keys_are_named_with_their_line() {
    let at = |line| format!("manifest.toml:{line}: not a valid manifest: TOML parse error at line {line}");
    assert_manifest_error("title", "titel", &[&at(3), "unknown field `titel`"]);
    assert_manifest_error("text = ", "txt = ", &[&at(9), "unknown field `txt`"]);
    assert_manifest_error("integer = true", "intger = true", &[&at(11), "unknown field `intger`"]);
    assert_manifest_error("positive", "positiv", &[&at(15), "unknown field `positiv`"]);
    assert_manifest_error("\"random\", seed", "\"random\", sed", &[&at(19), "unknown field `sed`"]);
    assert_manifest_error(
        "[split]",
        "[[filter]]\ncolumn = \"id\"\nmaximum = 3\n[split]",
        &[&at(19), "unknown field `maximum`"],
    );
}

#[test]
fn impossible_values_are_named_with_their_line() {
    let at = |line| format!("manifest.toml:{line}: not a valid manifest: TOML parse error at line {line}");
    assert_manifest_error(
        "[0, 100]",
        "[100, 0]",
        &[&at(11), "expected a range [min, max] with min < max, found [100, 0]"],
    );
    assert_manifest_error(
        "[0, 100]",
        "[0, nan]",
        &[&at(11), "expected a range [min, max] with min < max, found [0, NaN]"],
    );
    assert_manifest_error("[0, 100]", "[0, 50, 100]", &[&at(11), "expected a range [min, max] with min < max"]);
    assert_manifest_error("[0, 100]", "[0, 99.5]", &[&at(11), "integer feature `size`: expected integers as ends"]);
    assert_manifest_error(
        "\"fit\"",
        "\"fitted\"",
        &[&at(12), "expected a range [min, max] with min < max, or \"fit\""],
    );
    assert_manifest_error("range = \"fit\", ", "", &[&at(12), "feature `price`: expected either `range`"]);
    assert_manifest_error("\"increasing\"", "\"up\"", &[&at(11), "unknown variant `up`, expected one of `increasing`"]);
    assert_manifest_error("[\"red\", \"green\", \"blue\"]", "[\"red\"]", &[&at(13), "two or more different values"]);
    assert_manifest_error("\"green\"", "\"red\"", &[&at(13), "two or more different values"]);
    assert_manifest_error(
        "order = { method = \"file_order\", test = 0.2",
        "order = { method = \"file_order\", test = 20",
        &[&at(18), "expected a fraction from 0 to below 1, found 20"],
    );
    assert_manifest_error("format = 1", "format = 1\ndelimiter = \"·\"", &[&at(2), "expected an ASCII character"]);
    assert_manifest_error("format = 1", "format = 2", &["manifest.toml: format is 2, expected 1"]);
}

#[test]
fn categorical_feature_cannot_be_monotone() {
    let to = "\"blue\"], direction = \"increasing\"";
    assert_manifest_error("\"blue\"]", to, &["manifest.toml:13: ", "categorical feature `colour` cannot be monotone"]);
    assert_manifest_error("\"blue\"]", "\"blue\"], integer = true", &["`integer` belongs to numeric features"]);
}

#[test]
fn contradicting_directions() {
    assert_manifest_error(
        "column = \"price\"",
        "column = \"size\"",
        &["manifest.toml: feature `size` is increasing in one place and decreasing in another"],
    );
}

#[test]
fn columns_used_twice() {
    assert_manifest_error("column = \"colour\"", "column = \"sold\"", &["column `sold` is used twice"]);
    let again = "column = \"colour\", values = [\"red\", \"blue\"] },\n { column = \"colour\"";
    assert_manifest_error("column = \"colour\"", again, &["column `colour` is used twice"]);
}

#[test]
fn no_feature() {
    let written = Written::new();
    let (start, end) = (written.manifest.find("feature = [").unwrap(), written.manifest.find("target").unwrap());
    let features = written.manifest[start..end].to_string();
    assert!(written.manifest(&features, "").error().contains("there is no feature"));
}

#[test]
fn unknown_split() {
    assert_eq!(
        Written::new().error_of_split(Some("orders")),
        "manifest.toml: there is no split `orders` (did you mean `order`?): the manifest has `drawn`, `listed`, `order`"
    );
    assert_manifest_error("default_split = \"order\"", "default_split = \"paper\"", &["there is no split `paper`"]);
}

#[test]
fn missing_or_renamed_column() {
    assert_eq!(
        Written::table("id,size,", "id,sizes,").error(),
        "sales.csv: there is no column `size` (did you mean `sizes`?): the file has `id`, `sizes`, `price`, `colour`, \
         `sold`; correct the name in the manifest or in the file"
    );
    // A monotone feature is a column too, and one that nothing resembles has no suggestion.
    assert_manifest_error("column = \"price\"", "column = \"weight\"", &["there is no column `weight`: the file"]);
}

#[test]
fn duplicate_column_in_the_header() {
    assert!(Written::table("id,size,price", "id,size,size").error().contains("the header has column `size` twice"));
    let unused = Written::table(TABLE, &TABLE.replace('\n', ",0\n").replacen("sold,0", "sold,id", 1));
    assert_eq!(unused.load().fit.len(), 6, "nothing reads `id`");
}

#[test]
fn short_and_long_rows() {
    let short = Written::table("3,30,2.5,red,yes", "3,30,2.5,red").error();
    assert!(short.starts_with("sales.csv:4: the row has 4 cells, expected 5: "), "{short}");
    let long = Written::table("3,30,2.5,red,yes", "3,30,2,5,red,yes").error();
    assert!(long.starts_with("sales.csv:4: the row has 6 cells, expected 5: "), "{long}");
}

#[test]
fn lines_are_those_of_the_file() {
    // Counted with what an editor counts: empty lines, CRLF, and cells over several lines.
    let table = TABLE.replace("1,10,", "\n\"1\n1\",10,").replace("3,30,", "3,x,").replace('\n', "\r\n");
    let error = Written::with_table(&table).error();
    assert!(error.starts_with("sales.csv:6: column `size`: "), "{error}");
    for table in [TABLE.into(), TABLE.replace('\n', "\r\n"), format!("\u{feff}{TABLE}")] {
        let error = Written::with_table(&table.replace("1,10,", "1,x,")).error();
        assert!(error.starts_with("sales.csv:2: column `size`: "), "{error}");
    }
}

#[test]
fn text_that_is_no_finite_number() {
    for found in ["abc", "NaN", "nan", "inf", "-infinity", "1e999", "0x10", "1 000"] {
        for (column, row) in [("size", format!("3,{found},2.5,red,yes")), ("price", format!("3,30,{found},red,yes"))] {
            let error = Written::table("3,30,2.5,red,yes", &row).error();
            let expected = format!("sales.csv:4: column `{column}`: expected a finite number, found `{found}`: ");
            assert!(error.starts_with(&expected), "{error}");
        }
    }
    let filtered =
        Written::table("3,30,", "x,30,").manifest("[split]", "[[filter]]\ncolumn = \"id\"\nmin = 0\n[split]");
    assert!(filtered.error().starts_with("sales.csv:4: column `id`: expected a finite number, found `x`"));
}

#[test]
fn value_outside_its_declared_range() {
    for (found, row) in [("-1", "3,-1,2.5,red,yes"), ("101", "3,101,2.5,red,yes")] {
        let error = Written::table("3,30,2.5,red,yes", row).error();
        let expected = format!("sales.csv:4: column `size`: expected a value in [0, 100], found {found}: ");
        assert!(error.starts_with(&expected), "{error}");
    }
}

#[test]
fn integer_feature_with_a_fraction() {
    let error = Written::table("3,30,", "3,30.5,").error();
    assert!(error.starts_with("sales.csv:4: column `size`: expected an integer, found 30.5: "), "{error}");
}

#[test]
fn missing_value() {
    let error = Written::table("3,30,2.5,red", "3,30,2.5,").error();
    assert!(error.starts_with("sales.csv:4: column `colour`: the value is missing (``): "), "{error}");
    assert!(error.ends_with("drop such rows with `[[filter]]` and `column = \"colour\"` in the manifest"), "{error}");
}

#[test]
fn unknown_category_or_class() {
    assert_eq!(
        Written::table("3,30,2.5,red", "3,30,2.5,rred").error(),
        "sales.csv:4: column `colour`: expected one of `red`, `green`, `blue`, found `rred` (did you mean `red`?)"
    );
    assert_eq!(
        Written::table("3,30,2.5,red,yes", "3,30,2.5,red,maybe").error(),
        "sales.csv:4: column `sold`: expected one of `no`, `yes`, found `maybe`"
    );
}

#[test]
fn constant_column_has_no_range_to_fit() {
    let (_, rows) = TABLE.split_once('\n').unwrap();
    let constant = rows.lines().map(|row| {
        let cells: Vec<_> = row.split(',').collect();
        format!("{},{},4,{},{}\n", cells[0], cells[1], cells[3], cells[4])
    });
    let table = format!("id,size,price,colour,sold\n{}", constant.collect::<String>());
    assert!(Written::with_table(&table).error().contains("column `price` is 4 in all rows to fit on"));
}

#[test]
fn too_many_steps_of_an_integer_feature() {
    let written = Written::new().manifest("range = [0, 100]", "range = [0, 1e10]");
    assert!(written.error().contains("feature `size` has 10000000000 steps, expected at most 4294967295"));
}

#[test]
fn target_of_one_class_in_the_fitting_part() {
    let table: String = TABLE.lines().take(7).map(|row| row.replace(",no", ",yes") + "\n").collect();
    let rest: String = TABLE.lines().skip(7).map(|row| format!("{row}\n")).collect();
    let error = Written::with_table(&(table + &rest)).error();
    assert!(error.starts_with("sales.csv: target `sold` is 1 in all rows to fit on"), "{error}");
}

#[test]
fn empty_parts() {
    let few = |rows: usize| {
        Written::with_table(&TABLE.lines().take(rows + 1).map(|row| format!("{row}\n")).collect::<String>())
    };
    let error =
        |part: &str, rows| format!("split `order`: the {part} part is empty ({rows} rows are left after the filters)");
    assert!(few(0).error().starts_with(&error("fitting", 0)));
    assert!(few(1).error().starts_with(&error("fitting", 1)));
    let written = Written::new().manifest("\"file_order\", test = 0.2", "\"file_order\", test = 0");
    assert!(written.error().starts_with(&error("test", 10)));
}

#[test]
fn index_files_that_do_not_fit() {
    let error = |train: &str, test: &str| {
        Written::new().file("train.txt", train).file("test.txt", test).error_of_split(Some("listed"))
    };
    let train = "0\n1\n2\n3\n4\n5\n6\n";
    assert!(error(train, "7\n10\n9\n").starts_with("test.txt:2: row 10 does not exist: 10 rows are left"));
    assert!(error(train, "7\n8\n6\n").starts_with("test.txt:3: row 6 is listed a second time"));
    assert!(error("0\n1\n1\n", "7\n").starts_with("train.txt:3: row 1 is listed a second time"));
    assert!(error(train, "7\n-8\n").starts_with("test.txt:2: expected a row number from 0, found `-8`"));
    assert!(error(train, "9\n").starts_with("split `listed`: 2 of 10 rows are in no index file, the first is row 7"));
    let missing = Written::new().error_of_split(Some("listed"));
    assert!(missing.starts_with("train.txt: cannot be read: "), "{missing}");
}

#[test]
fn table_that_is_no_text() {
    let error =
        Written::with_file("sales.csv", &[b"id,size,price,colour,sold\n1,2,3,", &[0xff, 0xfe][..], b",yes\n"].concat());
    assert!(error.error().starts_with("sales.csv: not a readable table: CSV parse error: "));
}

// Laws

proptest! {
    #[test]
    fn encoded_rows_stay_in_the_domain(seed: u64, cells in prop::collection::vec((0..=100u8, -1e6..1e6f64, 0..3usize, any::<bool>()), 20..60)) {
        let row = |(size, price, colour, sold): &(u8, f64, usize, bool)| {
            format!("0,{size},{price},{},{}\n", ["red", "green", "blue"][*colour], if *sold { "yes" } else { "no" })
        };
        let table = format!("id,size,price,colour,sold\n{}", cells.iter().map(row).collect::<String>());
        let data = match Written::with_table(&table).load_split(Some("drawn"), Some(seed), None) {
            Err(DataError::OneClass { .. }) => return Ok(()),
            other => other.unwrap(),
        };

        let mut rows = [&data.fit, &data.validation, &data.test].map(|part| part.rows.clone()).concat();
        rows.sort_unstable();
        prop_assert_eq!(rows, (0..cells.len()).collect::<Vec<_>>(), "every row is in exactly one part");
        for part in [&data.fit, &data.validation, &data.test] {
            prop_assert_eq!((part.x.len(), part.y.len()), (5 * part.len(), part.len()));
            for (x, (&y, &row)) in part.x.chunks(5).zip(part.y.iter().zip(&part.rows)) {
                prop_assert!(x.iter().all(|value| (0.0..=1.0).contains(value)));
                prop_assert_eq!(x[2..].iter().sum::<f32>(), 1.0);
                let (size, _, colour, sold) = cells[row];
                prop_assert_eq!(x[0], (f64::from(size) / 100.0) as f32);
                prop_assert_eq!(x[2 + colour], 1.0);
                prop_assert_eq!(y, f32::from(sold));
            }
        }
    }
}
