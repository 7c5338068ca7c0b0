//! A script's output as the reply: replyd beside xinetd and tcpserver, all running the same script.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::arguments::Commands;
use super::exchange::{Reply, Target};
use super::load::Load;
use super::report::{Claim, Figure, Pair, Report, Side};
use super::rounds::{self, Contender};
use super::servers::{self, Server};
use super::statistics::Bound;
use super::{csv, machine, scratch, stopped_by_signals, wanted, write_results};

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

/// Who has to be faster than whom, and how much.
const BOUNDS: [(&str, &str, f64); 3] = [
    (UNCACHED, XINETD, 1.25),
    (CACHED, XINETD, 15.0),
    (CACHED, STATIC, 0.9),
];

/// What is worth a ratio.
const RATIOS: [(Figure, &str, &str); 6] = [
    (Figure::Rate, UNCACHED, XINETD),
    (Figure::Rate, UNCACHED, TCPSERVER),
    (Figure::Rate, CACHED, XINETD),
    (Figure::Rate, CACHED, STATIC),
    (Figure::ServerProcessor, UNCACHED, XINETD),
    (Figure::ServerProcessor, CACHED, STATIC),
];

/// What a load balancer asks of a health check.
const REQUEST: &str = "OPTIONS / HTTP/1.0\r\n\r\n";

/// What Percona's clustercheck answers while the node is synced.
const REPLY: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: 40\r\n\r\n\
                     Percona XtraDB Cluster Node is synced.\r\n";

/// Runs the comparison and writes the results. Whether everything was as it has to be.
pub(super) fn run(commands: &Commands) -> Result<bool, String> {
    let options = &commands.options;
    let wanted = wanted(&CONTENDERS, &options.only)?;
    let stop = stopped_by_signals()?;
    servers::limit_descriptors()?;
    let facts = machine::facts(&options.replyd, &["xinetd", "ucspi-tcp", "dash"]);
    let folder = scratch()?;
    let (contenders, _running) = start(&wanted, folder.path(), &options.replyd)?;
    let loads = commands.clients.iter();
    let loads: Vec<Load> = loads.map(|&clients| Load::Closed { clients }).collect();
    let samples = rounds::run(
        &contenders,
        &loads,
        commands.rounds,
        commands.seconds,
        &stop,
    )?;
    let (bounds, pairs) = (bounds(&loads), pairs(&loads));
    let report = Report {
        title: "A command as the reply: replyd beside xinetd and tcpserver",
        facts: &facts,
        samples: &samples,
        readings: &[],
        bounds: &bounds,
        pairs: &pairs,
        faultless: &[UNCACHED, CACHED, STATIC],
    };
    let files = [
        ("commands.md", report.markdown()),
        ("commands.csv", csv::csv(&samples)),
    ];
    write_results(&options.output, &files)?;
    Ok(report.is_good())
}

fn pair(figure: Figure, of: &'static str, to: &'static str, load: Load) -> Pair {
    let side = |contender| Side { contender, load };
    let (of, to) = (side(of), side(to));
    Pair { figure, of, to }
}

fn bounds(loads: &[Load]) -> Vec<(Claim, Bound)> {
    let each = loads.iter().flat_map(|&load| {
        BOUNDS.map(|(of, to, least)| {
            let rate = pair(Figure::Rate, of, to, load);
            (Claim::Ratio(rate), Bound::AtLeast(least))
        })
    });
    each.collect()
}

fn pairs(loads: &[Load]) -> Vec<Pair> {
    let each = loads.iter();
    each.flat_map(|&load| RATIOS.map(|(figure, of, to)| pair(figure, of, to, load)))
        .collect()
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
        servers::xinetd(folder, xinetd, &script, "")?,
        servers::tcpserver(folder, tcpserver, &script)?,
        servers::replyd(folder, UNCACHED, replyd, &services)?,
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
            let target = Target::new(addr, REQUEST, Reply::exactly(REPLY));
            server.wait_for_reply(&target)?;
            contenders.push(Contender {
                name,
                target,
                pid: server.pid(),
                keeps_a_rate: false,
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
