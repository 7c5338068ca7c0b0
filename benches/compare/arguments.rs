//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

/// Compares replyd with other servers, in interleaved rounds on this machine.
#[derive(Debug, Parser)]
#[command(bin_name = "benches/run")]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) comparison: Comparison,

    /// What cargo says to every benchmark.
    #[arg(long, hide = true, global = true)]
    bench: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Comparison {
    /// A script's output as the reply: replyd beside xinetd and tcpserver
    Commands(Commands),

    /// A constant reply: replyd beside C floors, nginx, HAProxy, xinetd, tokio and hyper
    Peers(Peers),
}

/// How much is measured of commands.
#[derive(Debug, Args)]
pub(super) struct Commands {
    /// Rounds; below 6 there is no 95 % interval
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(super) rounds: u32,

    /// Seconds of each measurement; a warm-up of a fifth comes before it
    #[arg(long, default_value = "1.5", value_parser = seconds)]
    pub(super) seconds: Duration,

    /// Clients in a closed loop, each set measured by itself
    #[arg(long, default_values_t = [1, 4, 16], value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(super) clients: Vec<u16>,

    #[command(flatten)]
    pub(super) options: Options,
}

/// How much is measured of peers.
#[derive(Debug, Args)]
pub(super) struct Peers {
    /// Rounds; below 6 there is no 95 % interval
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(super) rounds: u32,

    /// Rounds of what takes long: beside a crowd, system calls, memory. 0: none of it
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub(super) crowd_rounds: u32,

    /// Seconds of each measurement; a warm-up of a fifth comes before it
    #[arg(long, default_value = "0.7", value_parser = seconds)]
    pub(super) seconds: Duration,

    /// Clients in a closed loop, each set measured by itself
    #[arg(long, default_values_t = [1, 16, 64, 400], value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(super) clients: Vec<u16>,

    /// Open loads, in per cent of the plain floor's rate at 64 clients. Empty: none
    #[arg(long, default_value = "25,50,75", value_parser = percents)]
    pub(super) open: Percents,

    #[command(flatten)]
    pub(super) options: Options,
}

/// Who is measured, and where the results go.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Only these servers, as the report names them
    #[arg(long, value_delimiter = ',')]
    pub(super) only: Vec<String>,

    /// Another replyd than the one built with this
    #[arg(long, default_value = env!("CARGO_BIN_EXE_replyd"), hide_default_value = true)]
    pub(super) replyd: PathBuf,

    /// The folder for the results, which are replaced
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/results"))]
    pub(super) output: PathBuf,
}

/// A list that may be empty, which clap's own can't be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Percents(pub(super) Vec<u8>);

/// At least a tenth of a second: below, processor time counted in hundredths says nothing.
fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.1..=3600.0).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err("not from 0.1 to 3600".to_owned())
    }
}

fn percents(text: &str) -> Result<Percents, String> {
    let parts = text.split(',').filter(|part| !part.is_empty());
    let percents = parts.map(|part| match part.parse() {
        Ok(percent @ 1..=200) => Ok(percent),
        _ => Err(format!("`{part}` is not from 1 to 200")),
    });
    percents.collect::<Result<_, _>>().map(Percents)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_loads_are_a_list_that_may_be_empty() {
        assert_eq!(percents("25,50"), Ok(Percents(vec![25, 50])));
        assert_eq!(percents(""), Ok(Percents(Vec::new())));
        assert!(percents("0").is_err() && percents("x").is_err());
    }

    #[test]
    fn the_arguments_are_consistent() {
        use clap::CommandFactory as _;
        Arguments::command().debug_assert();
    }
}
