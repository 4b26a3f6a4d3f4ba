//! `orchestrator data` against a web server of the test's own; nothing here looks beyond 127.0.0.1.

mod command;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::thread;

use command::text;

use sha2::{Digest, Sha256};
use tempfile::TempDir;

const TABLE: &str = "\
size,price,colour,sold
10,0.5,red,yes
20,1.5,blue,no
30,2.5,red,yes
40,3.5,blue,no
50,4.5,green,yes
60,5.5,green,no
70,6.5,red,no
80,7.5,blue,no
90,8.5,red,yes
100,9.5,blue,no
";

/// Bytes of the first part of a table that came before the connection was cut.
const CUT: usize = 60;

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A data set `sales` without its table, in a folder of data sets.
struct Sales {
    folder: TempDir,
}

impl Sales {
    /// With these keys about downloads.
    fn new(download: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("sales")).unwrap();
        let manifest = format!(
            r#"format = 1
name = "sales"
title = "Sales of a shop"
licence = "CC0-1.0"
file = "sales.csv"
dataset_path = "shops/sales.csv"
sha256 = "{}"
rows = 10
default_split = "order"
source = {{ text = "a shop", url = "https://example.org/sales" }}
feature = [
    {{ column = "size", range = [0, 100], integer = true, direction = "increasing" }},
    {{ column = "price", range = "fit", direction = "decreasing" }},
    {{ column = "colour", values = ["red", "green", "blue"] }},
]
target = {{ column = "sold", task = "binary", positive = "yes", negative = "no" }}
{download}
[split]
order = {{ method = "file_order", test = 0.2, validation = 0.25 }}
drawn = {{ method = "random", seed = 7, test = 0.2, validation = 0.25 }}
"#,
            sha256(TABLE.as_bytes())
        );
        fs::write(folder.path().join("sales/manifest.toml"), manifest).unwrap();
        Self { folder }
    }

    fn at(server: &Server) -> Self {
        Self::new(&format!("[[download]]\nurl = \"{}/sales.csv\"\nfile = \"sales.csv\"\n", server.url))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("sales").join(name)
    }

    fn edit(&self, from: &str, to: &str) {
        let manifest = fs::read_to_string(self.path("manifest.toml")).unwrap();
        assert!(manifest.contains(from));
        fs::write(self.path("manifest.toml"), manifest.replace(from, to)).unwrap();
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_orchestrator"));
        command.arg("data").args(args).arg("--manifests").arg(self.folder.path());
        for variable in ["ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "DATASETS_DIR"] {
            command.env_remove(variable).env_remove(variable.to_lowercase());
        }
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Fetches the table and asserts that it is there, whole, and nothing else is.
    #[track_caller]
    fn fetch(&self) {
        let output = self.run(&["fetch", "sales"]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert!(text(&output.stdout).starts_with("fetched "), "{}", text(&output.stdout));
        assert_eq!(fs::read_to_string(self.path("sales.csv")).unwrap(), TABLE);
        assert_eq!(self.files(), ["manifest.toml", "sales.csv"]);
    }

    /// The message of a fetch that fails.
    #[track_caller]
    fn failure(&self) -> String {
        let output = self.run(&["fetch", "sales"]);
        assert_eq!(output.status.code(), Some(2), "{}", text(&output.stdout));
        assert!(!self.path("sales.csv").exists());
        text(&output.stderr)
    }

    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("")).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// A web server that answers with what a function makes of each request, and remembers the requests.
struct Server {
    url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn new(answer: impl Fn(&str) -> Vec<u8> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = requests.clone();
        // Ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming() {
                converse(stream.unwrap(), &seen, &answer);
            }
        });
        Self { url, requests }
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

/// Answers the request of a connection; after a CONNECT, with which a proxy is asked for one, the next one too.
fn converse(mut stream: TcpStream, seen: &Mutex<Vec<String>>, answer: &impl Fn(&str) -> Vec<u8>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    loop {
        let head: Vec<_> = lines.by_ref().map(|line| line.unwrap()).take_while(|line| !line.is_empty()).collect();
        let request = head.join("\n").to_lowercase();
        seen.lock().unwrap().push(request.clone());
        if !request.starts_with("connect ") {
            stream.write_all(&answer(&request)).unwrap();
            return;
        }
        stream.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").unwrap();
    }
}

fn response(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = format!("Content-Length: {}\r\n", body.len());
    [format!("HTTP/1.1 {status}\r\n{length}Connection: close\r\n{headers}\r\n").as_bytes(), body].concat()
}

fn whole(body: &[u8]) -> Vec<u8> {
    response("200 OK", "", body)
}

/// The beginning of a whole answer.
fn cut(body: &[u8]) -> Vec<u8> {
    let mut answer = whole(body);
    answer.truncate(answer.len() - body.len() + CUT);
    answer
}

/// The end of a file from where the request wants it, as far as the file goes.
fn rest(request: &str, body: &[u8]) -> Vec<u8> {
    let first: usize = wanted(request).expect("a request for a part").parse().unwrap();
    if first >= body.len() {
        return response("416 Range Not Satisfiable", &format!("Content-Range: bytes */{}\r\n", body.len()), b"");
    }
    let range = format!("Content-Range: bytes {first}-{}/{}\r\n", body.len() - 1, body.len());
    response("206 Partial Content", &range, &body[first..])
}

/// The N of `Range: bytes=N-`.
fn wanted(request: &str) -> Option<&str> {
    request.lines().find_map(|line| line.strip_prefix("range: bytes=")?.strip_suffix('-'))
}

// Downloading

#[test]
fn a_table_is_downloaded_once() {
    let server = Server::new(|_| whole(TABLE.as_bytes()));
    let sales = Sales::at(&server);
    sales.fetch();
    assert!(server.requests()[0].starts_with("get /sales.csv "), "{:?}", server.requests());

    let again = sales.run(&["fetch", "sales"]);
    assert_eq!(again.status.code(), Some(0));
    assert!(text(&again.stdout).starts_with("already there: "), "{}", text(&again.stdout));
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn another_file_than_the_expected_one_is_not_kept() {
    let server = Server::new(|_| whole(TABLE.replace("yes", "no").as_bytes()));
    let sales = Sales::at(&server);
    let message = sales.failure();
    assert!(message.contains("nothing of it was kept") && message.contains(&server.url), "{message}");
    assert_eq!(sales.files(), ["manifest.toml"]);
}

#[test]
fn a_cut_download_goes_on_where_it_stopped() {
    let server = Server::new(|request| match wanted(request) {
        None => cut(TABLE.as_bytes()),
        Some(_) => rest(request, TABLE.as_bytes()),
    });
    let sales = Sales::at(&server);
    let message = sales.failure();
    assert!(message.contains(&format!("the connection ended after {CUT} of {} bytes", TABLE.len())), "{message}");
    assert_eq!(fs::read_to_string(sales.path("sales.csv.part")).unwrap(), TABLE[..CUT]);

    sales.fetch();
    assert_eq!(wanted(&server.requests()[1]), Some(CUT.to_string().as_str()));
}

#[test]
fn a_server_without_parts_sends_the_whole_file_again() {
    let server = Server::new(|_| whole(TABLE.as_bytes()));
    let sales = Sales::at(&server);
    fs::write(sales.path("sales.csv.part"), &TABLE[..CUT]).unwrap();
    sales.fetch();
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_part_of_another_file_is_thrown_away() {
    let server = Server::new(|request| match wanted(request) {
        None => whole(TABLE.as_bytes()),
        Some(_) => rest(request, TABLE.as_bytes()),
    });
    let sales = Sales::at(&server);
    for part in ["x".repeat(CUT), "x".repeat(2 * TABLE.len())] {
        fs::write(sales.path("sales.csv.part"), part).unwrap();
        sales.fetch();
        fs::remove_file(sales.path("sales.csv")).unwrap();
    }
    assert_eq!(server.requests().len(), 4, "each time a request for the rest and one for the whole");
}

#[test]
fn a_part_from_elsewhere_in_the_file_is_refused() {
    let server = Server::new(|_| response("206 Partial Content", "Content-Range: bytes 0-9/200\r\n", b"size,price"));
    let sales = Sales::at(&server);
    fs::write(sales.path("sales.csv.part"), &TABLE[..CUT]).unwrap();
    assert!(sales.failure().contains("the server answers 206"));
    assert_eq!(fs::read_to_string(sales.path("sales.csv.part")).unwrap(), TABLE[..CUT]);
}

#[test]
fn a_part_that_is_whole_needs_nothing_more() {
    let server = Server::new(|request| rest(request, TABLE.as_bytes()));
    let sales = Sales::at(&server);
    fs::write(sales.path("sales.csv.part"), TABLE).unwrap();
    sales.fetch();
}

#[test]
fn an_address_that_is_gone_is_an_error() {
    let server = Server::new(|_| response("404 Not Found", "", b"<html>sorry</html>"));
    let sales = Sales::at(&server);
    let message = sales.failure();
    assert!(message.contains("404 Not Found") && message.contains(&server.url), "{message}");
    assert_eq!(sales.files(), ["manifest.toml"]);

    let nowhere = Sales::new("[[download]]\nurl = \"http://127.0.0.1:1/sales.csv\"\nfile = \"sales.csv\"\n");
    assert!(nowhere.failure().contains("http://127.0.0.1:1/sales.csv: cannot be downloaded: "));
    assert_eq!(nowhere.files(), ["manifest.toml"]);
}

#[test]
fn a_redirection_is_followed_for_a_part_too() {
    let server = Server::new(|request| match (request.starts_with("get /moved.csv "), wanted(request)) {
        (false, _) => response("302 Found", "Location: /moved.csv\r\n", b""),
        (true, None) => cut(TABLE.as_bytes()),
        (true, Some(_)) => rest(request, TABLE.as_bytes()),
    });
    let sales = Sales::at(&server);
    sales.failure();
    sales.fetch();
    assert_eq!(server.requests().iter().filter_map(|request| wanted(request)).count(), 2);
}

#[test]
fn a_proxy_is_taken_from_the_environment() {
    let proxy = Server::new(|_| whole(TABLE.as_bytes()));
    let sales = Sales::new("[[download]]\nurl = \"http://nowhere.invalid/sales.csv\"\nfile = \"sales.csv\"\n");
    let output = sales.command(&["fetch", "sales"]).env("HTTP_PROXY", &proxy.url).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(proxy.requests()[0].contains("nowhere.invalid"), "{:?}", proxy.requests());

    let direct = Server::new(|_| whole(TABLE.as_bytes()));
    let sales = Sales::at(&direct);
    let mut command = sales.command(&["fetch", "sales"]);
    let output = command.env("HTTP_PROXY", &proxy.url).env("NO_PROXY", "127.0.0.1").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(direct.requests().len(), 1);
}

// What is there already, and where things go

#[test]
fn nothing_is_downloaded_that_lies_in_the_folder_of_data_sets() {
    let server = Server::new(|_| whole(TABLE.as_bytes()));
    let sales = Sales::at(&server);
    let datasets = tempfile::tempdir().unwrap();
    fs::create_dir(datasets.path().join("shops")).unwrap();
    let table = datasets.path().join("shops/sales.csv");
    let fetch = || sales.command(&["fetch", "sales"]).env("DATASETS_DIR", datasets.path()).output().unwrap();

    fs::write(&table, TABLE).unwrap();
    assert_eq!(text(&fetch().stdout), format!("already there: {}\n", table.display()));
    assert!(server.requests().is_empty());

    // What is there and wrong is somebody's: it is neither replaced nor passed over.
    fs::write(&table, "size\n").unwrap();
    let output = fetch();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("shops/sales.csv: sha256 is "), "{}", text(&output.stderr));
    assert!(server.requests().is_empty() && !sales.path("sales.csv").exists());
}

#[test]
fn a_table_can_go_into_a_folder_of_data_sets() {
    let server = Server::new(|_| whole(TABLE.as_bytes()));
    let sales = Sales::at(&server);
    let datasets = tempfile::tempdir().unwrap();
    let into = datasets.path().join("new");
    let fetch = || sales.run(&["fetch", "sales", "--into", into.to_str().unwrap()]);
    assert_eq!(fetch().status.code(), Some(0));
    assert_eq!(fs::read_to_string(into.join("shops/sales.csv")).unwrap(), TABLE);
    assert_eq!(sales.files(), ["manifest.toml"]);
    assert!(text(&fetch().stdout).starts_with("already there: "));
    assert_eq!(server.requests().len(), 1);

    let check = sales.command(&["check", "sales"]).env("DATASETS_DIR", &into).output().unwrap();
    assert_eq!(check.status.code(), Some(0), "{}", text(&check.stderr));
}

// What a program cannot do

#[test]
fn a_site_with_a_login_is_only_named() {
    let server = Server::new(|_| whole(b"<html>please log in</html>"));
    let sales = Sales::at(&server);
    sales.edit("file = \"sales.csv\"\n\n", "file = \"sales.csv\"\nlogin = true\n\n");
    let message = sales.failure();
    for words in [&format!("{}/sales.csv: ", server.url), "logged in", "put it at ", "sales/sales.csv"] {
        assert!(message.contains(words), "{message}");
    }
    assert!(server.requests().is_empty());
}

#[test]
fn an_archive_is_downloaded_and_what_to_do_with_it_said() {
    let archive = b"PK, so to say";
    let server = Server::new(|_| whole(archive));
    let sales = Sales::new(&format!(
        "[[download]]\nurl = \"{}/all.zip\"\nfile = \"all.zip\"\nsha256 = \"{}\"\nunpack = \"unzip FILE\"\n",
        server.url,
        sha256(archive)
    ));
    let message = sales.failure();
    assert!(message.contains(&format!("by hand: unzip {}", sales.path("all.zip").display())), "{message}");
    assert_eq!(fs::read(sales.path("all.zip")).unwrap(), archive);

    sales.edit(&sha256(archive), &sha256(b"another"));
    fs::remove_file(sales.path("all.zip")).unwrap();
    assert!(sales.failure().contains("nothing of it was kept"));
    assert_eq!(sales.files(), ["manifest.toml"]);
}

#[test]
fn a_file_of_unknown_bytes_is_only_named() {
    let sales = Sales::new(
        "[[download]]\nurl = \"https://example.org/all.zip\"\nfile = \"all.zip\"\nunpack = \"unzip FILE\"\n",
    );
    let message = sales.failure();
    assert!(message.contains("by hand: download https://example.org/all.zip to "), "{message}");

    let message = Sales::new("").failure();
    assert!(
        message.contains("get it from its source (a shop, https://example.org/sales) and put it there"),
        "{message}"
    );
}

// Listing and checking

#[test]
fn the_list_says_what_is_where() {
    let sales = Sales::new("");
    let list = sales.run(&["list"]);
    assert_eq!(list.status.code(), Some(0), "{}", text(&list.stderr));
    let expected = "\
name   task    rows  table                                         licence
sales  binary  10    missing; see orchestrator data fetch sales    CC0-1.0
";
    let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(squeezed(&text(&list.stdout)), squeezed(expected));

    fs::write(sales.path("sales.csv"), TABLE).unwrap();
    assert!(text(&sales.run(&["list"]).stdout).contains("sales/sales.csv"));

    // A manifest that cannot be read does not hide the others.
    fs::create_dir(sales.folder.path().join("broken")).unwrap();
    fs::write(sales.folder.path().join("broken/manifest.toml"), "format = 1\n").unwrap();
    let list = sales.run(&["list"]);
    assert_eq!(list.status.code(), Some(2));
    assert!(text(&list.stdout).contains("sales") && text(&list.stderr).contains("broken/manifest.toml"));
}

#[test]
fn the_list_knows_every_data_set_of_the_repository() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut command = Command::new(env!("CARGO_BIN_EXE_orchestrator"));
    let list = command.current_dir(&repository).args(["data", "list"]).env_remove("DATASETS_DIR").output().unwrap();
    assert_eq!(list.status.code(), Some(0), "{}", text(&list.stderr));
    let list = text(&list.stdout);
    for name in ["adult", "autompg", "blog_feedback", "compas", "energy", "example", "heart", "loan_stand_in", "wbc"] {
        assert!(list.lines().any(|line| line.starts_with(&format!("{name} "))), "{name} is missing in\n{list}");
    }
    assert!(list.contains("datasets/compas/compas.csv"), "{list}");
}

#[test]
fn a_check_says_what_is_in_a_data_set() {
    let sales = Sales::new("");
    fs::write(sales.path("sales.csv"), TABLE).unwrap();
    let check = sales.run(&["check", "sales"]);
    assert_eq!(check.status.code(), Some(0), "{}", text(&check.stderr));
    let said = text(&check.stdout);
    for line in [
        "sales: Sales of a shop",
        "rows      10",
        "features  5, 2 of them monotone",
        "  size: integers from 0 to 100, increasing",
        "  price: from 0.5 to 5.5, decreasing, 4 values outside, moved to the nearer end",
        "  colour: one of 3 texts, free",
        "target    sold: one of two classes",
        "split     order, the default: 6 to fit (50.0 % positive), 2 to validate (0.0 % positive), 2 to test (50.0 % positive)",
    ] {
        assert!(said.lines().any(|said| said == line), "{line}\nis missing in\n{said}");
    }
    assert!(said.contains("split     drawn: 6 to fit"), "{said}");

    // By its manifest as well as by its name.
    assert_eq!(text(&sales.run(&["check", sales.path("manifest.toml").to_str().unwrap()]).stdout), said);
}

#[test]
fn a_check_says_what_is_wrong() {
    let sales = Sales::new("");
    let wrong = |words: &str| {
        let check = sales.run(&["check", "sales"]);
        assert_eq!(check.status.code(), Some(2), "{}", text(&check.stdout));
        assert!(text(&check.stderr).contains(words), "{}", text(&check.stderr));
    };
    wrong("sales.csv: no such file");
    fs::write(sales.path("sales.csv"), "size\n").unwrap();
    wrong("sales.csv: sha256 is");
    fs::write(sales.path("sales.csv"), TABLE).unwrap();
    sales.edit("rows = 10", "rows = 11");
    wrong("the manifest says rows = 11, the filters leave 10");
    sales.edit("[0, 100]", "[0, 90]");
    wrong("sales.csv:11: column `size`: expected a value in [0, 90], found 100");

    let unknown = sales.run(&["check", "sale"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(text(&unknown.stderr).contains("there is no data set of this name in "), "{}", text(&unknown.stderr));
}
