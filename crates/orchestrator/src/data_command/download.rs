//! One file over HTTP: into a temporary neighbour, checked, then renamed. A later call goes on where one was cut off.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use sha2::{Digest, Sha256};
use ureq::http::{Response, StatusCode, header};
use ureq::{Agent, Body};

use crate::error::{Error, Result};

/// Downloads the file with this SHA-256 from `url`. A proxy is taken from the environment.
///
/// # Errors
/// If the server does not send it, or sends something else. At `destination` there is then what was there before; what has
/// come of the file so far is kept beside it, unless it is known to be wrong.
pub fn download(url: &str, sha256: &str, destination: &Path) -> Result<()> {
    if let Some(folder) = destination.parent() {
        fs::create_dir_all(folder).map_err(|source| Error::Io { path: folder.into(), source })?;
    }
    let agent = agent();
    let mut part = Part::open(destination)?;
    let resumed = part.length > 0;
    part.fill(&agent, url)?;
    if resumed && part.sha256()? != sha256.to_lowercase() {
        // The beginning may have been that of an older version of the file.
        part.clear()?;
        part.fill(&agent, url)?;
    }
    let found = part.sha256()?;
    if found != sha256.to_lowercase() {
        part.discard()?;
        let message =
            format!("sha256 of what came is {found}, expected {sha256}: this is another file, nothing of it was kept");
        return Err(failed(url, message));
    }
    part.rename(destination)
}

fn agent() -> Agent {
    Agent::config_builder()
        .http_status_as_error(false)
        .timeout_connect(Some(Duration::from_secs(30)))
        .timeout_per_read(Some(Duration::from_secs(60)))
        .user_agent(concat!("orchestrator/", env!("CARGO_PKG_VERSION")))
        .build()
        .new_agent()
}

fn failed(url: &str, message: String) -> Error {
    Error::Config { place: url.into(), message }
}

/// The neighbour of a file in which its download grows until it is whole.
struct Part {
    path: PathBuf,
    file: File,
    length: u64,
}

impl Part {
    /// Opens what an earlier download has left, or begins. No other process may write to it at the same time.
    fn open(destination: &Path) -> Result<Self> {
        let path = destination.with_added_extension("part");
        let open = || {
            let mut file = OpenOptions::new().read(true).append(true).create(true).open(&path)?;
            file.try_lock().map_err(|_| io::Error::other("another download is writing to this file"))?;
            let length = file.seek(io::SeekFrom::End(0))?;
            Ok((file, length))
        };
        let (file, length) = open().map_err(|source| Error::Io { path: path.clone(), source })?;
        Ok(Self { path, file, length })
    }

    /// Downloads what is missing. If nothing has come at all, no file is left behind.
    fn fill(&mut self, agent: &Agent, url: &str) -> Result<()> {
        let filled = self.request_rest(agent, url);
        if filled.is_err() && self.length == 0 {
            self.discard()?;
        }
        filled
    }

    fn request_rest(&mut self, agent: &Agent, url: &str) -> Result<()> {
        let mut request = agent.get(url);
        if self.length > 0 {
            request = request.header(header::RANGE, format!("bytes={}-", self.length));
        }
        let response = request.call().map_err(|error| failed(url, format!("cannot be downloaded: {error}")))?;
        match response.status() {
            StatusCode::PARTIAL_CONTENT if first_byte(&response) == Some(self.length) => {}
            StatusCode::OK => self.clear()?,
            // There is nothing beyond what is here: it is the whole file, or none of it.
            StatusCode::RANGE_NOT_SATISFIABLE if self.length > 0 => return Ok(()),
            status => {
                let message =
                    format!("the server answers {status}: if the address has changed, correct it in the manifest");
                return Err(failed(url, message));
            }
        }
        self.receive(url, response.into_body())
    }

    fn receive(&mut self, url: &str, body: Body) -> Result<()> {
        let total = body.content_length().map(|rest| self.length + rest);
        let bar = progress_bar(url, total);
        let mut reader = body.into_reader();
        let mut buffer = vec![0; 1 << 16];
        loop {
            bar.set_position(self.length);
            match reader.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => self.append(&buffer[..count])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let of = total.map_or_else(String::new, |total| format!(" of {total}"));
                    let message = format!(
                        "the connection ended after {}{of} bytes ({error}): the same command goes on from there",
                        self.length
                    );
                    return Err(failed(url, message));
                }
            }
        }
    }

    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(|source| self.error(source))?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    fn clear(&mut self) -> Result<()> {
        self.file.set_len(0).map_err(|source| self.error(source))?;
        self.length = 0;
        Ok(())
    }

    /// Read through the handle that holds the lock, which may keep others out.
    fn sha256(&mut self) -> Result<String> {
        let mut bytes = Vec::new();
        let read = self.file.rewind().and_then(|()| self.file.read_to_end(&mut bytes));
        read.map_err(|source| self.error(source))?;
        Ok(Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect())
    }

    fn discard(&self) -> Result<()> {
        fs::remove_file(&self.path).map_err(|source| self.error(source))
    }

    fn rename(self, destination: &Path) -> Result<()> {
        let rename = || {
            self.file.sync_all()?;
            fs::rename(&self.path, destination)
        };
        rename().map_err(|source| self.error(source))
    }

    fn error(&self, source: io::Error) -> Error {
        Error::Io { path: self.path.clone(), source }
    }
}

/// The number of the first byte of a part, from a header `Content-Range: bytes FIRST-LAST/TOTAL`.
fn first_byte(response: &Response<Body>) -> Option<u64> {
    let range = response.headers().get(header::CONTENT_RANGE)?.to_str().ok()?;
    range.strip_prefix("bytes ")?.split('-').next()?.parse().ok()
}

/// A bar on standard error if that is a terminal, otherwise a line.
fn progress_bar(url: &str, total: Option<u64>) -> ProgressBar {
    let bar = total.map_or_else(ProgressBar::no_length, ProgressBar::new);
    if bar.is_hidden() {
        eprintln!("downloading {url}");
    }
    let template = "{msg} [{bar:30}] {bytes}/{total_bytes} {eta} left";
    bar.with_style(ProgressStyle::with_template(template).expect("a template of known keys"))
        .with_message(url.to_owned())
}
