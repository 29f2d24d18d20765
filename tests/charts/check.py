"""Checks of the charts: what they render, what they refuse, and that their parts fit each other.

Run by `cargo test --test it charts`, or by itself: ~/.cache/lakegate/venv/bin/python tests/charts/check.py
UPDATE_GENERATED=1 writes golden/ instead of comparing with it.
"""

import copy
import functools
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

import yaml

HERE = pathlib.Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
CHARTS = REPOSITORY / "charts"
CASES = ("default", "full", "bare")
RELEASE, NAMESPACE, CLUSTER = "demo", "lakegate", "1.34.0"
KINDS = {"datasources", "exports", "exportruns", "retentionpolicies", "views"}


def tool(name):
    cache = pathlib.Path(os.environ.get("LAKEGATE_CACHE", pathlib.Path.home() / ".cache/lakegate"))
    found = cache / "bin" / name
    if not found.exists():
        raise FileNotFoundError(f"{found} is absent: run tests/charts/prepare.sh")
    return str(found)


def run(*arguments):
    return subprocess.run(arguments, capture_output=True, text=True, check=False)


def template(chart, values):
    """What `helm template` makes of values: exit code, text, complaints."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(values, file)
        file.flush()
        done = run(tool("helm"), "template", RELEASE, str(chart), "--namespace", NAMESPACE,
                   "--kube-version", CLUSTER, "--values", file.name)
    return done.returncode, done.stdout, done.stderr


def values_of(case):
    return yaml.safe_load((HERE / "values" / f"{case}.yaml").read_text()) or {}


@functools.cache
def rendered(case):
    code, text, errors = template(CHARTS / "lakegate", values_of(case))
    if code:
        raise AssertionError(errors)
    return text


def objects(case):
    return [copy.deepcopy(it) for it in parsed(case)]


@functools.cache
def parsed(case):
    return [it for it in yaml.safe_load_all(rendered(case)) if it]


def of(case, kind, component=None):
    return [it for it in objects(case) if it["kind"] == kind
            and component in (None, it["metadata"]["labels"].get("app.kubernetes.io/component"))]


def pods(case):
    """Name and template of everything that makes a Pod."""
    for it in objects(case):
        if it["kind"] == "Pod":
            yield it["metadata"]["name"], it
        elif it["kind"] in ("Deployment", "Job"):
            yield it["metadata"]["name"], it["spec"]["template"]


def is_selected(selector, pod):
    labels = pod["metadata"]["labels"]
    return all(labels.get(key) == value for key, value in selector.items())


class Rendering(unittest.TestCase):
    maxDiff = None

    def test_lint(self):
        done = run(tool("helm"), "lint", "--strict", str(CHARTS / "lakegate"), str(CHARTS / "lakegate-crds"))
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertNotIn("WARNING", done.stdout)

    def test_golden_files(self):
        for case in CASES:
            with self.subTest(case):
                golden = HERE / "golden" / f"{case}.yaml"
                text = rendered(case)
                if os.environ.get("UPDATE_GENERATED"):
                    golden.write_text(text)
                self.assertTrue(golden.exists(), "run UPDATE_GENERATED=1 python tests/charts/check.py")
                self.assertMultiLineEqual(golden.read_text(), text)

    def test_notes(self):
        for case, words in {
            "default": ["create secret generic demo-lakegate-users", "psql", "not encrypted", "port-forward",
                        "serves the resources of: lakegate\n"],
            "full": ["sslmode=require", "host=ADDRESS", "data-shop, data-logs", "get service demo-lakegate"],
            "bare": ["create secret generic people", "sslmode=require"],
        }.items():
            with self.subTest(case), tempfile.TemporaryDirectory() as folder:
                # Helm prints notes only against a cluster: render them as an object.
                chart = pathlib.Path(folder) / "lakegate"
                shutil.copytree(CHARTS / "lakegate", chart)
                (chart / "templates/NOTES.txt").rename(chart / "notes.txt")
                (chart / "templates/notes.yaml").write_text(
                    'kind: Notes\ntext: {{ tpl (.Files.Get "notes.txt") . | toJson }}\n')
                code, text, errors = template(chart, values_of(case))
                self.assertEqual(code, 0, errors)
                notes = next(it["text"] for it in yaml.safe_load_all(text) if it and it["kind"] == "Notes")
                for word in words:
                    self.assertIn(word, notes)
                self.assertNotRegex(notes, r"\n\n\n|<no value>|{{")

    def test_refused_values(self):
        for refusal in yaml.safe_load((HERE / "refused.yaml").read_text()):
            with self.subTest(refusal["values"]):
                code, text, errors = template(CHARTS / refusal["chart"], refusal["values"])
                self.assertNotEqual(code, 0, f"accepted:\n{text[:300]}")
                for word in refusal["words"]:
                    self.assertIn(word, errors)

    def test_schema_knows_every_value_and_no_other(self):
        for chart in ("lakegate", "lakegate-crds"):
            schema = json.loads((CHARTS / chart / "values.schema.json").read_text())
            defaults = yaml.safe_load((CHARTS / chart / "values.yaml").read_text())

            def compare(node, value, path):
                node = schema["definitions"][node["$ref"].split("/")[-1]] if "$ref" in node else node
                if "properties" not in node or not isinstance(value, dict):
                    return
                self.assertIs(node.get("additionalProperties"), False, path)
                known = set(node["properties"]) - {"global"}
                if path.endswith(("resources", "env")) or not known:
                    return
                self.assertEqual(known, set(value), f"{chart}: {path or 'values'}")
                for key, child in value.items():
                    compare(node["properties"][key], child, f"{path}.{key}".strip("."))

            compare(schema, defaults, "")


class Parts(unittest.TestCase):
    """Each rendering holds together."""

    def each(self):
        for case in CASES:
            with self.subTest(case):
                yield case

    def test_names_are_unique_and_namespaced(self):
        for case in self.each():
            names = [(it["kind"], it["metadata"].get("namespace"), it["metadata"]["name"]) for it in objects(case)]
            self.assertEqual(len(names), len(set(names)))
            self.assertTrue(all(namespace for _, namespace, _ in names), "nothing is cluster-wide")

    def test_selectors_choose_their_pods_and_no_others(self):
        for case in self.each():
            chosen = {}
            for it in objects(case):
                spec = it.get("spec", {})
                selector = {
                    "Deployment": lambda: spec["selector"]["matchLabels"],
                    "PodDisruptionBudget": lambda: spec["selector"]["matchLabels"],
                    "NetworkPolicy": lambda: spec["podSelector"]["matchLabels"],
                    "Service": lambda: spec["selector"],
                }.get(it["kind"])
                if selector:
                    names = {name for name, pod in pods(case) if is_selected(selector(), pod)}
                    chosen[it["kind"], it["metadata"]["name"]] = names
            for (kind, name), names in chosen.items():
                component = name.rsplit("-", 1)[-1]
                if kind == "NetworkPolicy" and component == "worker":
                    self.assertEqual(names, set(), "workers are made by the operator")
                elif kind == "Service":
                    prefix = name.removesuffix("-metrics")
                    wanted = {"gateway", "operator"} if name.endswith("-metrics") else {"gateway"}
                    self.assertEqual(names, {f"{prefix}-{it}" for it in wanted}, name)
                else:
                    self.assertEqual(names, {name}, kind)

    def test_pods_hold_the_restricted_standard(self):
        for case in self.each():
            for name, pod in pods(case):
                spec = pod["spec"]
                self.assertTrue(spec["securityContext"]["runAsNonRoot"], name)
                self.assertEqual(spec["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"})
                self.assertNotIn(None, spec["securityContext"].values())
                for container in spec["containers"]:
                    context = container["securityContext"]
                    self.assertIs(context["allowPrivilegeEscalation"], False)
                    self.assertIs(context["readOnlyRootFilesystem"], True)
                    self.assertEqual(context["capabilities"], {"drop": ["ALL"]})
                    self.assertIn("memory", container["resources"]["limits"])

    def test_mounts_ports_and_probes_exist(self):
        for case in self.each():
            for name, pod in pods(case):
                spec = pod["spec"]
                volumes = {it["name"] for it in spec.get("volumes", [])}
                for container in spec["containers"]:
                    mounts = [it["name"] for it in container.get("volumeMounts", [])]
                    self.assertEqual(set(mounts), volumes, name)
                    ports = {it["name"]: it["containerPort"] for it in container.get("ports", [])}
                    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                        if probe in container:
                            self.assertIn(container[probe]["httpGet"]["port"], ports)
                    for argument in container["args"]:
                        if match := re.fullmatch(r"--(http|listen)=.*:(\d+)", argument):
                            port = {"http": "http", "listen": "postgres"}[match[1]]
                            self.assertEqual(ports[port], int(match[2]))
                    paths = [it["mountPath"] for it in container.get("volumeMounts", [])]
                    for argument in container["args"]:
                        if match := re.fullmatch(r"--(?:users|tls-cert|tls-key|state-dir)=(/.*)", argument):
                            self.assertTrue(any(match[1].startswith(it) for it in paths), argument)

    def test_the_gateway_may_finish_its_drain(self):
        for case in self.each():
            (gateway,) = of(case, "Deployment", "gateway")
            spec = gateway["spec"]["template"]["spec"]
            container = spec["containers"][0]
            drain = next(int(it[8:-1]) for it in container["args"] if it.startswith("--drain="))
            sleep = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
            self.assertGreaterEqual(spec["terminationGracePeriodSeconds"], drain + sleep + 10)

    def test_node_ports_do_not_meet(self):
        ports = [it["hostPort"] if "hostPort" in it else it["containerPort"]
                 for _, pod in pods("bare") for container in pod["spec"]["containers"]
                 for it in container.get("ports", [])]
        self.assertTrue(all(pod["spec"]["hostNetwork"] for _, pod in pods("bare")))
        self.assertEqual(len(ports), len(set(ports)))
        for deployment in of("bare", "Deployment"):
            self.assertEqual(deployment["spec"]["strategy"]["rollingUpdate"]["maxSurge"], 0)

    def test_workers_are_told_where_to_run(self):
        (operator,) = of("full", "Deployment", "operator")
        arguments = operator["spec"]["template"]["spec"]["containers"][0]["args"]
        for argument in ("--namespace=data-shop", "--namespace=data-logs", "--worker-ttl=30m", "--max-runs=40", "--worker-scratch-limit=50Gi",
                         "--worker-node-selector=pool=batch", "--worker-node-selector=kubernetes.io/os=linux",
                         "--worker-toleration=dedicated=batch:NoSchedule", "--worker-toleration=spot:NoExecute",
                         "--worker-service-account=demo-lakegate-worker", "--log=debug",
                         "--worker-image=registry.example.com/data/lakegate@sha256:" + "0123456789abcdef" * 4):
            self.assertIn(argument, arguments)
        accounts = [it["metadata"]["namespace"] for it in of("full", "ServiceAccount", "worker")]
        self.assertEqual(accounts, ["data-shop", "data-logs"])
        for account in of("full", "ServiceAccount", "worker"):
            self.assertIs(account["automountServiceAccountToken"], False)
            self.assertEqual(account["imagePullSecrets"], [{"name": "registry"}])

    def test_accounts_and_secrets_that_pods_name_are_made_or_are_the_users(self):
        for case, foreign in {"default": {"demo-lakegate-users"}, "full": {"demo-lakegate-tls"},
                              "bare": {"people", "gateway-tls"}}.items():
            with self.subTest(case):
                made = {it["metadata"]["name"] for it in of(case, "Secret")}
                used = {volume["secret"]["secretName"] for _, pod in pods(case)
                        for volume in pod["spec"].get("volumes", []) if "secret" in volume}
                self.assertEqual(used - made, foreign)
                accounts = {it["metadata"]["name"] for it in of(case, "ServiceAccount")}
                named = {pod["spec"]["serviceAccountName"] for _, pod in pods(case)
                         if "serviceAccountName" in pod["spec"]}
                self.assertEqual(named - accounts, {"cluster-operator", "default"} if case == "bare" else set())
        (certificate,) = of("full", "Certificate")
        self.assertEqual(certificate["spec"]["secretName"], "demo-lakegate-tls")


class Rights(unittest.TestCase):
    def rules(self, case, namespace, account):
        """What an account may do in a namespace, as (group, resource, verb)."""
        roles = {(it["metadata"]["namespace"], it["metadata"]["name"]): it["rules"] for it in of(case, "Role")}
        found = set()
        for binding in of(case, "RoleBinding"):
            place = binding["metadata"]["namespace"]
            subjects = {(it["namespace"], it["name"]) for it in binding["subjects"]}
            if place == namespace and (NAMESPACE, account) in subjects:
                for rule in roles[place, binding["roleRef"]["name"]]:
                    found |= {(group, resource, verb) for group in rule["apiGroups"]
                              for resource in rule["resources"] for verb in rule["verbs"]}
        return found

    def test_rights_are_those_that_are_used(self):
        read = {("lakegate.dev", kind, verb) for kind in KINDS for verb in ("get", "list", "watch")}
        secrets = {("", "secrets", "get")}
        operator = read | secrets | {("lakegate.dev", f"{kind}/status", "patch") for kind in KINDS} | {
            ("lakegate.dev", "exportruns", "create"), ("lakegate.dev", "exportruns", "delete"),
            ("", "pods/log", "get"),
        } | {("batch", "jobs", verb) for verb in ("create", "get", "list", "watch", "delete")} \
          | {("", "pods", verb) for verb in ("list", "watch")} \
          | {("", "events", verb) for verb in ("create", "patch", "get", "list")}
        gateway = read | secrets | {("", "events", "list")}
        leases = {("coordination.k8s.io", "leases", verb) for verb in ("create", "get", "update")}
        cleanup = {("lakegate.dev", kind, verb) for kind in KINDS for verb in ("get", "list", "patch")}
        for case, watched in {"default": [NAMESPACE], "full": ["data-shop", "data-logs"]}.items():
            for namespace in watched:
                with self.subTest(case, namespace=namespace):
                    here = leases if namespace == NAMESPACE else set()
                    self.assertEqual(self.rules(case, namespace, "demo-lakegate-operator"), operator | here)
                    self.assertEqual(self.rules(case, namespace, "demo-lakegate-gateway"), gateway)
                    self.assertEqual(self.rules(case, namespace, "demo-lakegate-cleanup"), cleanup)
                    self.assertEqual(self.rules(case, namespace, "demo-lakegate-worker"), set())
        self.assertEqual(self.rules("full", NAMESPACE, "demo-lakegate-operator"), leases)

    def test_nothing_is_cluster_wide(self):
        for case in CASES:
            self.assertEqual([it["metadata"]["name"] for it in objects(case) if it["kind"].startswith("Cluster")], [])
        self.assertEqual(of("bare", "Role"), [])

    def test_the_lease_is_the_one_the_operator_is_told(self):
        for case in ("default", "full"):
            (operator,) = of(case, "Deployment", "operator")
            arguments = operator["spec"]["template"]["spec"]["containers"][0]["args"]
            named = next(it.split("=")[1] for it in arguments if it.startswith("--lease-name="))
            rules = [rule for role in of(case, "Role") for rule in role["rules"] if "resourceNames" in rule]
            self.assertEqual([rule["resourceNames"] for rule in rules], [[named]])


class Definitions(unittest.TestCase):
    GENERATED = REPOSITORY / "crds/generated"
    FILES = CHARTS / "lakegate-crds/files"

    def test_files_are_the_generated_ones(self):
        self.assertEqual(sorted(it.name for it in self.FILES.iterdir()),
                         sorted(it.name for it in self.GENERATED.iterdir()))
        for file in self.GENERATED.iterdir():
            self.assertEqual((self.FILES / file.name).read_bytes(), file.read_bytes(), f"{file.name}: run make crds")

    def render(self, values):
        code, text, errors = template(CHARTS / "lakegate-crds", values)
        self.assertEqual(code, 0, errors)
        return {it["metadata"]["name"]: it for it in yaml.safe_load_all(text)
                if it and it["kind"] == "CustomResourceDefinition"}

    def test_the_chart_renders_them_unchanged(self):
        generated = {}
        for file in self.GENERATED.iterdir():
            definition = yaml.safe_load(file.read_text())
            generated[definition["metadata"]["name"]] = definition
        for values, annotations in (({}, {"helm.sh/resource-policy": "keep"}), ({"keep": False}, None),
                                    ({"annotations": {"a": "b"}}, {"helm.sh/resource-policy": "keep", "a": "b"})):
            found = self.render(values)
            self.assertEqual(set(found), set(generated))
            for name, definition in found.items():
                metadata = definition.pop("metadata")
                self.assertEqual(metadata.get("annotations"), annotations)
                self.assertEqual(definition, {k: v for k, v in generated[name].items() if k != "metadata"}, name)
                self.assertLess(len(json.dumps(definition)), 100 * 1024)

    def test_people_get_rights_by_their_roles(self):
        def roles(values):
            _, text, _ = template(CHARTS / "lakegate-crds", values)
            return [it for it in yaml.safe_load_all(text) if it and it["kind"] == "ClusterRole"]
        view, edit = roles({})
        self.assertEqual({*view["rules"][0]["resources"]}, KINDS)
        self.assertNotIn("rbac.authorization.k8s.io/aggregate-to-view", edit["metadata"]["labels"])
        self.assertEqual(roles({"aggregateRoles": False}), [])


class Alerts(unittest.TestCase):
    def rule(self, case="full", **values):
        merged = values_of(case)
        rule = merged.setdefault("metrics", {}).setdefault("prometheusRule", {})
        rule.update({"enabled": True, **values})
        code, text, errors = template(CHARTS / "lakegate", merged)
        self.assertEqual(code, 0, errors)
        return next(it for it in yaml.safe_load_all(text) if it and it["kind"] == "PrometheusRule")["spec"]

    def test_settings_reach_the_rules(self):
        alerts = {it["alert"]: it for it in self.rule()["groups"][0]["rules"]}
        self.assertNotIn("LakegateRetentionGuard", alerts)
        self.assertRegex(alerts["LakegateExportOverdue"]["expr"], r"> 7200$")
        self.assertRegex(alerts["LakegateExportFailing"]["expr"], r">= 5$")
        self.assertRegex(alerts["LakegateGatewayConnectionsHigh"]["expr"], r"> 450$")
        self.assertTrue(all(it["labels"]["team"] == "data" for it in alerts.values()))
        schema = json.loads((CHARTS / "lakegate/values.schema.json").read_text())
        names = schema["properties"]["metrics"]["properties"]["prometheusRule"]["properties"]["disabled"]["items"]["enum"]
        self.assertEqual(sorted(names), sorted([*alerts, "LakegateRetentionGuard"]))

    def test_metrics_exist(self):
        sources = "\n".join(it.read_text() for folder in ("operator", "gateway", "federation", "src")
                            for it in (REPOSITORY / folder).rglob("*.rs"))
        for alert in self.rule(disabled=[])["groups"][0]["rules"]:
            for metric in re.findall(r"lakegate_[a-z_]+", alert["expr"]):
                self.assertTrue(f'"{metric}"' in sources, f"{alert['alert']}: nothing sets {metric}")

    def test_alerts_fire_when_they_should(self):
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            (folder / "rules.yaml").write_text(yaml.safe_dump(self.rule("default")))
            shutil.copy(HERE / "alerts.yaml", folder)
            done = run(tool("promtool"), "check", "rules", str(folder / "rules.yaml"))
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            done = run(tool("promtool"), "test", "rules", str(folder / "alerts.yaml"))
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        tested = {case["alertname"] for test in yaml.safe_load((HERE / "alerts.yaml").read_text())["tests"]
                  for case in test["alert_rule_test"] if case["exp_alerts"]}
        self.assertEqual(tested, {it["alert"] for it in self.rule("default")["groups"][0]["rules"]})


if __name__ == "__main__":
    unittest.main()
