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
    DataSet::load_from(&datasets().join("compas/manifest.toml"), Some("paper"), None, Scales::Declared, None).unwrap()
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

fn sha256_of(bytes: &[u8]) -> String {
    table::hexadecimal(&Sha256::digest(bytes))
}

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
        let manifest = MANIFEST.replace("sales.csv\"\ndata", &format!("{name}\"\ndata"));
        let manifest = manifest.replace("SHA256", &sha256_of(bytes));
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
        DataSet::load_from(&path, split, seed, Scales::Declared, datasets)
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
    let table = Table::parse(&manifest, &Variant::default(), &data.file, &fs::read(&data.file).unwrap()).unwrap();
    let all: Vec<_> = (0..table.rows.len()).collect();
    let mut encoder =
        Encoder::new(&manifest.features, Scales::Declared, &manifest.target, &table, &all, &data.file).unwrap();
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
    let data =
        DataSet::load_from(&datasets().join("example/manifest.toml"), None, None, Scales::Declared, None).unwrap();
    assert_eq!([data.fit.len(), data.validation.len(), data.test.len()], [128, 32, 40]);
    let directions = [Direction::Increasing, Direction::Decreasing, Direction::Free, Direction::Free, Direction::Free];
    assert_eq!(data.directions().0, directions);
    assert_eq!(data.task, Task::Regression { range: Interval::new(200.0, 1800.0) });
    assert!(data.fit.y.iter().all(|y| (0.0..=1.0).contains(y)));

    let in_order =
        DataSet::load_from(&datasets().join("example/manifest.toml"), Some("file_order"), None, Scales::Declared, None)
            .unwrap();
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

/// Integers are no longer at equal distances then, so they are no integers for a domain.
#[test]
fn counts_may_be_scaled_by_their_logarithm() {
    let symlog = r#"range = [0, 100], scale = "symlog", integer = true"#;
    let written = Written::new().manifest("range = [0, 100], integer = true", symlog);
    let data = written.load();
    let of_size = |data: &DataSet| data.fit.x.chunks(5).map(|row| row[0]).collect::<Vec<_>>();
    let expected = [10.0, 20.0, 30.0, 40.0, 50.0, 60.0].map(|size: f64| ((1.0 + size).ln() / 101.0_f64.ln()) as f32);
    assert_eq!(of_size(&data), expected);
    let feature = &data.features[0];
    assert_eq!(
        (feature.scale, &feature.kind, feature.direction),
        (Scale::Symlog, &FeatureKind::Real, Direction::Increasing)
    );
    assert!((feature.raw(f64::from(expected[2])) - 30.0).abs() < 1e-4);
    assert_eq!(feature.of_a_model().scaled(30.0) as f32, expected[2]);
    assert!(data.domain(DomainKind::OneHotInteger).integer().is_empty());

    // Everything else stays as it is without the scale, and a run may ask for none.
    let plain = Written::new().load();
    assert_ne!(of_size(&plain), of_size(&data));
    let without =
        DataSet::load_scaled(&written.folder.path().join("manifest.toml"), None, None, Scales::Linear).unwrap();
    assert_eq!((&without.fit, &without.test, &without.features), (&plain.fit, &plain.test, &plain.features));
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
    let sha256 = sha256_of(second.as_bytes());
    let two = Written::with_table(&first).manifest("target =", &key(&sha256)).file("more.csv", &second);
    let (found, whole) = (two.load(), Written::new().load());
    assert_eq!((found.fit, found.validation, found.test), (whole.fit, whole.validation, whole.test));
    assert_eq!(found.sha256, sha256_of((first.clone() + &second).as_bytes()));

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

/// [`TABLE`] in two files, the second with its last two rows.
fn in_two_files() -> Written {
    let (header, rows) = TABLE.split_once('\n').unwrap();
    let (first, second) = rows.split_at(rows.find("9,90").unwrap());
    let second = format!("{header}\n{second}");
    let keys = format!("[continued]\nfile = \"more.csv\"\nsha256 = \"{}\"\n\n[split]", sha256_of(second.as_bytes()));
    let files = "\"files\", validation = 0.25 }";
    Written::with_table(&format!("{header}\n{first}"))
        .manifest("[split]", &keys)
        .manifest("\"file_order\", test = 0.2, validation = 0.25 }", files)
        .file("more.csv", &second)
}

#[test]
fn the_second_file_can_be_the_test_part() {
    let data = in_two_files().load();
    assert_eq!([data.fit.rows, data.validation.rows, data.test.rows], [vec![0, 1, 2, 3, 4, 5], vec![6, 7], vec![8, 9]]);

    let filtered =
        in_two_files().manifest("[split]", "[[filter]]\ncolumn = \"colour\"\nnot_equal = \"red\"\n\n[split]").load();
    assert_eq!([filtered.fit.rows, filtered.validation.rows, filtered.test.rows], [vec![1, 3, 4], vec![5, 7], vec![9]]);

    let one = Written::new().manifest("\"file_order\", test = 0.2, validation = 0.25 }", "\"files\" }");
    assert!(one.error().starts_with("split `order`: the test part is empty"), "{}", one.error());
}

#[test]
fn a_variant_drops_listed_rows_for_its_split_alone() {
    let written = || in_two_files().manifest("[split]", "[variant]\norder = { drop_rows = \"lost.txt\" }\n\n[split]");
    let dropped = written().file("lost.txt", "0\n8\n");
    let data = dropped.load();
    assert_eq!([data.fit.rows, data.validation.rows, data.test.rows], [vec![1, 2, 3, 4, 5], vec![6, 7], vec![9]]);
    assert_eq!(data.fit.x[..2], [0.2, 0.0], "the second row, with the range of the fitting rows that are left");
    let drawn = dropped.load_split(Some("drawn"), None, None).unwrap();
    assert_eq!(drawn.fit.len() + drawn.validation.len() + drawn.test.len(), 10);

    // Rows are counted in the files, whatever the filters have dropped.
    let filter = "[[filter]]\ncolumn = \"colour\"\nnot_equal = \"red\"\n\n[split]";
    let data = written().manifest("[split]", filter).file("lost.txt", "1\n2\n").load();
    assert_eq!([data.fit.rows, data.validation.rows, data.test.rows], [vec![3, 4, 5], vec![7], vec![9]]);

    assert!(written().file("lost.txt", "10\n").error().starts_with("lost.txt:1: row 10 does not exist"));
    assert!(written().error().starts_with("lost.txt: cannot be read"));
    assert_manifest_error("[split]", "[variant]\nodrer = {}\n\n[split]", &["there is no split `odrer`", "`order`"]);
}

#[test]
fn a_variant_takes_the_remainder_of_a_target_before_filters_see_it() {
    let binary = r#"{ column = "sold", task = "binary", positive = "yes", negative = "no" }"#;
    let filter = "[[filter]]\ncolumn = \"id\"\nmax = 2\n\n[variant]\norder = { target_modulo = 4 }\n\n[split]";
    let written = Written::new()
        .manifest(binary, r#"{ column = "id", task = "regression", range = [0, 2] }"#)
        .manifest("[split]", filter);
    let data = written.load();
    // 1 to 10 become 1 2 3 0 1 2 3 0 1 2, and 3 is too large.
    assert_eq!([data.fit.rows, data.validation.rows, data.test.rows], [vec![0, 1, 3, 4], vec![5, 7], vec![8, 9]]);
    assert_eq!(data.fit.y, [0.5, 1.0, 0.0, 0.5]);
    let data = written.load_split(Some("drawn"), None, None);
    assert!(data.is_err(), "without the variant two rows are left, too few for three parts");
}

#[test]
fn ordered_texts_become_one_integer_feature() {
    let levels = "levels = [\"red\", \"green\", \"blue\"], direction = \"decreasing\"";
    let data = Written::new().manifest("values = [\"red\", \"green\", \"blue\"]", levels).load();
    let feature = &data.features[2];
    assert_eq!((data.features.len(), feature.name.as_str(), feature.direction), (3, "colour", Direction::Decreasing));
    assert_eq!((feature.range, &feature.kind), (Interval::new(0.0, 2.0), &FeatureKind::Integer { steps: 2 }));
    let colours: Vec<_> = data.fit.x.chunks(3).map(|row| row[2]).collect();
    assert_eq!(colours, [0.0, 1.0, 0.0, 1.0, 0.5, 0.5]);

    let values = "values = [\"red\", \"green\", \"blue\"]";
    assert_manifest_error(values, "levels = [\"red\", \"red\"]", &["two or more different values"]);
    assert_manifest_error(values, "levels = [\"red\", \"blue\"], range = [0, 1]", &["expected either `range`"]);
    let unknown = Written::new().manifest(values, "levels = [\"red\", \"blue\"]").error();
    assert!(unknown.contains("column `colour`: expected one of `red`, `blue`, found `green`"), "{unknown}");
}

#[test]
fn comments_are_no_rows_and_a_suffix_no_part_of_a_class() {
    let table = format!("|made by hand\n{}", TABLE.replace("3,30,", "|a break\n\n3,30,").replace(",yes", ",yes."));
    let written = |table: &str| {
        Written::with_table(table)
            .manifest("format = 1", "format = 1\ncomment = \"|\"")
            .manifest("negative = \"no\"", "negative = \"no\", strip_suffix = \".\"")
    };
    let (found, plain) = (written(&table).load(), Written::new().load());
    assert_eq!((found.fit, found.validation, found.test), (plain.fit, plain.validation, plain.test));

    // Lines are still counted as an editor counts them.
    let error = written(&table.replace("3,30,", "3,x,")).error();
    assert!(error.starts_with("sales.csv:7: column `size`: "), "{error}");
    let error = written(&table.replace("yes.", "yes!")).error();
    assert!(error.contains("expected one of `no`, `yes`, found `yes!`"), "{error}");
}

#[test]
fn a_table_may_lie_there_compressed() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(TABLE.as_bytes()).unwrap();
    let bytes = encoder.finish().unwrap();
    let written = Written::new();
    let plain = written.load();
    fs::remove_file(written.folder.path().join("sales.csv")).unwrap();
    let datasets = tempfile::tempdir().unwrap();
    fs::create_dir(datasets.path().join("shops")).unwrap();

    fs::write(datasets.path().join("shops/sales.csv.gz"), &bytes).unwrap();
    let elsewhere = written.load_split(None, None, Some(datasets.path())).unwrap();
    fs::write(written.folder.path().join("sales.csv.gz"), &bytes).unwrap();
    let beside = written.load();
    for data in [&beside, &elsewhere] {
        assert_eq!((&data.fit, &data.test, &data.sha256), (&plain.fit, &plain.test, &plain.sha256));
    }

    // The checksum is that of the text.
    fs::write(written.folder.path().join("sales.csv.gz"), &bytes[..bytes.len() / 2]).unwrap();
    assert!(written.error().starts_with("sales.csv.gz: not a readable table: "), "{}", written.error());
    let wrong = written.manifest(&plain.sha256, &sha256_of(&bytes)).file("sales.csv", TABLE);
    assert!(wrong.error().starts_with("sales.csv: sha256 is "), "the file of the very name comes first");
}

// Data sets that lie elsewhere

/// A data set of the repository whose table is not; `None`, with a line that says so, where it is not at hand.
fn elsewhere(name: &str, split: Option<&str>, seed: Option<u64>) -> Option<DataSet> {
    let manifest = datasets().join(name).join("manifest.toml");
    let Some(folder) = env::var_os(DATASETS_DIR) else {
        eprintln!("skipped: {DATASETS_DIR} does not name a folder with the table of {}", manifest.display());
        let error = DataSet::load_from(&manifest, split, seed, Scales::Declared, None).unwrap_err().to_string();
        assert!(error.contains(DATASETS_DIR), "{error}");
        return None;
    };
    Some(DataSet::load_from(&manifest, split, seed, Scales::Declared, Some(Path::new(&folder))).unwrap())
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

/// Rows, features and directions of every data set, against what its manifest and its README say.
#[test]
fn manifests_tell_the_number_of_rows() {
    for (name, rows, features, monotone) in [
        ("adult", 48_842, 91, 3),
        ("autompg", 392, 7, 3),
        ("blog_feedback", 54_314, 276, 8),
        ("compas", 6172, 13, 4),
        ("energy", 768, 8, 0),
        ("example", 200, 5, 2),
        ("heart", 303, 13, 2),
        ("loan_stand_in", 10_734, 28, 5),
        ("wbc", 683, 9, 0),
    ] {
        assert_eq!(Manifest::read(&datasets().join(name).join("manifest.toml")).unwrap().rows, Some(rows), "{name}");
        let manifest = datasets().join(name).join("manifest.toml");
        // Some tables travel with the repository.
        let here = DataSet::load_from(&manifest, None, None, Scales::Declared, None).ok();
        let Some(data) = here.or_else(|| elsewhere(name, None, None)) else { continue };
        assert_eq!(data.fit.len() + data.validation.len() + data.test.len(), rows, "{name}");
        let constrained = data.directions().0.iter().filter(|direction| **direction != Direction::Free).count();
        assert_eq!((data.features.len(), constrained), (features, monotone), "{name}");
        assert!(data.features.iter().all(|feature| feature.clamped == 0), "{name}");
    }
}

/// Sum of the targets of all rows in raw units: the two classes are 0 and 1.
fn sum_of_targets(parts: &[&Part], task: Task) -> f64 {
    let sum: f64 = parts.iter().flat_map(|part| &part.y).map(|y| f64::from(*y)).sum();
    match task {
        Task::Binary => sum,
        Task::Regression { range } => sum * (range.upper - range.lower),
    }
}

/// Root mean square error on the test rows of always predicting the mean of the training rows, and of predicting 0.
fn constant_errors(data: &DataSet) -> [f64; 2] {
    let train: Vec<_> = data.fit.y.iter().chain(&data.validation.y).map(|y| f64::from(*y)).collect();
    let mean = train.iter().sum::<f64>() / train.len() as f64;
    [mean, 0.0].map(|value| {
        let squares = data.test.y.iter().map(|y| (f64::from(*y) - value).powi(2));
        (squares.sum::<f64>() / data.test.len() as f64).sqrt()
    })
}

/// To five digits, as the README of the data gives figures.
fn rounded(values: [f64; 2]) -> [f64; 2] {
    values.map(|value| (value * 1e5).round() / 1e5)
}

fn names_with(data: &DataSet, direction: Direction) -> Vec<&str> {
    let features = data.features.iter().filter(|feature| feature.direction == direction);
    features.map(|feature| feature.name.as_str()).collect()
}

const BLOG_MONOTONE: [&str; 8] = ["A51", "A52", "A53", "A54", "A56", "A57", "A58", "A59"];

#[test]
fn blog_feedback_has_all_rows_and_exact_targets() {
    let Some(data) = elsewhere("blog_feedback", None, None) else { return };
    assert_eq!(data.split, "straight");
    assert_eq!([data.fit.len() + data.validation.len(), data.validation.len(), data.test.len()], [47_287, 9458, 7027]);
    assert_eq!(names_with(&data, Direction::Increasing), BLOG_MONOTONE);
    assert!(names_with(&data, Direction::Decreasing).is_empty());
    assert_eq!(data.task, Task::Regression { range: Interval::new(0.0, 8.0) });

    assert_eq!(sum_of_targets(&[&data.fit, &data.validation], data.task), 35_560.0);
    assert_eq!(sum_of_targets(&[&data.test], data.task), 4520.0);
    assert_eq!(rounded(constant_errors(&data)), [0.18866, 0.20463]);

    // The first row of the file: A51 to A54 and A56, then A1 after the monotone ones; 1 comment came.
    let part = if data.fit.rows.contains(&0) { &data.fit } else { &data.validation };
    let first = part.rows.iter().position(|row| *row == 0).unwrap();
    let x = &part.x[276 * first..];
    let ranges = [(2.0, 3125.0), (2.0, 1096.0), (0.0, 1370.0), (2.0, 3073.0), (0.0, 30.0)];
    assert_eq!(x[..5], ranges.map(|(count, most): (f64, f64)| (count.ln_1p() / most.ln_1p()) as f32));
    assert_eq!(x[8], (40.30467_f64.ln_1p() / 1122.6666_f64.ln_1p()) as f32);
    assert_eq!(data.features.iter().filter(|feature| feature.scale == Scale::Symlog).count(), 58);
    assert_eq!(part.y[first], 1.0 / 8.0);
    // Validation rows are drawn: their targets have the mean of the others, up to four standard errors.
    let mean = |part: &Part| part.y.iter().map(|y| f64::from(*y)).sum::<f64>() / part.len() as f64;
    assert!((mean(&data.validation) - mean(&data.fit)).abs() < 4.0 * 0.2 / (9458.0_f64).sqrt());
    // The test file goes on after the 52,397 rows of the training file.
    assert!(data.validation.rows.iter().all(|row| *row < 52_397) && data.test.rows[0] == 52_397);
}

#[test]
fn blog_feedback_as_published_equals_the_published_loader() {
    let Some(data) = elsewhere("blog_feedback", Some("published"), None) else { return };
    assert_eq!([data.fit.len() + data.validation.len(), data.test.len()], [47_302, 6968]);
    assert_eq!(names_with(&data, Direction::Increasing), BLOG_MONOTONE);
    assert_eq!(sum_of_targets(&[&data.fit, &data.validation], data.task), 35_601.0);
    assert_eq!(sum_of_targets(&[&data.test], data.task), 4499.0);
    assert_eq!(rounded(constant_errors(&data)), [0.18888, 0.20497]);
    // The first row of each file was lost.
    let first = data.fit.rows.iter().chain(&data.validation.rows).min();
    assert_eq!((first, data.test.rows[0]), (Some(&1), 52_398));

    // Features and ranges in the published order; over all rows every feature reaches both ends.
    let columns =
        fs::read_to_string(Path::new(&env::var_os(DATASETS_DIR).unwrap()).join("blog_feedback/paper_columns.csv"));
    for (line, feature) in columns.unwrap().lines().skip(1).zip(&data.features) {
        let cells: Vec<_> = line.split(',').collect();
        assert_eq!(cells[1], feature.name);
        assert_eq!(cells[2] == "1", feature.direction == Direction::Increasing);
        let range = Interval::new(cells[3].parse().unwrap(), cells[4].parse().unwrap());
        assert_eq!(range, feature.range, "{}", feature.name);
    }
    let mut extents = vec![Interval::new(1.0, 0.0); 276];
    for row in [&data.fit, &data.validation, &data.test].into_iter().flat_map(|part| part.x.chunks(276)) {
        for (extent, &x) in extents.iter_mut().zip(row) {
            *extent = Interval::new(extent.lower.min(x.into()), extent.upper.max(x.into()));
        }
    }
    assert!(extents.iter().all(|extent| *extent == Interval::new(0.0, 1.0)));
}

#[test]
fn loan_stand_in_has_the_rows_that_the_papers_loader_would_take() {
    let Some(data) = elsewhere("loan_stand_in", None, None) else { return };
    assert_eq!([data.fit.len(), data.validation.len(), data.test.len()], [7257, 1815, 1662]);
    let folder = PathBuf::from(env::var_os(DATASETS_DIR).unwrap());
    let listed = |file: &str| -> Vec<usize> {
        let text = fs::read_to_string(folder.join("loan").join(file)).unwrap();
        text.lines().map(|line| line.parse().unwrap()).collect()
    };
    assert_eq!([&data.fit.rows[..], &data.validation.rows].concat(), listed("loan_like_paper_train_rows.txt"));
    assert_eq!(data.test.rows, listed("loan_like_paper_test_rows.txt"));
    assert_eq!(sum_of_targets(&[&data.test], data.task), 831.0, "half of the test rows");
    assert_eq!(sum_of_targets(&[&data.fit, &data.validation], data.task), 4491.0);

    assert_eq!(names_with(&data, Direction::Increasing), ["grade", "pub_rec_bankruptcies", "dti"]);
    assert_eq!(names_with(&data, Direction::Decreasing), ["emp_length", "annual_inc"]);
    assert!(data.title.contains("STAND-IN"), "nobody should take it for the paper's table");

    let drawn = elsewhere("loan_stand_in", Some("random"), Some(1)).unwrap();
    assert_eq!([drawn.fit.len(), drawn.validation.len(), drawn.test.len()], [7257, 1815, 1662]);
}

#[test]
fn adult_has_the_rows_of_both_files() {
    let Some(data) = elsewhere("adult", None, None) else { return };
    assert_eq!([data.fit.len(), data.validation.len(), data.test.len()], [26_048, 6513, 16_281]);
    assert_eq!(names_with(&data, Direction::Increasing), ["education-num", "capital-gain", "hours-per-week"]);
    assert_eq!(sum_of_targets(&[&data.fit, &data.validation], data.task), 7841.0);
    assert_eq!(sum_of_targets(&[&data.test], data.task), 3846.0, "written `>50K.` in this file");

    // 39, State-gov, 77516, Bachelors, 13, .., 2174, 0, 40, United-States, <=50K
    let expected = [12.0 / 15.0, 2174.0 / 99_999.0, 39.0 / 98.0, 22.0 / 73.0, 0.0].map(|x: f64| x as f32);
    assert_eq!(data.fit.x[..5], expected);
    let position = data.features.iter().position(|feature| feature.name == "workclass=State-gov").unwrap();
    assert_eq!((data.fit.x[position], data.fit.y[0]), (1.0, 0.0));
    let unknown = data.features.iter().position(|feature| feature.name == "occupation=?").unwrap();
    let of = |part: &Part| part.x.chunks(91).filter(|row| row[unknown] == 1.0).count();
    assert_eq!([of(&data.fit) + of(&data.validation), of(&data.test)], [1843, 966]);

    let drawn = elsewhere("adult", Some("random"), Some(1)).unwrap();
    assert_eq!([drawn.fit.len(), drawn.validation.len(), drawn.test.len()], [26_048, 6513, 16_281]);
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
    let to = "range = [0, 100], scale = \"log\"";
    assert_manifest_error("range = [0, 100]", to, &[&at(11), "unknown variant `log`, expected `linear` or `symlog`"]);
    assert_manifest_error("format = 1", "format = 2", &["manifest.toml: format is 2, expected 1"]);
}

#[test]
fn categorical_feature_cannot_be_monotone() {
    let to = "\"blue\"], direction = \"increasing\"";
    assert_manifest_error("\"blue\"]", to, &["manifest.toml:13: ", "categorical feature `colour` cannot be monotone"]);
    assert_manifest_error("\"blue\"]", "\"blue\"], integer = true", &["`integer` belongs to numeric features"]);
    assert_manifest_error("\"blue\"]", "\"blue\"], scale = \"symlog\"", &["`scale` belongs to numeric features"]);
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
