//! Where and with what it was measured.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Names and values, for the head of a report.
pub(super) type Facts = Vec<(&'static str, String)>;

/// This machine, now, and the versions of what takes part.
pub(super) fn facts(replyd: &Path, packages: &[&str]) -> Facts {
    let mut facts = vec![
        (
            "date",
            jiff::Timestamp::now().strftime("%F %H:%M UTC").to_string(),
        ),
        ("processor", processor()),
        ("kernel", first_line("/proc/sys/kernel/osrelease")),
        (
            "sched_autogroup_enabled",
            first_line("/proc/sys/kernel/sched_autogroup_enabled"),
        ),
        ("load average before", first_line("/proc/loadavg")),
        ("replyd", output(replyd, &["--version"])),
        (
            "revision",
            output(
                "git",
                &[
                    "-C",
                    env!("CARGO_MANIFEST_DIR"),
                    "describe",
                    "--always",
                    "--dirty",
                ],
            ),
        ),
    ];
    let versions = packages.iter().map(|package| {
        let version = output(
            "dpkg-query",
            &["--show", "--showformat=${Version}", package],
        );
        format!("{package} {version}")
    });
    facts.push(("Debian packages", versions.collect::<Vec<_>>().join(", ")));
    facts
}

fn processor() -> String {
    let count = std::thread::available_parallelism().map_or(0, usize::from);
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("unknown", |rest| rest.trim_start_matches([' ', '\t', ':']));
    format!("{count} × {model}")
}

fn first_line(path: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().next().unwrap_or("unknown").to_owned()
}

fn output(program: impl AsRef<OsStr>, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let output = output.ok().filter(|output| output.status.success());
    output.map_or_else(
        || "unknown".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}
