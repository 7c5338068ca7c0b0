//! The servers that are compared, as processes of ours.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{io, thread};

use nix::unistd::{User, geteuid};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};

use super::exchange::Target;
use super::load;

/// From the start to the first answer, and from SIGTERM to the end.
const START_MAX: Duration = Duration::from_secs(20);
const STOP_MAX: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(10);

const DESCRIPTORS_MAX: u64 = 65536;

/// Who can't be served at once waits here, in the kernel. Of xinetd it is 64, whatever one says.
pub(super) const BACKLOG: u32 = 4096;

/// A server that runs, and is stopped when this is dropped.
#[derive(Debug)]
pub(super) struct Server {
    name: &'static str,
    process: Child,
    log: PathBuf,
}

impl Server {
    /// Starts it in the foreground. What it says goes to a file in the folder.
    pub(super) fn start(
        name: &'static str,
        command: &mut Command,
        folder: &Path,
    ) -> Result<Self, String> {
        let log = folder.join(format!("{name}.log"));
        let mut start = || {
            let out = File::create(&log)?;
            let err = out.try_clone()?;
            // cargo's, which would cost each program that a server starts a search in folders of no use to it.
            command.env_remove("LD_LIBRARY_PATH");
            command.stdin(Stdio::null()).stdout(out).stderr(err).spawn()
        };
        let process = start().map_err(|error| format!("cannot start {name}: {error}"))?;
        Ok(Self { name, process, log })
    }

    pub(super) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Waits until it gives the reply that it is to give.
    pub(super) fn wait_for_reply(&mut self, target: &Target) -> Result<(), String> {
        let deadline = Instant::now() + START_MAX;
        loop {
            let ending =
                load::once(target).map_err(|error| format!("cannot ask {}: {error}", self.name))?;
            if ending.has_reply() {
                return Ok(());
            }
            let has_ended = !matches!(self.process.try_wait(), Ok(None));
            if has_ended || Instant::now() > deadline {
                let what = if has_ended {
                    "has ended"
                } else {
                    "doesn't answer"
                };
                let log = fs::read_to_string(&self.log).unwrap_or_default();
                let (name, ending) = (self.name, ending.name());
                return Err(format!("{name} {what} ({ending}). Its log:\n{log}"));
            }
            thread::sleep(POLL);
        }
    }

    fn has_stopped(&mut self) -> bool {
        let deadline = Instant::now() + STOP_MAX;
        while Instant::now() < deadline {
            if !matches!(self.process.try_wait(), Ok(None)) {
                return true;
            }
            thread::sleep(POLL);
        }
        false
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _signalled = kill_process(Pid::from_child(&self.process), Signal::TERM);
        if !self.has_stopped() {
            let _killed = self.process.kill();
            let _reaped = self.process.wait();
        }
    }
}

/// Has this process and the servers have as many descriptors as they may, but not too many: xinetd closes them all at its
/// start, one by one, which takes minutes where a container allows a billion.
pub(super) fn limit_descriptors() -> Result<(), String> {
    let set = |limit| {
        setrlimit(
            Resource::Nofile,
            Rlimit {
                current: limit,
                maximum: limit,
            },
        )
    };
    // Who is not root may not have more than there was.
    let maximum = getrlimit(Resource::Nofile).maximum;
    let lower = Some(maximum.unwrap_or(u64::MAX).min(DESCRIPTORS_MAX));
    set(Some(DESCRIPTORS_MAX))
        .or_else(|_| set(lower))
        .map_err(|error| format!("descriptors: {error}"))
}

/// replyd, named like what it takes part as, with this configuration.
pub(super) fn replyd(
    folder: &Path,
    name: &'static str,
    binary: &Path,
    config: &str,
) -> Result<Server, String> {
    let file = folder.join(format!("{name}.toml"));
    // No admin listener on a port that another replyd may have.
    write(&file, &format!("admin.listen = \"127.0.0.1:0\"\n{config}"))?;
    let mut command = Command::new(binary);
    Server::start(name, command.arg("--config").arg(file), folder)
}

/// xinetd without its limits, which would close the port, and without its log and its look into hosts.allow.
pub(super) fn xinetd(
    folder: &Path,
    addr: SocketAddr,
    program: &Path,
    arguments: &str,
) -> Result<Server, String> {
    let config = folder.join("xinetd.conf");
    // It takes no key without a value.
    let arguments = if arguments.is_empty() {
        String::new()
    } else {
        format!("server_args = {arguments}\n  ")
    };
    let text = format!(
        "service compared\n{{\n  type = UNLISTED\n  socket_type = stream\n  protocol = tcp\n  wait = no\n  \
         bind = {ip}\n  port = {port}\n  user = {user}\n  server = {program}\n  {arguments}\
         instances = UNLIMITED\n  per_source = UNLIMITED\n  cps = 1000000 1\n  flags = NOLIBWRAP\n  \
         log_on_success =\n  log_on_failure =\n}}\n",
        ip = addr.ip(),
        port = addr.port(),
        user = user()?,
        program = program.display(),
    );
    write(&config, &text)?;
    let mut command = Command::new("xinetd");
    command.arg("-dontfork").args(["-filelog", "/dev/null"]);
    command.arg("-pidfile").arg(folder.join("xinetd.pid"));
    Server::start("xinetd", command.arg("-f").arg(config), folder)
}

/// tcpserver without look-ups of names.
pub(super) fn tcpserver(folder: &Path, addr: SocketAddr, program: &Path) -> Result<Server, String> {
    let mut command = Command::new("tcpserver");
    command.args(["-H", "-R", "-l0", "-c", "10000"]);
    command.arg("-b").arg(BACKLOG.to_string());
    command
        .arg(addr.ip().to_string())
        .arg(addr.port().to_string());
    Server::start("tcpserver", command.arg(program), folder)
}

/// Who we are: a server that is told a user runs programs as us.
pub(super) fn user() -> Result<String, String> {
    let user = User::from_uid(geteuid()).ok().flatten();
    user.map(|user| user.name)
        .ok_or_else(|| "the user that runs this has no name".to_owned())
}

/// Addresses that nobody listens on, each another.
pub(super) fn free_addrs<const COUNT: usize>() -> Result<[SocketAddr; COUNT], String> {
    let bind = || TcpListener::bind("127.0.0.1:0");
    // All of them are held until the last one is there.
    let listeners: Vec<TcpListener> = (0..COUNT)
        .map(|_| bind())
        .collect::<io::Result<_>>()
        .map_err(|error| format!("no free port: {error}"))?;
    let mut addrs = [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)); COUNT];
    for (addr, listener) in addrs.iter_mut().zip(&listeners) {
        *addr = listener
            .local_addr()
            .map_err(|error| format!("no address: {error}"))?;
    }
    Ok(addrs)
}

pub(super) fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}
