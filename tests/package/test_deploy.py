#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The files of deploy/ that other programs read: the unit's score, and whether compose, Prometheus and Grafana are told of
files, ports and series that exist."""
import json, os, re, shutil, subprocess, sys, tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..")]
import dockerfile, tap
from unit import Unit

DEPLOY = os.path.join(tap.ROOT, "deploy")


def yaml(path):
    try:
        import yaml as library
    except ImportError:
        raise tap.Skip("python3-yaml is not installed") from None
    with open(os.path.join(DEPLOY, path)) as file:
        return library.safe_load(file)


def read(path):
    with open(os.path.join(tap.ROOT, path)) as file:
        return file.read()


def settings(text):
    """{name: value} of a configuration file, its comments that are settings too."""
    return dict(re.findall(r"^#? ?([a-z-]+) *= *(\S+)", text, re.M))


def from_dockerfile(name):
    return [rest for one, rest in dockerfile.instructions(os.path.join(tap.ROOT, "Dockerfile")) if one == name]


def test_unit_is_confined():
    """systemd's own judgement: under 2.0 of 10."""
    if shutil.which("systemd-analyze") is None:
        raise tap.Skip("systemd-analyze is not installed")
    said = subprocess.run(["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=20",
                           os.path.join(DEPLOY, "tetrad.service")], capture_output=True, text=True)
    score = re.search(r"Overall exposure level for tetrad.service: ([0-9.]+)", said.stdout)
    if score is None and "offline" in said.stderr:
        raise tap.Skip("this systemd-analyze judges no files")
    assert score, said.stdout + said.stderr
    print(f"# exposure level {score[1]}")
    assert said.returncode == 0 and float(score[1]) < 2.0, said.stdout


def test_unit_is_understood():
    """systemd knows every setting (what it does not know it passes over); and what is started is what is installed."""
    unit = Unit()
    assert unit["ExecStart"].split()[:2] == ["/usr/bin/tetrad", "serve"]
    assert os.access(os.path.join(DEPLOY, os.path.basename(unit["ExecStartPre"].split()[0])), os.X_OK)
    if shutil.which("systemd-analyze") is None:
        raise tap.Skip("systemd-analyze is not installed")
    said = subprocess.run(["systemd-analyze", "verify", "--man=no", os.path.join(DEPLOY, "tetrad.service")],
                          capture_output=True, text=True)
    ours = [line for line in said.stderr.split("\n") if "tetrad.service" in line]
    assert all("is not executable: No such file" in line for line in ours), said.stderr


def test_configuration():
    """Every line of the installed configuration, also those that wait behind a #, is an option that `serve` has."""
    helped = subprocess.run([tap.TETRAD, "help", "serve"], capture_output=True, text=True, check=True).stdout
    for text in (read("deploy/tetrad.conf"), re.sub(r"(?m)^#  *(\w+ *= )", r"# \1", read("deploy/nginx.conf").split("upstream")[0])):
        found = settings(text)
        assert "listen" in found and all(f"--{name} " in helped for name in found), found
    here = settings("".join(line for line in read("deploy/tetrad.conf").splitlines(True) if not line.startswith("#")))
    assert here["listen"] == "127.0.0.1:8080" and here["db"].startswith("/var/lib/tetrad/"), here


def test_compose():
    """Services only this machine reaches, volumes that are declared, files that exist, ports that the image has."""
    compose = yaml("compose.yaml")
    services, volumes = compose["services"], compose["volumes"]
    assert set(services) == {"server", "prometheus", "grafana"}
    for name, service in services.items():
        assert service["read_only"] and service["cap_drop"] == ["ALL"], name
        for published in service.get("ports", []):
            assert published.startswith("127.0.0.1:"), f"{name}: {published} is open to others"
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            there = os.path.exists(os.path.join(DEPLOY, source)) if source.startswith(".") else source in volumes
            assert there, f"{name}: there is no {source}"
        for other in service.get("depends_on", []):
            assert other in services
    server = services["server"]
    assert os.path.exists(os.path.join(DEPLOY, server["build"]["context"], "Dockerfile"))
    assert server["ports"][0].split(":")[2] in from_dockerfile("EXPOSE")
    helped = subprocess.run([tap.TETRAD, "help", "serve"], capture_output=True, text=True, check=True).stdout
    environment = set(server["environment"]) | {one.split("=")[0] for one in " ".join(from_dockerfile("ENV")).split()}
    assert all(f"[{name}]" in helped for name in environment), environment
    user = from_dockerfile("USER")[-1].split(":")
    assert services["prometheus"]["group_add"] == [user[1]], "Prometheus cannot read its token"
    assert "server" in server["environment"]["TETRAD_HOST"].split(","), "the server refuses the name that Prometheus uses"


def test_prometheus_of_compose():
    """It asks the server of compose with the token that the image's first start makes, under the dashboard's job."""
    config, services = yaml("prometheus-compose.yml"), yaml("compose.yaml")["services"]
    job = config["scrape_configs"][0]
    host, port = job["static_configs"][0]["targets"][0].split(":")
    assert host in services and port in from_dockerfile("EXPOSE")
    made = re.search(r"prometheus:viewer=(\S+)", read("deploy/container"))[1]
    kept = {volume.split(":")[1]: volume.split(":")[0] for volume in services["server"]["volumes"]}
    seen = {volume.split(":")[0]: volume.split(":")[1] for volume in services["prometheus"]["volumes"]}
    token = os.path.join(seen[kept[os.path.dirname(made)]], os.path.basename(made))
    assert job["authorization"]["credentials_file"] == token
    assert f'job=\\"{job["job_name"]}\\"' in read("deploy/grafana/tetrad.json")
    plain = yaml("prometheus.yml")
    assert {k: v for k, v in config.items() if k == "global"} == {k: v for k, v in plain.items() if k == "global"}
    if shutil.which("promtool"):
        said = subprocess.run(["promtool", "check", "config", "--syntax-only", os.path.join(DEPLOY, "prometheus-compose.yml")],
                              capture_output=True, text=True)
        assert said.returncode == 0, said.stdout + said.stderr


def test_grafana():
    """It finds Prometheus by its name in compose, and the dashboard where compose puts it. That the dashboard's series
    exist, tests/api/test_prometheus.py shows."""
    services = yaml("compose.yaml")["services"]
    source = yaml("grafana/provisioning/datasources/tetrad.yaml")["datasources"][0]
    assert re.fullmatch(r"http://prometheus:9090", source["url"]) and source["type"] == "prometheus"
    provider = yaml("grafana/provisioning/dashboards/tetrad.yaml")["providers"][0]
    seen = {volume.split(":")[1]: volume.split(":")[0] for volume in services["grafana"]["volumes"]}
    assert seen["/etc/grafana/provisioning"] == "./grafana/provisioning"
    dashboards = [place for place in seen if place.startswith(provider["options"]["path"] + "/")]
    assert [seen[place] for place in dashboards] == ["./grafana/tetrad.json"]
    dashboard = json.loads(read("deploy/grafana/tetrad.json"))
    asked = [v for v in dashboard["templating"]["list"] if v["type"] == "datasource"]
    assert [v["query"] for v in asked] == [source["type"]]


def test_first_token():
    """Once, and only where there is no token; its file is its owner's alone."""
    with tempfile.TemporaryDirectory() as folder:
        words = [os.path.join(DEPLOY, "first-token"), f"admin:admin={folder}/admin", f"watch:viewer={folder}/watch", "--",
                 "--db", folder + "/t.db"]
        environment = {"PATH": os.path.dirname(tap.TETRAD) + ":/usr/bin:/bin", "HOME": folder}
        for _ in range(2):
            said = subprocess.run(words, capture_output=True, text=True, env=environment)
            assert said.returncode == 0, said
            listed = subprocess.run([tap.TETRAD, "token", "list", "--json", "--db", folder + "/t.db"], capture_output=True,
                                    text=True, check=True, env=environment)
            tokens = json.loads(listed.stdout)["tokens"]
            assert [(t["user"], t["role"]) for t in tokens] == [("admin", "admin"), ("watch", "viewer")], tokens
        with open(folder + "/admin") as file:
            token = file.read()
        assert re.fullmatch(r"tet_[0-9a-f]{64}\n", token) and token.strip() not in said.stdout + said.stderr
        assert os.stat(folder + "/admin").st_mode & 0o777 == 0o600 and os.stat(folder + "/watch").st_mode & 0o777 == 0o640
        broken = subprocess.run([*words[:1], f"admin:admin={folder}/none/admin", *words[3:5], folder + "/u.db"],
                                capture_output=True, text=True, env=environment)
        assert broken.returncode != 0 and broken.stderr, broken


if __name__ == "__main__":
    tap.run(globals())
