#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""GET /metrics of a real daemon, scraped by a real Prometheus with deploy/prometheus.yml; and whether every series that
deploy/grafana/tetrad.json asks for exists there."""
import http.client, json, os, re, shutil, socket, subprocess, sys, urllib.parse

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, ".."), os.path.join(HERE, "..", "fault")]
import tap
from daemon import PATIENCE, Daemon, alive, folder, start_process, until

DEPLOY = os.path.join(tap.ROOT, "deploy")


def need(program):
    path = shutil.which(program)
    if path is None:
        raise tap.Skip(f"{program} is not installed")
    return path


def train(daemon):
    run = daemon.client.submit({"name": "measured", "dataset": {"name": "strokes", "train": 200, "test": 20},
                                "network": {"layers": [{"units": 8}]}, "rule": {"name": "bp"},
                                "training": {"epochs": 2, "batch": 20}})[1]["first_run"]
    assert daemon.await_final([run])[run]["state"] == "succeeded"


def scrape(daemon):
    """{"name{labels}": value}, every line of the text read."""
    status, body = daemon.client.ask("GET", "/metrics")
    assert status == 200, body
    text, found = body.decode(), {}
    for line in text.splitlines():
        if line.startswith("# "):
            continue
        name, value = re.fullmatch(r"([a-z_]+(?:\{[^{}]*(?:\{[a-z]+\}[^{}]*)*\})?) (\S+)", line).groups()
        assert name not in found, f"{name} twice"
        found[name] = float(value)
    return text, found


def test_values():
    """What is known from outside: counts of what was just done; buckets that grow; no ids and no names of users'."""
    with folder() as path, Daemon(path, workers=1) as daemon:
        train(daemon)
        for path_ in ("/v1/runs/1", "/v1/runs/77", "/v1/nowhere"):
            daemon.client.ask("GET", path_)
        text, m = scrape(daemon)
        assert m["tetrad_samples_total"] == 400 and m["tetrad_step_duration_seconds_count"] == 20, text
        assert m["tetrad_queue_wait_duration_seconds_count"] == 1 and m["tetrad_queue_depth"] == 0
        assert m['tetrad_runs{state="succeeded"}'] == 1 and m['tetrad_runs{state="queued"}'] == 0
        assert m['tetrad_run_changes_total{state="succeeded",reason="none"}'] == 1
        assert m["tetrad_workers"] == 1 and m["tetrad_workers_busy"] == 0 and m["tetrad_event_streams"] == 0
        count = 'tetrad_http_request_duration_seconds_count{method="%s",route="%s",status="%s"}'
        assert m[count % ("GET", "/v1/runs/{id}", "4xx")] == 1 and m[count % ("other", "none", "4xx")] == 1
        assert m[count % ("POST", "/v1/experiments", "2xx")] == 1
        assert m["process_resident_memory_bytes"] > 1 << 20 and m["tetrad_sqlite_file_bytes"] > 4096
        assert "measured" not in text and "local" not in text and "77" not in re.findall(r'route="([^"]*)"', text)
        for name in {n.split("_bucket{")[0] for n in m if "_bucket{" in n}:
            groups = {}
            for key, value in m.items():
                if key.startswith(name + "_bucket{"):
                    labels, bound = re.fullmatch(r'\{(.*?),?le="([^"]+)"\}', key[len(name) + 7:]).groups()
                    groups.setdefault(labels, []).append((float(bound), value))
            for labels, buckets in groups.items():
                values = [value for _, value in sorted(buckets)]
                assert values == sorted(values) and buckets[-1][0] == float("inf"), (name, labels, buckets)
                assert values[-1] == m[name + "_count" + (f"{{{labels}}}" if labels else "")], name
        again = scrape(daemon)[1]
        assert again[count % ("GET", "/metrics", "2xx")] == 1  # the one before
        daemon.client.submit({"name": "x", "dataset": {"name": "strokes"}, "network": {"layers": [{"units": 8}]},
                              "rule": {"name": "bp"}, "training": {"epochs": 1000},
                              "sweep": {"training.seed": [1, 2, 3]}})
        until("a run to be trained", lambda: scrape(daemon)[1]["tetrad_workers_busy"] == 1)
        m = scrape(daemon)[1]
        assert m["tetrad_queue_depth"] == 2 and m["tetrad_runs_memory_bytes"] > 0
        assert 0 < m["tetrad_queue_oldest_wait_seconds"] < PATIENCE
        status, _ = daemon.client.ask("GET", "/metrics?x=1")
        assert status == 400
        daemon.stop()


def test_lint():
    promtool = need("promtool")
    with folder() as path, Daemon(path, workers=1) as daemon:
        train(daemon)
        text, _ = scrape(daemon)
        lint = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, timeout=60)
        assert lint.returncode == 0 and not lint.stderr, lint.stderr
        config = subprocess.run([promtool, "check", "config", os.path.join(DEPLOY, "prometheus.yml")],
                                capture_output=True, text=True, timeout=60)
        assert config.returncode == 0, config.stdout + config.stderr
        daemon.stop()


def free_port():
    """Prometheus cannot be asked which port it took: one that was free a moment ago."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def query(port, expression):
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        client.request("GET", "/api/v1/query?" + urllib.parse.urlencode({"query": expression}))
        reply = client.getresponse()
        if reply.status == 503:  # it says that it is not ready
            return None
        answer = json.loads(reply.read())
    except OSError:  # it is not up yet
        return None
    finally:
        client.close()
    assert answer["status"] == "success", (expression, answer)
    return answer["data"]["result"]


def expressions():
    with open(os.path.join(DEPLOY, "grafana", "tetrad.json"), encoding="utf-8") as file:
        board = json.load(file)
    assert {v["name"] for v in board["templating"]["list"]} == {"datasource", "instance"}
    boxes = [tuple(p["gridPos"].values()) for p in board["panels"]]
    assert len(set(boxes)) == len(boxes) and all(x + w <= 24 for x, y, w, h in boxes)
    found = [t["expr"] for p in board["panels"] for t in p["targets"]]
    assert len(found) > 20
    return [e.replace("$__rate_interval", "1m").replace("$instance", ".*") for e in found]


def test_prometheus():
    prometheus = need("prometheus")
    with folder() as path, Daemon(path, workers=1) as daemon:
        train(daemon)
        with open(os.path.join(DEPLOY, "prometheus.yml"), encoding="utf-8") as file:
            config = file.read()
        assert config.count("127.0.0.1:8080") == 1 and "scrape_interval: 15s" in config
        config = config.replace("127.0.0.1:8080", f"127.0.0.1:{daemon.port}")
        config = config.replace("scrape_interval: 15s", "scrape_interval: 1s").replace("timeout: 10s", "timeout: 1s")
        with open(os.path.join(path, "prometheus.yml"), "w", encoding="utf-8") as file:
            file.write(config)
        port = free_port()
        with open(os.path.join(path, "prometheus.log"), "wb") as log:
            process = start_process([prometheus, f"--config.file={path}/prometheus.yml",
                                     f"--storage.tsdb.path={path}/tsdb", f"--web.listen-address=127.0.0.1:{port}"],
                                    stdout=log, stderr=log)
        try:
            def value(expression):
                assert process.poll() is None, open(os.path.join(path, "prometheus.log")).read()[-3000:]
                result = query(port, expression)
                return result and float(result[0]["value"][1])
            until("a scrape", lambda: value('up{job="tetrad"}') == 1.0, 0.1)
            until("two scrapes", lambda: (value('count_over_time(up{job="tetrad"}[1m])') or 0) >= 3, 0.1)
            assert value("tetrad_samples_total") == 400
            assert value('tetrad_runs{state="succeeded"}') == 1
            assert 0 < value("histogram_quantile(0.5, tetrad_sqlite_commit_duration_seconds_bucket)") < 10
            for expression in expressions():
                assert query(port, expression), f"nothing for {expression}"
        finally:
            process.terminate()
            process.wait(PATIENCE)
            alive.discard(process)
        daemon.stop()


tap.run(globals())
