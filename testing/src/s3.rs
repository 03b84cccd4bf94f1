//! A real S3 server that a test starts and stops: versitygw, on a directory.
//!
//! ```text
//! S3Server::start() ─ `go install`, once ─ versitygw posix DIR ─ answers ─ create_bucket
//! ```
//!
//! Guarantees: a started server answers; each has its own port and data; its writes with
//! `If-None-Match` are conditional; dropping it stops its process and deletes its data; it does not
//! outlive the test process (see [`crate::process`]).
//!
//! Needed on the machine: for the first start, Go and the Go module proxy.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use tempfile::TempDir;

use crate::ports::free_ports;
use crate::prepared::prepare;
use crate::process::Running;
use crate::{target_dir, temp_dir};

/// The program, as Go names it. Conditional writes hold against concurrent ones in this version.
const MODULE: &str = "github.com/versity/versitygw/cmd/versitygw@v1.8.0";

const GO_HELP: &str = "the S3 server for the tests is built with Go: install Go 1.25 or later \
    (https://go.dev/dl) and allow it to reach the Go module proxy";

/// How long a server may take to answer before it is an error. Alone it takes a tenth of a second.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a server may take to stop by itself before it is killed.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// How often a server that found its port taken is started anew.
const START_ATTEMPTS: usize = 4;

/// How many lines of the server's output end an error.
const TAIL_LINES: usize = 40;

/// A running server, which is stopped and forgotten when this value is dropped.
///
/// ```no_run
/// # fn main() -> anyhow::Result<()> {
/// let server = trueup_testing::s3::S3Server::start()?;
/// server.create_bucket("books")?;
/// println!("AWS_ENDPOINT_URL={}", server.endpoint());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct S3Server {
    // Dropped in this order: the process is gone before its directory is deleted.
    running: Option<Running>,
    program: PathBuf,
    port: u16,
    dir: TempDir,
}

impl S3Server {
    /// The name of the key that every server takes, `AWS_ACCESS_KEY_ID`.
    pub const KEY_ID: &str = "trueup-test";
    /// The key, `AWS_SECRET_ACCESS_KEY`.
    pub const SECRET: &str = "trueup-test-secret";
    /// The region that every server is in.
    pub const REGION: &str = "us-east-1";

    /// Starts a server without buckets and waits until it answers.
    ///
    /// # Errors
    /// When Go is missing (the error says what to install), or when the server does not answer in
    /// 30 seconds (the error ends with its output).
    pub fn start() -> anyhow::Result<S3Server> {
        let program = program()?;
        for attempt in 1.. {
            let [port] = free_ports()?;
            let dir = temp_dir("s3-")?;
            fs::create_dir(dir.path().join("buckets"))?;
            let mut server = S3Server { running: None, program: program.clone(), port, dir };
            match server.launch() {
                Ok(()) => return Ok(server),
                // Another program took the port between our look and the start.
                Err(_) if attempt < START_ATTEMPTS && server.found_port_taken() => {}
                Err(error) => return Err(error),
            }
        }
        bail!("no attempt was made to start versitygw")
    }

    /// Where it answers, the same after a restart.
    pub fn endpoint(&self) -> String {
        format!("http://{}:{}", Ipv4Addr::LOCALHOST, self.port)
    }

    /// The port on loopback, the same after a restart.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process id, if it runs.
    pub fn process_id(&self) -> Option<u32> {
        self.running.as_ref().map(Running::id)
    }

    /// What the environment of a program must have to use this server and no other.
    pub fn environment(&self) -> [(&'static str, String); 4] {
        [
            ("AWS_ENDPOINT_URL", self.endpoint()),
            ("AWS_REGION", S3Server::REGION.to_owned()),
            ("AWS_ACCESS_KEY_ID", S3Server::KEY_ID.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", S3Server::SECRET.to_owned()),
        ]
    }

    /// Creates a bucket, which to this server is a directory.
    ///
    /// # Errors
    /// When it exists, or cannot be made.
    pub fn create_bucket(&self, name: &str) -> anyhow::Result<()> {
        let path = self.bucket(name);
        fs::create_dir(&path).with_context(|| format!("cannot create {}", path.display()))
    }

    /// The directory that holds a bucket's objects as files, to be looked at and not changed.
    pub fn bucket(&self, name: &str) -> PathBuf {
        self.dir.path().join("buckets").join(name)
    }

    /// Kills the server with SIGKILL, as a crash would; [`S3Server::restart`] brings it back.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        if let Some(mut running) = self.running.take() {
            running.kill_9()?;
        }
        Ok(())
    }

    /// Starts the server again with the same data and address, after stopping it if it runs.
    ///
    /// # Errors
    /// As [`S3Server::start`].
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.stop()?;
        self.launch()
    }

    fn stop(&mut self) -> anyhow::Result<()> {
        if let Some(mut running) = self.running.take() {
            running.stop(STOP_PATIENCE)?;
        }
        Ok(())
    }

    fn launch(&mut self) -> anyhow::Result<()> {
        let mut command = Command::new(&self.program);
        command
            .args(["--port", &format!("{}:{}", Ipv4Addr::LOCALHOST, self.port)])
            .args(["--access", S3Server::KEY_ID, "--secret", S3Server::SECRET])
            .args(["--region", S3Server::REGION, "--keep-alive", "posix"])
            .arg(self.dir.path().join("buckets"));
        let running = Running::start_command(&command, self.dir.path(), "versitygw")?;
        let running = self.running.insert(running);
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            let problem = match ask(self.port) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            let late = Instant::now() >= deadline;
            if late || !running.is_running()? {
                let said = running.tail(TAIL_LINES);
                return Err(problem.context(format!("versitygw does not answer\n{said}")));
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn found_port_taken(&self) -> bool {
        let running = self.running.as_ref();
        running.is_some_and(|running| running.tail(TAIL_LINES).contains("address already in use"))
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        // If it cannot be stopped in order, dropping `Running` still kills it.
        let _ = self.stop();
    }
}

/// Sends a request without credentials, which S3 refuses and another server answers otherwise.
fn ask(port: u16) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.contains("AccessDenied"), "it answers {answer:?}");
    Ok(())
}

/// Builds the program, if no test on this machine did before.
fn program() -> anyhow::Result<PathBuf> {
    let version = MODULE.rsplit_once('@').map_or(MODULE, |(_, version)| version);
    let dir = target_dir().join(format!("trueup-versitygw-{version}"));
    prepare(&dir, MODULE, build)?;
    Ok(dir.join("versitygw"))
}

fn build(dir: &Path) -> anyhow::Result<()> {
    let output = Command::new("go")
        .args(["install", MODULE])
        .env("GOBIN", dir)
        // Not within somebody's module, and without cgo, so that it needs no C headers.
        .env("GO111MODULE", "on")
        .env("CGO_ENABLED", "0")
        .current_dir(dir)
        .output()
        .context("cannot run `go`")
        .context(GO_HELP)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(anyhow::anyhow!("`go install` ended with {}\n{said}", output.status))
            .context(GO_HELP);
    }
    Ok(())
}
