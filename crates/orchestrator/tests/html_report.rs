//! `orchestrator report` as its readers meet it: what is on the page, and what must not be.

mod command;

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use command::{repository, run, text};

use serde_json::Value;
use sha2::{Digest, Sha256};

/// A run of `config` into `folder`, whatever its verdict.
fn train(config: &str, folder: &Path, more: &[&str]) {
    let output = run(&[&[config, "--quiet", "--out", folder.to_str().unwrap()], more].concat());
    assert!(matches!(output.status.code(), Some(0 | 1 | 3)), "{}", text(&output.stderr));
}

/// The page about a run's folder.
fn report(folder: &Path) -> String {
    let output = run(&["report", folder.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    fs::read_to_string(folder.join("report.html")).unwrap()
}

/// What is said where no report can be written.
fn refusal(folder: &Path) -> String {
    let page = folder.join("report.html");
    let _ = fs::remove_file(&page);
    let output = run(&["report", folder.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stdout));
    assert!(!page.exists());
    text(&output.stderr)
}

fn json(folder: &Path, file: &str) -> Value {
    serde_json::from_slice(&fs::read(folder.join(file)).unwrap()).unwrap()
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Overrides with which a network is trained without a penalty and delivered as it is.
const UNREPAIRED: &[&str] = &["--set", "escalation.lambda=0", "--set", "repair.method=off"];
/// Overrides with which every network is repaired, whatever it costs.
const REPAIRED: &[&str] =
    &["--set", "escalation.lambda=0", "--set", "certify.deliver=last", "--set", "repair.loss_growth=100"];

const SECTIONS: [&str; 10] =
    ["claims", "check", "features", "slices", "surfaces", "scores", "bounds", "training", "card", "settings"];

fn sections(page: &str) -> Vec<&str> {
    page.split("<section id=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
}

/// One section of a page.
fn section<'a>(page: &'a str, id: &str) -> &'a str {
    let rest = page.split_once(&format!("<section id=\"{id}\">")).unwrap_or_else(|| panic!("no section {id}")).1;
    rest.split_once("</section>").unwrap().0
}

/// Nothing on the page is fetched or run; its one font is in it.
fn assert_self_contained(page: &str) {
    let page = &page.replacen("src:url(data:font/ttf;base64,", "", 1);
    for word in
        ["<script", "<link", "<iframe", "<object", "@import", "url(", "javascript:", "src=\"http", "href=\"http"]
    {
        assert!(!page.to_lowercase().contains(word), "{word}");
    }
    for attribute in ["src=\"", "href=\""] {
        for value in page.split(attribute).skip(1) {
            assert!(value.starts_with('#') || value.starts_with("data:image/svg+xml,"), "{attribute}{}", &value[..40]);
        }
    }
}

/// The table of least derivatives is that of `verdict.json`.
fn assert_bounds(page: &str, folder: &Path) {
    let bounds = section(page, "bounds");
    for (k, queries) in json(folder, "verdict.json")["queries"].as_array().unwrap().iter().enumerate() {
        let block = bounds.split_once(&format!("Block {}", k + 1)).unwrap().1;
        let queries = queries.as_array().unwrap();
        for input in queries.iter().map(|query| &query["query"]["input"]) {
            let of_input = || queries.iter().filter(|query| query["query"]["input"] == *input);
            let certified = of_input().filter(|query| query["verdict"].get("certified").is_some()).count();
            let least = |key: &str| of_input().filter_map(|query| query[key].as_f64()).fold(f64::INFINITY, f64::min);
            let (proved, met) = (least("lower_bound"), least("incumbent"));
            let met = if met.is_finite() { format!("{met:.4}") } else { "-".into() };
            let of_all = of_input().count();
            let cells = format!("<td>{certified} of {of_all}</td>\n<td>{proved:.4}</td>\n<td>{met}</td>");
            assert!(block.contains(&cells), "{cells} is missing in\n{block}");
        }
    }
}

#[test]
fn a_page_has_everything_and_the_numbers_of_the_run() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("run");
    train("configs/smoke.toml", &folder, &[]);
    let page = report(&folder);
    assert_self_contained(&page);
    assert_eq!(sections(&page), SECTIONS);

    let head = page.split_once("<header").unwrap().1.split_once("</header>").unwrap().0;
    for words in
        ["smoke: proved to be monotone", "<strong>area_m2</strong> grows, the predicted rent_per_month never falls"]
    {
        assert!(head.contains(words), "{words} is missing in\n{head}");
    }
    assert!(head.contains("<strong>distance_km</strong> grows, the predicted rent_per_month never rises"), "{head}");

    let summary = json(&folder, "summary.json");
    for part in ["validation", "test"] {
        let scores = &summary[part];
        for value in [&scores["loss"], &scores["rmse"]] {
            let shown = format!("{:.4}", value.as_f64().unwrap());
            assert!(section(&page, "scores").contains(&shown), "{part} {shown}");
        }
    }
    assert_bounds(&page, &folder);
    let lambda = summary["lambda"].as_f64().unwrap();
    assert!(section(&page, "training").contains(&format!("<td>{lambda}</td>")));

    // Fingerprints and command are those of the files, and the command works as it stands.
    let check = section(&page, "check");
    let file = |name: &str| folder.join(name);
    let model = certificate::Model::load(&file("model.safetensors")).unwrap();
    let hash = |name: &str| sha256(&fs::read(file(name)).unwrap());
    for fingerprint in [hash("certificate.jsonl"), hash("model.safetensors"), model.sha256()] {
        assert!(check.contains(&fingerprint), "{check}");
    }
    let command = check.split_once("<pre>").unwrap().1.split_once("</pre>").unwrap().0;
    let words: Vec<&str> = command.split_whitespace().collect();
    assert_eq!(words[0], "orchestrator");
    let checked = run(&words[1..]);
    assert_eq!(checked.status.code(), Some(0));
    assert!(
        text(&checked.stdout).starts_with("Valid proof of monotonicity")
            && check.contains("Valid proof of monotonicity")
    );

    let card = section(&page, "card");
    let record = json(&folder, "run.json");
    for words in [
        record["data"]["sha256"].as_str().unwrap(),
        record["commit"].as_str().unwrap(),
        "Rent of 200 invented flats",
        "CC0-1.0",
        "128 to fit, 32 to validate, 40 to test",
        &format!("{} parameters", model.network.parameters()),
    ] {
        assert!(card.contains(words), "{words} is missing in\n{card}");
    }
    let features = section(&page, "features");
    assert!(features.contains("20 to 120, whole numbers in the data") && features.contains("not rise when it grows"));
    for (id, drawings) in [("slices", 2), ("surfaces", 1), ("bounds", 2), ("training", 2)] {
        assert_eq!(section(&page, id).matches("<svg role=\"img\"").count(), drawings, "{id}");
    }

    // Elsewhere, and without a change of the run's own page.
    let other = temporary.path().join("other.html");
    let output = run(&["report", folder.to_str().unwrap(), "--out", other.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(fs::read_to_string(other).unwrap(), page);
}

/// Along a feature whose scale is not linear, drawings are spread as the network sees it.
#[test]
fn drawings_have_the_scale_of_their_features() {
    let temporary = tempfile::tempdir().unwrap();
    let example = repository().join("datasets/example");
    let manifest = fs::read_to_string(example.join("manifest.toml")).unwrap();
    let manifest = manifest.replace("range = [0, 15]", "range = [0, 15]\nscale = \"symlog\"");
    fs::write(temporary.path().join("manifest.toml"), manifest).unwrap();
    fs::copy(example.join("rent.csv"), temporary.path().join("rent.csv")).unwrap();
    let folder = temporary.path().join("run");
    let data = format!("data.manifest={}", temporary.path().join("manifest.toml").display());
    train("configs/smoke.toml", &folder, &["--set", &data]);
    let page = report(&folder);
    assert_self_contained(&page);
    let drawing = |id: &str, number: usize| section(&page, id).split("<svg ").nth(number).unwrap();
    // How far to the right a text stands.
    let place = |drawing: &str, text: &str| -> f64 {
        let texts =
            drawing.split("<text ").skip(1).filter(|rest| rest.split(['>', '<']).nth(1).unwrap().trim() == text);
        let places = texts.map(|rest| rest.split("x=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap());
        places.fold(f64::NEG_INFINITY, f64::max)
    };
    let [zero, one, ten] = ["0", "1", "10"].map(|text| place(drawing("slices", 2), text));
    let share = (one - zero) / (ten - zero);
    assert!((share - 2.0_f64.ln() / 11.0_f64.ln()).abs() < 0.02, "{zero} {one} {ten}");
    for text in ["1", "2", "5", "10"] {
        assert!(place(drawing("surfaces", 1), text) > 0.0, "{text}");
    }
}

#[test]
fn a_refuted_network_is_not_praised_and_its_counterexamples_are_drawn() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("run");
    let more = ["--set", "certify.during_training=0", "--set", "certify.candidates=1", "--set", "train.epochs=60"];
    train("configs/smoke.toml", &folder, &[UNREPAIRED, &more].concat());
    let verdict = json(&folder, "verdict.json");
    let refuted = |query: &&Value| query["verdict"].get("refuted").is_some();
    let number = verdict["queries"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|block| block.as_array().unwrap())
        .filter(refuted)
        .count();
    assert!(number > 0, "the test needs a network with violations");
    let page = report(&folder);
    assert_self_contained(&page);
    assert_bounds(&page, &folder);
    assert!(!page.contains("proved to be monotone") && !page.contains("<td>proved</td>"));
    let whole = usize::from(verdict["verdict"].get("refuted").is_some());
    assert!(page.contains(if whole == 1 { "proved NOT to be monotone" } else { "not certified" }));
    let head = page.split_once("<header").unwrap().1.split_once("</header>").unwrap().0;
    assert!(!head.contains("never falls.") && head.contains("should never fall"), "{head}");
    let drawn = section(&page, "counterexamples");
    assert!(drawn.contains(&format!("{number} questions")), "{drawn}");
    assert_eq!(drawn.matches("<svg role=\"img\"").count(), number.min(6) + 2 * whole);
}

#[test]
fn an_ensemble_and_its_repair_are_shown() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("run");
    train("configs/smoke.toml", &folder, &[REPAIRED, &["--set", "ensemble=3"]].concat());
    let page = report(&folder);
    assert_self_contained(&page);
    let training = section(&page, "training");
    assert!(training.contains("mean of 3 networks") && training.contains("Network 3, round 1: repaired"), "{training}");
    assert!(
        training
            .contains("<img alt=\"The output along one input, before and after the repair\" src=\"data:image/svg+xml,")
    );
    let before = json(&folder, "summary.json")["before_repair"]["test"]["loss"].as_f64().unwrap();
    let scores = section(&page, "scores");
    assert!(scores.contains("test, before the repair") && scores.contains(&format!("{before:.4}")), "{scores}");
}

/// A table and a manifest whose every text tries to get out of its place.
fn evil_data(folder: &Path) -> PathBuf {
    let example = repository().join("datasets/example");
    let table = fs::read_to_string(example.join("rent.csv")).unwrap();
    let manifest = fs::read_to_string(example.join("manifest.toml")).unwrap();
    let evil = "<script>alert(1)</script>";
    let table = table.replace("area_m2", evil).replace("district", "</td><img src=x onerror=alert(2)>");
    let manifest = manifest
        .replace("area_m2", evil)
        .replace("district", "</td><img src=x onerror=alert(2)>")
        .replace("Rent of 200 invented flats", "</title><script>alert(3)</script>")
        .replace("CC0-1.0", "<link rel=stylesheet href=http://example.com/x.css>")
        .replace("invented; written by generate.py", "<iframe src=http://example.com></iframe> & 'more'");
    let old = manifest.lines().find_map(|line| line.strip_prefix("sha256 = ")).unwrap().to_owned();
    let manifest = manifest.replace(&old, &format!("{:?}", sha256(table.as_bytes())));
    fs::write(folder.join("rent.csv"), table).unwrap();
    fs::write(folder.join("manifest.toml"), manifest).unwrap();
    let config = fs::read_to_string(repository().join("configs/smoke.toml")).unwrap();
    let path = folder.join("evil.toml");
    fs::write(&path, config.replace("../datasets/example/manifest.toml", "manifest.toml")).unwrap();
    path
}

#[test]
fn a_feature_called_script_does_no_harm() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("it's <b>here</b>");
    train(evil_data(temporary.path()).to_str().unwrap(), &folder, REPAIRED);
    let page = report(&folder);
    assert_self_contained(&page);
    assert_eq!(sections(&page), SECTIONS);
    for harmless in
        ["&lt;script&gt;alert(1)", "&lt;/td&gt;&lt;img", "&lt;/title&gt;&lt;script&gt;", "&lt;iframe", "&lt;b&gt;here"]
    {
        assert!(page.contains(harmless), "{harmless}");
    }
    assert_eq!(page.matches("<title>").count(), 1);
    for tag in ["<img src=x", "<b>here"] {
        assert!(!page.contains(tag), "{tag}");
    }
    // Every tag is one of those that the page is made of.
    let known: HashSet<&str> =
        "html head meta title style body header h1 h2 h3 p strong ul li nav a main section div table \
        thead tbody tr th td dl dt dd pre code figure figcaption svg rect line polyline circle text img !DOCTYPE"
            .split_whitespace()
            .collect();
    for tag in page.split('<').skip(1).map(|rest| rest.trim_start_matches('/')) {
        let name = tag.split(|c: char| !c.is_ascii_alphanumeric() && c != '!').next().unwrap();
        assert!(known.contains(name), "<{name}");
    }
}

#[test]
fn what_is_no_finished_run_is_refused_with_the_reason() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("run");
    fs::create_dir(&folder).unwrap();
    assert!(refusal(&folder).contains("not the folder of a run"), "{}", refusal(&folder));
    assert!(refusal(&temporary.path().join("missing")).contains("not the folder of a run"));

    train(evil_data(temporary.path()).to_str().unwrap(), &folder, &[]);
    let at = |name: &str| folder.join(name);
    let moved = |name: &str, change: &dyn Fn(&str) -> Option<String>, expected: &str| {
        let before = fs::read(at(name)).unwrap();
        match change(&text(&before)) {
            Some(after) => fs::write(at(name), after).unwrap(),
            None => fs::remove_file(at(name)).unwrap(),
        }
        let said = refusal(&folder);
        assert!(said.contains(expected), "{name}: {said}");
        fs::write(at(name), before).unwrap();
    };
    moved("summary.json", &|_| None, "this run is not finished");
    moved("model.safetensors", &|_| None, "before it had a network");
    moved("verdict.json", &|_| None, "missing");
    moved("run.json", &|_| Some("{".into()), "damaged");
    moved("summary.json", &|text| Some(text.replace("verdict\": \"certified", "verdict\": \"refuted")), "contradict");
    // A proof is believed only if it is one, and of this claim.
    moved("certificate.jsonl", &|text| Some(text.replacen("increasing", "decreasing", 1)), "not a valid certificate");
    moved("certificate.jsonl", &|_| None, "certificate.jsonl");
    let smooth = "name = \"x\"\n[smooth]\nloss = \"least_squares\"\n";
    moved("config.toml", &|_| Some(smooth.into()), "multistart");
    moved("run.json", &|text| Some(text.replace("\"sha256\": \"", "\"sha256\": \"0")), "the data were changed");
    report(&folder);
    // Ranges that moved since would put wrong numbers beside every axis.
    let manifest = temporary.path().join("manifest.toml");
    let before = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, before.replace("range = [20, 120]", "range = [20, 130]")).unwrap();
    assert!(refusal(&folder).contains("manifest was changed"), "{}", refusal(&folder));
}

/// The page of a batch of short runs: two methods of two seeds, one whose name is no name for HTML, and one run that fails.
fn experiment(folder: &Path) -> (PathBuf, String) {
    let file = folder.join("sweep.toml");
    let config = repository().join("configs/smoke.toml");
    let method = |name: &str, more: &str| {
        format!("[[method]]\nname = \"{name}\"\nconfig = {config:?}\nset = {{ \"train.epochs\" = 12{more} }}\n")
    };
    let unrepaired = ", \"escalation.lambda\" = 0, \"repair.method\" = \"off\"";
    let methods = method("<b>penalised", "") + "published = \"0.125 ± 0.01\"\n" + &method("free", unrepaired);
    fs::write(&file, format!("name = \"tiny\"\ntitle = \"Some <i>rents\"\nseeds = 2\n{methods}")).unwrap();
    let out = folder.join("batch");
    // A file where one run wants its folder.
    fs::create_dir_all(out.join("runs")).unwrap();
    fs::write(out.join("runs/free-1"), "in the way").unwrap();
    let output = run(&["batch", file.to_str().unwrap(), "--quiet", "--out", out.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let page = report(&out);
    (out, page)
}

const EXPERIMENT: [&str; 6] = ["table", "scores", "protocol", "methods", "failures", "again"];

#[test]
fn an_experiment_is_shown_with_its_table_its_seeds_and_its_failures() {
    let temporary = tempfile::tempdir().unwrap();
    let (out, page) = experiment(temporary.path());
    assert_self_contained(&page);
    assert_eq!(sections(&page), EXPERIMENT);
    assert!(!page.contains("<b>") && !page.contains("<i>") && page.contains("Some &lt;i&gt;rents"));
    assert!(page.contains("3 of 4 finished") && page.contains("1 of 4 runs are not finished; 1 of them failed"));

    // The table is that of `table`, and the runs are those of their summaries.
    let printed = text(&run(&["table", out.to_str().unwrap(), "--format", "markdown"]).stdout);
    for cell in printed.lines().skip(2).flat_map(|line| line.trim_matches('|').split('|')).map(str::trim) {
        let cell = cell.replace('<', "&lt;").replace('>', "&gt;");
        assert!(section(&page, "table").contains(&format!(">{cell}</t")), "{cell}");
    }
    let methods = section(&page, "methods");
    let test = |id: &str| json(&out.join("runs").join(id), "summary.json")["test"]["rmse"].as_f64().unwrap();
    for id in ["b-penalised-0", "b-penalised-1", "free-0"] {
        let summary = json(&out.join("runs").join(id), "summary.json");
        let line = methods.split("<tr>").find(|line| line.contains(&format!("runs/{id}"))).unwrap();
        let verdict = summary["verdict"].as_str().unwrap();
        assert!(line.contains(verdict) && line.contains(&format!("rmse {:.4}", test(id))), "{line}");
    }
    assert!(methods.contains("runs/free-1") && methods.contains(">failed<"), "{methods}");
    assert!(section(&page, "failures").contains("free-1: 2 tries, exit status 2"));

    assert!(section(&page, "table").contains("not how much another test set would"), "{page}");
    assert!(section(&page, "protocol").contains("all its runs have the same split"), "{page}");

    // A disc for each run; the published number on the picture of the test rows only.
    let drawn = section(&page, "scores");
    let pictures: Vec<&str> = drawn.split("<svg role=\"img\"").skip(1).collect();
    assert_eq!(pictures.iter().map(|svg| svg.matches("<circle").count()).collect::<Vec<_>>(), [3, 3]);
    let published = |svg: &&str| svg.matches("stroke=\"#D55E00\"").count();
    assert_eq!(pictures.iter().map(published).collect::<Vec<_>>(), [1, 0]);
    // The commands work as they stand.
    let again = section(&page, "again");
    let command = again.lines().find(|line| line.contains("orchestrator check ")).unwrap();
    let words: Vec<&str> =
        command.split("orchestrator ").nth(1).unwrap().trim_end_matches("</pre>").split(' ').collect();
    assert_eq!(run(&words).status.code(), Some(0), "{words:?}");

    // A certificate that proves nothing is found out.
    let certificate = out.join("runs/b-penalised-0/certificate.jsonl");
    let proof = fs::read_to_string(&certificate).unwrap();
    fs::write(&certificate, proof.replacen("increasing", "decreasing", 1)).unwrap();
    assert!(refusal(&out).contains("not a valid certificate"));
    fs::remove_dir_all(out.join("runs/b-penalised-0")).unwrap();
    assert!(report(&out).contains("2 of 4 finished"));
    // An experiment without a batch.
    let output = run(&["report", temporary.path().join("sweep.toml").to_str().unwrap()]);
    assert!(text(&output.stderr).contains("there is no batch of this experiment"), "{}", text(&output.stderr));
}

/// In a real browser, wide and narrow: every section has dark letters, and drawings are seen where they should be.
#[test]
fn a_browser_shows_text_and_drawings() {
    let Some(browser) = browser() else {
        eprintln!("SKIPPED: there is no chromium on the PATH to look at the page with");
        return;
    };
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("run");
    train("configs/smoke.toml", &folder, REPAIRED);
    assert_seen(&browser, &report(&folder), 12_000, &["slices", "surfaces", "bounds", "training"]);
    let (_, page) = experiment(temporary.path());
    assert_seen(&browser, &page, 6_000, &["scores"]);
}

/// Looks at a page whose length is at most `height`; `drawn` are the sections with drawings.
fn assert_seen(browser: &Path, page: &str, height: usize, drawn: &[&str]) {
    let temporary = tempfile::tempdir().unwrap();
    let sections = sections(page);
    // A line of a colour of its own over every section says where on the picture it begins.
    let colour = |k: usize| [255, 0, 16 + k as u8];
    let lines: String = (0..)
        .zip(&sections)
        .map(|(k, id)| format!("#{id} {{ border-top: 3px solid #ff00{:02x}; }}\n", 16 + k))
        .collect();
    let with_style = |style: &str| page.replacen("</head>", &format!("<style>{style}</style></head>"), 1);
    for width in [500, 1280] {
        let look = |name: &str, style: &str| {
            let file = temporary.path().join(format!("{name}.html"));
            fs::write(&file, with_style(style)).unwrap();
            Picture::of(browser, &file, (width, height))
        };
        let whole = look("whole", &lines);
        let bare = look("bare", &format!("{lines} svg, img {{ visibility: hidden; }}"));
        let starts: Vec<usize> = (0..sections.len()).map(|k| whole.line_of(colour(k)).expect(sections[k])).collect();
        for (k, id) in sections.iter().enumerate() {
            let lines = starts[k]..*starts.get(k + 1).unwrap_or(&whole.height);
            let dark = bare.count(lines.clone(), |pixel| pixel.iter().all(|level| *level < 110));
            assert!(dark > 600, "{id}: {dark} dark pixels of text in a window of {width}");
            let changed =
                lines.map(|y| (0..whole.width).filter(|&x| whole.at(x, y) != bare.at(x, y)).count()).sum::<usize>();
            assert_eq!(
                changed > 3000,
                drawn.contains(id),
                "{id}: drawings change {changed} pixels in a window of {width}"
            );
        }
    }
}

fn browser() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let places: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let found = |name: &str| places.iter().map(|place| place.join(name)).find(|file| file.is_file());
    ["chromium", "chromium-browser", "google-chrome"].into_iter().find_map(found)
}

/// What a browser painted, as red, green and blue.
struct Picture {
    width: usize,
    height: usize,
    pixels: Vec<[u8; 3]>,
}

impl Picture {
    fn of(browser: &Path, page: &Path, (width, height): (usize, usize)) -> Self {
        let png = page.with_extension("png");
        let output = Command::new(browser)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--force-device-scale-factor=1"])
            .arg(format!("--user-data-dir={}", page.with_extension("profile").display()))
            .arg(format!("--window-size={width},{height}"))
            .arg(format!("--screenshot={}", png.display()))
            .arg(format!("file://{}", page.display()))
            .output()
            .unwrap();
        let bytes = fs::read(&png).unwrap_or_else(|_| panic!("no picture: {}", text(&output.stderr)));
        let image = resvg::tiny_skia::Pixmap::decode_png(&bytes).unwrap();
        let pixels = image.pixels().iter().map(|pixel| [pixel.red(), pixel.green(), pixel.blue()]).collect();
        Self { width: image.width() as usize, height: image.height() as usize, pixels }
    }

    fn at(&self, x: usize, y: usize) -> [u8; 3] {
        self.pixels[y * self.width + x]
    }

    /// The first line with a pixel of this colour.
    fn line_of(&self, colour: [u8; 3]) -> Option<usize> {
        self.pixels.iter().position(|pixel| *pixel == colour).map(|place| place / self.width)
    }

    fn count(&self, lines: std::ops::Range<usize>, what: impl Fn(&[u8; 3]) -> bool) -> usize {
        self.pixels[lines.start * self.width..lines.end * self.width].iter().filter(|pixel| what(pixel)).count()
    }
}
