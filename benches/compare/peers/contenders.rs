//! Those that run, and how each is started.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use super::super::rounds::Contender;
use super::super::servers::{self, BACKLOG, Server, free_addrs, user, write};
use super::kind::{Kind, WORD};
use super::programs::Programs;

/// Connections that say nothing are none of those that have to be cut off here.
const PATIENCE_SECONDS: u32 = 600;

/// Debian's place for them.
const NGINX_STREAM_MODULE: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

/// One that runs.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) kind: Kind,
    pub(super) contender: Contender,
    _server: Server,
}

impl Kind {
    fn start(self, folder: &Path, addr: SocketAddr, programs: &Programs) -> Result<Server, String> {
        let (name, floor) = (self.name(), &programs.floor);
        match self {
            Self::FloorPlain => start_floor(name, "plain", folder, addr, floor),
            Self::FloorSafe => start_floor(name, "safe", folder, addr, floor),
            Self::FloorBest => start_floor(name, "best", folder, addr, floor),
            Self::NginxStream => {
                let module = format!("load_module {NGINX_STREAM_MODULE};\n");
                start_nginx(name, folder, &module, &nginx_stream(addr))
            }
            Self::NginxHttp => start_nginx(name, folder, "", &nginx_http(addr)),
            Self::Xinetd => servers::xinetd(folder, addr, floor, &format!("inetd {WORD}")),
            Self::Haproxy => start_haproxy(name, folder, addr),
            Self::Tokio | Self::Hyper => {
                let mut command = Command::new(&programs.asynchronous);
                let reply = format!("{WORD}\n");
                command.args([name, &addr.to_string(), &reply]);
                Server::start(name, &mut command, folder)
            }
            Self::Replyd => start_replyd(name, folder, programs, addr, "line", ""),
            Self::ReplydHttp => start_replyd(name, folder, programs, addr, "http", ""),
            Self::ReplydUndeferred => {
                start_replyd(name, folder, programs, addr, "line", UNDEFERRED)
            }
            Self::ReplydHttpUndeferred => {
                start_replyd(name, folder, programs, addr, "http", UNDEFERRED)
            }
        }
    }
}

impl Peer {
    /// Starts one, and waits until it answers.
    pub(super) fn start(kind: Kind, folder: &Path, programs: &Programs) -> Result<Self, String> {
        let [addr] = free_addrs()?;
        let target = kind.target(addr);
        let mut server = kind.start(folder, addr, programs)?;
        server.wait_for_reply(&target)?;
        let contender = Contender {
            name: kind.name(),
            target,
            pid: server.pid(),
            keeps_a_rate: kind.keeps_a_rate(),
        };
        Ok(Self {
            kind,
            contender,
            _server: server,
        })
    }
}

/// Starts these, each with processes of its own.
pub(super) fn start_all(
    kinds: &[Kind],
    folder: &Path,
    programs: &Programs,
) -> Result<Vec<Peer>, String> {
    let each = kinds.iter();
    each.map(|&kind| Peer::start(kind, folder, programs))
        .collect()
}

fn start_floor(
    name: &'static str,
    mode: &str,
    folder: &Path,
    addr: SocketAddr,
    floor: &Path,
) -> Result<Server, String> {
    let mut command = Command::new(floor);
    command.args([mode, &addr.port().to_string(), WORD]);
    Server::start(name, &mut command, folder)
}

/// `first` has to come before all else.
fn start_nginx(
    name: &'static str,
    folder: &Path,
    first: &str,
    blocks: &str,
) -> Result<Server, String> {
    let file = folder.join(format!("{name}.conf"));
    let folder_text = folder.display();
    let user = user()?;
    // As Debian ships it: a worker for each processor. Of workers that are not root's, `user` means nothing.
    let text = format!(
        "{first}user {user};\nworker_processes auto;\ndaemon off;\n\
         pid {folder_text}/{name}.pid;\nerror_log stderr crit;\nevents {{ worker_connections 16384; }}\n{blocks}"
    );
    write(&file, &text)?;
    let mut command = Command::new("nginx");
    command.arg("-e").arg("stderr").arg("-c").arg(&file);
    Server::start(name, &mut command, folder)
}

fn nginx_stream(addr: SocketAddr) -> String {
    format!(
        "stream {{\n  server {{\n    listen {addr} backlog={BACKLOG};\n    return \"{WORD}\\n\";\n  }}\n}}\n"
    )
}

fn nginx_http(addr: SocketAddr) -> String {
    format!(
        "http {{\n  access_log off;\n  default_type text/plain;\n  keepalive_timeout 0;\n  \
         client_header_timeout {PATIENCE_SECONDS};\n  server {{\n    listen {addr} backlog={BACKLOG};\n    \
         return 200 \"{WORD}\\n\";\n  }}\n}}\n"
    )
}

fn start_haproxy(name: &'static str, folder: &Path, addr: SocketAddr) -> Result<Server, String> {
    let file = folder.join("haproxy.cfg");
    let patience = format!("{PATIENCE_SECONDS}s");
    // It counts two descriptors a connection, and would not start where there are fewer. Without a backend it takes one.
    let text = format!(
        "global\n  no strict-limits\n  maxconn 12000\ndefaults\n  mode http\n  option httpclose\n  timeout client {patience}\n  \
         timeout http-request {patience}\nfrontend compared\n  bind {addr} backlog {BACKLOG}\n  \
         http-request return status 200 content-type text/plain string \"{WORD}\\n\"\n"
    );
    write(&file, &text)?;
    let mut command = Command::new("haproxy");
    command.arg("-db").arg("-f").arg(&file);
    Server::start(name, &mut command, folder)
}

const UNDEFERRED: &str = "defer_accept_seconds = 0\n";

fn start_replyd(
    name: &'static str,
    folder: &Path,
    programs: &Programs,
    addr: SocketAddr,
    read: &str,
    more: &str,
) -> Result<Server, String> {
    let config = format!(
        "server.max_connections = 12000\n[[service]]\nname = \"{name}\"\nlisten = \"{addr}\"\nread = \"{read}\"\n\
         request_timeout_seconds = {PATIENCE_SECONDS}\n{more}reply.text = \"{WORD}\\n\"\n"
    );
    servers::replyd(folder, name, &programs.replyd, &config)
}
