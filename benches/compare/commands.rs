//! A script's output as the reply: replyd beside xinetd and tcpserver, all running the same script.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGINT, SIGTERM};

use super::arguments::Options;
use super::exchange::Target;
use super::report::{Figure, Pair, Report};
use super::rounds::{self, Contender};
use super::servers::{self, Server};
use super::statistics::Bound;
use super::{csv, machine, say};

const XINETD: &str = "xinetd";
const TCPSERVER: &str = "tcpserver";
/// A run for each request.
const UNCACHED: &str = "replyd";
/// A run a second at most.
const CACHED: &str = "replyd-cached";
/// No command: the same bytes from the configuration.
const STATIC: &str = "replyd-static";

/// In the order of the report.
const CONTENDERS: [&str; 5] = [XINETD, TCPSERVER, UNCACHED, CACHED, STATIC];

/// Who has to be faster than whom, and what else is worth a ratio.
const PAIRS: [Pair; 6] = [
    rate(UNCACHED, XINETD, Some(1.25)),
    rate(UNCACHED, TCPSERVER, None),
    rate(CACHED, XINETD, Some(15.0)),
    rate(CACHED, STATIC, Some(0.9)),
    server_processor(UNCACHED, XINETD),
    server_processor(CACHED, STATIC),
];

/// What a load balancer asks of a health check.
const REQUEST: &str = "OPTIONS / HTTP/1.0\r\n\r\n";

/// What Percona's clustercheck answers while the node is synced.
const REPLY: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: 40\r\n\r\n\
                     Percona XtraDB Cluster Node is synced.\r\n";

const fn rate(of: &'static str, to: &'static str, least: Option<f64>) -> Pair {
    let bound = match least {
        Some(least) => Some(Bound::AtLeast(least)),
        None => None,
    };
    Pair {
        figure: Figure::Rate,
        of,
        to,
        bound,
    }
}

const fn server_processor(of: &'static str, to: &'static str) -> Pair {
    Pair {
        figure: Figure::ServerProcessor,
        of,
        to,
        bound: None,
    }
}

/// Runs the comparison and writes the results. Whether everything was as it has to be.
pub(super) fn run(options: &Options) -> Result<bool, String> {
    let wanted = wanted(&options.only)?;
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop))
            .map_err(|error| format!("signals: {error}"))?;
    }
    servers::limit_descriptors()?;
    let facts = machine::facts(&options.replyd, &["xinetd", "ucspi-tcp", "dash"]);
    let folder =
        tempfile::tempdir().map_err(|error| format!("no folder for the servers: {error}"))?;
    let (contenders, _running) = start(&wanted, folder.path(), &options.replyd)?;
    let samples = rounds::run(
        &contenders,
        &options.clients,
        options.rounds,
        options.seconds,
        &stop,
    )?;
    let report = Report {
        title: "A command as the reply: replyd beside xinetd and tcpserver",
        facts: &facts,
        samples: &samples,
        pairs: &PAIRS,
        faultless: &[UNCACHED, CACHED, STATIC],
    };
    fs::create_dir_all(&options.output)
        .map_err(|error| format!("{}: {error}", options.output.display()))?;
    let markdown = report.markdown();
    servers::write(&options.output.join("commands.md"), &markdown)?;
    servers::write(&options.output.join("commands.csv"), &csv::csv(&samples))?;
    say(&format!(
        "\n{markdown}\nwritten to {}",
        options.output.display()
    ));
    Ok(report.is_good())
}

/// Those that take part, in our order.
fn wanted(only: &[String]) -> Result<Vec<&'static str>, String> {
    if let Some(unknown) = only
        .iter()
        .find(|name| !CONTENDERS.contains(&name.as_str()))
    {
        return Err(format!(
            "no server `{unknown}`; there are {}",
            CONTENDERS.join(", ")
        ));
    }
    let is_wanted = |name: &&str| only.is_empty() || only.iter().any(|wanted| wanted == name);
    Ok(CONTENDERS.into_iter().filter(is_wanted).collect())
}

/// Starts all servers, and waits until each of the wanted gives the reply.
fn start(
    wanted: &[&'static str],
    folder: &Path,
    replyd: &Path,
) -> Result<(Vec<Contender>, Vec<Server>), String> {
    let script = folder.join("clustercheck");
    write_script(&script)?;
    let [xinetd, tcpserver, uncached, cached, fixed] = servers::free_addrs()?;
    let services = services(&script, uncached, cached, fixed)?;
    let mut running = vec![
        servers::xinetd(folder, xinetd, &script)?,
        servers::tcpserver(folder, tcpserver, &script)?,
        servers::replyd(folder, replyd, &services)?,
    ];
    let of_server = [
        (0, xinetd),
        (1, tcpserver),
        (2, uncached),
        (2, cached),
        (2, fixed),
    ];
    let mut contenders = Vec::new();
    for (name, (server, addr)) in CONTENDERS.into_iter().zip(of_server) {
        if wanted.contains(&name) {
            let server = &mut running[server];
            let target = Target::new(addr, REQUEST, REPLY);
            server.wait_for_reply(&target)?;
            contenders.push(Contender {
                name,
                target,
                pid: server.pid(),
            });
        }
    }
    Ok((contenders, running))
}

/// One `write`, which is kind to those that hand the socket to the script.
fn write_script(path: &Path) -> Result<(), String> {
    let format = REPLY.replace('\r', "\\r").replace('\n', "\\n");
    servers::write(path, &format!("#!/bin/sh\nprintf '{format}'\n"))?;
    let executable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(path, executable).map_err(|error| format!("{}: {error}", path.display()))
}

/// replyd's services: everything at its default but what is compared.
fn services(
    script: &Path,
    uncached: SocketAddr,
    cached: SocketAddr,
    fixed: SocketAddr,
) -> Result<String, String> {
    let user = servers::user()?;
    let script = script.display();
    let command = format!("[service.reply.command]\nrun = [\"{script}\"]\nuser = \"{user}\"\n");
    let head = |name, addr, read| {
        format!("[[service]]\nname = \"{name}\"\nlisten = \"{addr}\"\nread = {read}\n")
    };
    // Over HTTP replyd would write a head of its own, and the bytes would not be the same.
    let to_blank_line = r#"{ delimiter = "\r\n\r\n" }"#;
    let text = REPLY.replace('\r', "\\r").replace('\n', "\\n");
    Ok([
        head(UNCACHED, uncached, r#""http""#),
        command.clone(),
        head(CACHED, cached, r#""http""#),
        command,
        "cache_seconds = 1\n".to_owned(),
        head(STATIC, fixed, to_blank_line),
        format!("reply.text = \"{text}\"\n"),
    ]
    .concat())
}
