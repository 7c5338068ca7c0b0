#!/usr/bin/env python3
"""Checks dashboards/ against a running replyd, with the real Prometheus as the judge.

    tests/dashboards.py --metrics-url http://127.0.0.1:7150/metrics

The caller has started replyd, one of its services with a command and a maintenance file, and given each some
healthy traffic: an alert that fires is a failure here. Needs `prometheus` and `promtool` in PATH, nothing outside the standard library.
Prints one line per group of checks; exits 1 if one failed.
"""

import argparse
import contextlib
import itertools
import json
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

DASHBOARDS = pathlib.Path(__file__).resolve().parent.parent / "dashboards"
DASHBOARD = DASHBOARDS / "replyd.json"
RULES = DASHBOARDS / "alerts.yml"
RULE_TESTS = DASHBOARDS / "alerts_test.yml"

JOB = "replyd"
RATE_INTERVAL_SECONDS = 10
GRID_COLUMNS = 24
START_SECONDS = 30  # how long Prometheus may take until it answers
SCRAPE_SECONDS = 30  # how long until it has enough samples and has run every rule
QUIET_SECONDS = 20  # how long an alert from the first moments may linger (ReplydDown, before the first scrape)
STOP_SECONDS = 10

# What Grafana would put in for its variables.
VARIABLES = {"__rate_interval": f"{RATE_INTERVAL_SECONDS}s", "job": JOB, "instance": ".*", "service": ".*"}

# Families that are on the page only after what they count has happened.
ON_OCCURRENCE = {"replyd_accept_errors_total"}

VARIABLE = re.compile(r"\$\{?(\w+)\}?")
QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
METRIC = re.compile(r"\b(?:replyd|process)_\w+")
LABEL_VALUES = re.compile(r"label_values\((.+),\s*\w+\)")
# A comparison with a number, as Prometheus prints it: the threshold of an alert.
THRESHOLD = re.compile(r"\s*(?:==|!=|>=|<=|>|<)\s*[-+]?(?:\d[\d.]*(?:e[-+]?\d+)?|Inf)\b")


class Failure(Exception):
    """The checks can't go on."""


class Prometheus:
    """The HTTP API of one Prometheus."""

    def __init__(self, port):
        self.url = f"http://127.0.0.1:{port}"

    def get(self, path, **parameters):
        """The `data` of one answer of the API."""
        url = f"{self.url}{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise Failure(json.load(error).get("error", str(error))) from error

    def query(self, expression):
        """The samples of an instant query; a scalar is one sample."""
        data = self.get("/api/v1/query", query=expression)
        return [data["result"]] if data["resultType"] == "scalar" else data["result"]

    def rules(self):
        """Every alerting rule that was loaded."""
        groups = self.get("/api/v1/rules", type="alert")["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def ready(self):
        """Whether it answers yet."""
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=1):
                return True
        except OSError:
            return False

    def scraped(self):
        """Whether rate() has what it needs and every rule was evaluated since."""
        enough = f'count_over_time(replyd_build_info{{job="{JOB}"}}[{RATE_INTERVAL_SECONDS}s]) >= 3'
        return bool(self.query(enough)) and all(rule["health"] == "ok" for rule in self.rules())

    def quiet(self):
        """Whether no alert is pending or firing. Pending counts, or `for` would hide them all."""
        return not self.query("ALERTS")


def wait_until(condition, seconds, what, process=None):
    """Polls until `condition()` holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if process is not None and process.poll() is not None:
            raise Failure(f"prometheus ended with {process.returncode} before {what}")
        if time.monotonic() > deadline:
            raise Failure(f"waited {seconds} s in vain: {what}")
        time.sleep(0.1)


def configuration(metrics_url):
    """prometheus.yml, written as JSON, which is YAML."""
    url = urllib.parse.urlsplit(metrics_url)
    job = {
        "job_name": JOB,
        "scheme": url.scheme,
        "metrics_path": url.path or "/metrics",
        "static_configs": [{"targets": [url.netloc]}],
    }
    every = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    return json.dumps({"global": every, "rule_files": [str(RULES)], "scrape_configs": [job]})


@contextlib.contextmanager
def prometheus(metrics_url):
    """A Prometheus of our own, that has scraped `metrics_url` often enough; ended on the way out."""
    with tempfile.TemporaryDirectory(prefix="replyd-dashboards-") as folder:
        root = pathlib.Path(folder)
        (root / "prometheus.yml").write_text(configuration(metrics_url), encoding="utf-8")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [
            *("prometheus", "--log.level=warn", f"--web.listen-address=127.0.0.1:{port}"),
            *(f"--config.file={root}/prometheus.yml", f"--storage.tsdb.path={root}/data"),
        ]
        with open(root / "log", "wb") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        server = Prometheus(port)
        try:
            wait_until(server.ready, START_SECONDS, "prometheus answers", process)
            wait_until(server.scraped, SCRAPE_SECONDS, f"{metrics_url} was scraped", process)
            yield server
        except Failure as failure:
            log_text = (root / "log").read_text(encoding="utf-8", errors="replace")
            raise Failure(f"{failure}\n{log_text}".rstrip()) from failure
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def panels(dashboard):
    """Every panel that shows something."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def panel_expressions(dashboard):
    """(where, expression) of every target."""
    for panel in panels(dashboard):
        for target in panel["targets"]:
            yield f"panel {panel['title']!r} {target['refId']}", target["expr"]


def other_expressions(dashboard):
    """(where, expression) of every variable that asks for label values, and of every annotation."""
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            query = variable["query"]["query"]
            found = LABEL_VALUES.fullmatch(query)
            if found is None:
                raise Failure(f"variable {variable['name']}: not label_values(selector, label): {query}")
            yield f"variable {variable['name']}", found.group(1)
    for annotation in dashboard["annotations"]["list"]:
        yield f"annotation {annotation['name']!r}", without_threshold(annotation["target"]["expr"])


def substitute(expression):
    """The expression as Grafana would send it."""

    def value(match):
        name = match.group(1)
        if name not in VARIABLES:
            raise Failure(f"unknown variable ${name} in {expression}")
        return VARIABLES[name]

    return VARIABLE.sub(value, expression)


def without_threshold(expression):
    """The expression without comparisons with a number, so that a healthy replyd has data for it."""
    pieces = re.split(f"({QUOTED.pattern})", expression)
    return "".join(piece if piece.startswith('"') else THRESHOLD.sub("", piece) for piece in pieces)


def names(expressions):
    """Names of our metrics in expressions; label values don't count."""
    return {name for _, text in expressions for name in METRIC.findall(QUOTED.sub('""', text))}


def families(page):
    """Sample name -> the family it belongs to, of a page in the text format."""
    samples = {}
    for family, kind in re.findall(r"^# TYPE (\w+) (\w+)$", page, re.MULTILINE):
        suffixes = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
        samples.update({family + suffix: family for suffix in suffixes})
    return samples


def check_shape(dashboard):
    """The rules of this project for dashboards."""
    if dashboard["schemaVersion"] < 39:
        yield "schemaVersion is below 39"
    wanted = {"datasource", "job", "instance", "service"}
    if not wanted <= {variable["name"] for variable in dashboard["templating"]["list"]}:
        yield f"a variable of {sorted(wanted)} is missing"
    if any(row.get("panels") for row in dashboard["panels"]):
        yield "a collapsed row hides its panels from these checks; expand it and save again"
    for key in ("id", "title"):
        values = [panel[key] for panel in dashboard["panels"]]
        yield from (f"two panels have the {key} {value!r}" for value in set(values) if values.count(value) > 1)
    yield from overlaps(dashboard["panels"])
    for panel in panels(dashboard):
        yield from check_panel(panel)


def overlaps(placed):
    """Panels outside of the grid or on top of each other."""
    for panel in placed:
        at = panel["gridPos"]
        if at["x"] < 0 or at["w"] < 1 or at["h"] < 1 or at["x"] + at["w"] > GRID_COLUMNS:
            yield f"panel {panel['title']!r} is outside of the grid"
    for one, other in itertools.combinations(placed, 2):
        a, b = one["gridPos"], other["gridPos"]
        beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        above = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        if not beside and not above:
            yield f"panels {one['title']!r} and {other['title']!r} overlap"


def check_panel(panel):
    """One panel: described, with a unit, asking the chosen data source."""
    title = panel["title"]
    if not panel.get("description", "").strip():
        yield f"panel {title!r} has no description"
    if not panel["fieldConfig"]["defaults"].get("unit"):
        yield f"panel {title!r} has no unit"
    if not panel["targets"]:
        yield f"panel {title!r} asks nothing"
    for asked in (panel, *panel["targets"]):
        if asked.get("datasource", {}).get("uid") != "${datasource}":
            yield f"panel {title!r} doesn't use ${{datasource}}"
    if len(panel["targets"]) != len({target["refId"] for target in panel["targets"]}):
        yield f"panel {title!r}: refIds are not unique"


def check_promtool(arguments, stdin=None, silent=False):
    """Runs promtool; `silent`: even a remark is a failure."""
    run = subprocess.run(
        ["promtool", *map(str, arguments)], input=stdin, capture_output=True, text=True, timeout=120, check=False
    )
    said = (run.stdout + run.stderr).strip()
    if run.returncode != 0 or (silent and said):
        yield f"exit {run.returncode}: {said}"


def check_rule_tests(rules, tests):
    """Each alert has a test where it fires and one where it is silent, and says what to do."""
    for rule in rules:
        for ending in ("fires", "is silent"):
            if f'- name: "{rule["name"]} {ending}: ' not in tests:
                yield f"alerts_test.yml has no test {rule['name']} {ending}"
        for annotation in ("summary", "description", "runbook"):
            if not rule["annotations"].get(annotation):
                yield f"{rule['name']} has no {annotation}"
        if not rule["labels"].get("severity"):
            yield f"{rule['name']} has no severity"


def check_data(server, expressions):
    """Every expression is accepted and has data (NaN is data: a quantile without traffic)."""
    for where, expression in expressions:
        try:
            if not server.query(substitute(expression)):
                yield f"{where}: no data: {expression}"
        except Failure as failure:
            yield f"{where}: {failure}: {expression}"


def check_alerts(server, rules):
    """Every alert has data to judge, with the labels its texts use; none is pending or firing."""
    for rule in rules:
        try:
            samples = server.query(rule["query"]) or server.query(without_threshold(rule["query"]))
        except Failure as failure:
            yield f"{rule['name']}: {failure}: {rule['query']}"
            continue
        if not samples:
            yield f"{rule['name']}: no data: {without_threshold(rule['query'])}"
        labels = samples[0]["metric"] if samples else {}
        used = set(re.findall(r"\$labels\.(\w+)", "".join(rule["annotations"].values())))
        if labels and not used <= labels.keys():
            yield f"{rule['name']}: its texts use {sorted(used - labels.keys())}, which the expression doesn't keep"
    try:
        wait_until(server.quiet, QUIET_SECONDS, "no alert")
    except Failure:
        for labels in (alert["metric"] for alert in server.query("ALERTS")):
            yield f"{labels['alertname']} is {labels['alertstate']}: {labels}"


def check_names(page, on_panels, elsewhere):
    """Names in dashboards exist on the page, and every family of ours on the page has a panel."""
    known = families(page)
    for name in sorted((on_panels | elsewhere) - known.keys() - ON_OCCURRENCE):
        yield f"{name} is used in dashboards/ but is not in /metrics"
    shown = {known[name] for name in on_panels if name in known}
    for family in sorted(set(known.values())):
        if family.startswith("replyd_") and family not in shown:
            yield f"{family} is in /metrics but on no panel"


class Report:
    """Runs groups of checks and counts."""

    def __init__(self):
        self.passed = 0
        self.failed = 0

    def group(self, title, faults):
        try:
            found = list(faults)
        except (Failure, OSError, KeyError, subprocess.TimeoutExpired) as error:
            found = [f"{type(error).__name__}: {error}"]
        print(f"{'FAIL' if found else 'ok  '} {title}", flush=True)
        for fault in found:
            print("     " + fault.replace("\n", "\n     "), flush=True)
        self.passed += not found
        self.failed += bool(found)

    def finish(self):
        print(f"{self.passed} passed, {self.failed} failed")
        return 1 if self.failed else 0


def check_files(report, dashboard, page):
    """What needs no Prometheus server."""
    report.group("dashboard: shape", check_shape(dashboard))
    report.group("promtool check rules", check_promtool(["check", "rules", RULES]))
    report.group("promtool test rules", check_promtool(["test", "rules", RULE_TESTS]))
    report.group("promtool check metrics", check_promtool(["check", "metrics"], stdin=page, silent=True))


def check_live(report, dashboard, page, server):
    """What Prometheus says about the real metrics."""
    rules = server.rules()
    shown = list(panel_expressions(dashboard))
    others = list(other_expressions(dashboard))
    alerts = [(rule["name"], rule["query"]) for rule in rules]
    report.group(f"dashboard: {len(shown)} panel expressions have data", check_data(server, shown))
    report.group(f"dashboard: {len(others)} variables and annotations have data", check_data(server, others))
    report.group(f"alerts: {len(rules)} have data, none is active", check_alerts(server, rules))
    report.group("alerts: tests and texts", check_rule_tests(rules, RULE_TESTS.read_text(encoding="utf-8")))
    report.group("metric names, both ways", check_names(page, names(shown), names(others + alerts)))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--metrics-url", required=True, help="of a running replyd that has had some traffic")
    url = parser.parse_args().metrics_url
    # So that an end from outside still ends our Prometheus.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    report = Report()
    try:
        for tool in ("prometheus", "promtool"):
            if shutil.which(tool) is None:
                raise Failure(f"{tool} is not installed (Debian package prometheus)")
        dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
        with urllib.request.urlopen(url, timeout=10) as answer:
            page = answer.read().decode("utf-8")
        check_files(report, dashboard, page)
        with prometheus(url) as server:
            check_live(report, dashboard, page, server)
    except (Failure, OSError, ValueError, KeyError) as error:
        report.group("setup", [f"{type(error).__name__}: {error}"])
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
