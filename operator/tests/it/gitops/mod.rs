//! What GitOps tools make of what the operator says: each row of the state table, from the decision to the verdict of
//! kstatus, Flux and Argo CD.
//!
//! `examples/argocd/testdata` holds the objects as the API server would show them; their status is what the operator
//! decides, so a change of it shows here. `examples/argocd/health_test.yaml` holds the expected verdicts.
//! `UPDATE_GENERATED=1` writes the objects and the patch of argocd-cm.

mod objects;

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use jiff::Timestamp;
use lakegate_crds::Kind;
use serde_json::{Value, json};

use self::objects::objects;

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")
}

fn is_updating() -> bool {
    std::env::var_os("UPDATE_GENERATED").is_some()
}

fn assert_file(path: &Path, expected: &str) {
    if is_updating() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, expected).unwrap();
        return;
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        found == expected,
        "{} is not what the operator says; run UPDATE_GENERATED=1 cargo test -p lakegate-operator gitops, and look at \
         the difference:\n{expected}",
        path.display()
    );
}

fn read_yaml(path: &Path) -> Vec<Value> {
    use serde::Deserialize as _;
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_yaml::Deserializer::from_str(&text)
        .map(|document| Value::deserialize(document).unwrap())
        .collect()
}

/// One line of `health_test.yaml`.
struct Expected {
    name: String,
    kstatus: String,
    argo: (String, String),
}

fn expected() -> Vec<Expected> {
    let file = examples().join("argocd/health_test.yaml");
    let text = |value: &Value| {
        value
            .as_str()
            .unwrap_or_else(|| panic!("{value} is no text"))
            .to_owned()
    };
    let all: Vec<Expected> = read_yaml(&file)[0]["tests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|test| Expected {
            name: text(&test["inputPath"])
                .trim_start_matches("testdata/")
                .trim_end_matches(".yaml")
                .to_owned(),
            kstatus: text(&test["kstatus"]),
            argo: (
                text(&test["healthStatus"]["status"]),
                text(&test["healthStatus"]["message"]),
            ),
        })
        .collect();
    let told: Vec<_> = all.iter().map(|test| test.name.clone()).collect();
    let there: Vec<_> = objects().into_iter().map(|(name, _)| name).collect();
    assert_eq!(
        told.iter().collect::<BTreeSet<_>>(),
        there.iter().collect::<BTreeSet<_>>(),
        "each object has a verdict, and each verdict an object"
    );
    all
}

fn object(name: &str) -> Value {
    let (_, object) = objects().into_iter().find(|(each, _)| each == name).unwrap();
    object
}

#[test]
fn testdata_is_what_the_operator_says() {
    let folder = examples().join("argocd/testdata");
    let objects = objects();
    for (name, object) in &objects {
        let text = serde_yaml::to_string(object).unwrap();
        assert_file(&folder.join(format!("{name}.yaml")), &text);
    }
    for file in std::fs::read_dir(folder).unwrap() {
        let file = file.unwrap().file_name().into_string().unwrap();
        let known = objects.iter().any(|(name, _)| file == format!("{name}.yaml"));
        assert!(known, "testdata/{file} is no longer written");
    }
}

/// The generic rules of kstatus, which Flux, `kubectl` plugins and Config Sync share: the first that applies decides.
fn kstatus(object: &Value) -> &'static str {
    if object["metadata"]["deletionTimestamp"].is_string() {
        return "Terminating";
    }
    let status = &object["status"];
    if status["observedGeneration"].is_i64()
        && status["observedGeneration"] != object["metadata"]["generation"]
    {
        return "InProgress";
    }
    let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
    for condition in &conditions {
        match (condition["type"].as_str(), condition["status"].as_str()) {
            (Some("Reconciling"), Some("True")) => return "InProgress",
            (Some("Stalled"), Some("True")) => return "Failed",
            _ => {}
        }
    }
    let ready = conditions.iter().find(|condition| condition["type"] == "Ready");
    match ready.and_then(|condition| condition["status"].as_str()) {
        Some("False" | "Unknown") => "InProgress",
        // A kind without known conditions counts as current.
        _ => "Current",
    }
}

#[test]
fn kstatus_says_what_the_state_table_says() {
    for Expected {
        name,
        kstatus: wanted,
        ..
    } in expected()
    {
        assert_eq!(kstatus(&object(&name)), wanted, "{name}");
    }
}

/// A value as a Lua expression.
fn lua(value: &Value) -> String {
    let quoted = |text: &str| {
        let bytes: String = text.bytes().map(|byte| format!("\\{byte:03}")).collect();
        format!("\"{bytes}\"")
    };
    match value {
        Value::Null => "nil".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(value) => value.to_string(),
        Value::String(text) => quoted(text),
        Value::Array(items) => format!("{{{}}}", items.iter().map(lua).collect::<Vec<_>>().join(",")),
        Value::Object(members) => {
            let members: Vec<_> = members
                .iter()
                .map(|(name, value)| format!("[{}]={}", quoted(name), lua(value)))
                .collect();
            format!("{{{}}}", members.join(","))
        }
    }
}

/// Runs a script of Argo CD over objects, with the names that Argo CD defines and no others. `show` prints one result.
fn run_lua(script: &str, objects: &[(String, Value)], show: &str) -> Vec<String> {
    let path = examples().join("argocd").join(script);
    let mut program = format!(
        "local script = assert(loadfile({}))\n\
         local function run(name, object)\n\
           local globals = {{obj = object, table = table}}\n\
           for _, each in ipairs({{'assert', 'error', 'ipairs', 'next', 'pairs', 'pcall', 'rawequal', 'rawget',\n\
             'rawset', 'select', 'tonumber', 'tostring', 'type', 'unpack'}}) do globals[each] = _G[each] end\n\
           globals.require = function(library) assert(library == 'os'); return {{date = os.date, time = os.time}} end\n\
           setfenv(script, globals)\n\
           local result = script()\n\
           print(name .. '\\t' .. {show})\n\
         end\n",
        lua(&json!(path.to_str().unwrap())),
    );
    for (name, object) in objects {
        let _ = writeln!(program, "run({}, {})", lua(&json!(name)), lua(object));
    }
    // Argo CD interprets Lua 5.1.
    let mut child = Command::new("lua5.1")
        .arg("-")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("lua5.1 runs: apt-get install lua5.1");
    child.stdin.take().unwrap().write_all(program.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{script}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn argo_cd_says_what_the_state_table_says() {
    let said = run_lua(
        "health.lua",
        &objects(),
        "result.status .. '\\t' .. result.message",
    );
    let said: BTreeSet<&str> = said.iter().map(String::as_str).collect();
    for Expected { name, argo, .. } in expected() {
        let wanted = format!("{name}\t{}\t{}", argo.0, argo.1);
        let line = said.iter().find(|line| line.split('\t').next() == Some(&name));
        assert_eq!(line.copied(), Some(wanted.as_str()));
    }
}

#[test]
fn argo_cds_action_asks_for_a_run() {
    let bare = object("export-scheduled");
    let mut annotated = bare.clone();
    annotated["metadata"]["annotations"] = json!({"team": "shop"});
    let objects = [("bare".to_owned(), bare), ("annotated".to_owned(), annotated)];
    let show = "result.metadata.annotations['lakegate.dev/requestedAt'] .. ' ' .. tostring(result.metadata.annotations.team)";
    let said = run_lua("run-now.lua", &objects, show);
    for (line, (name, team)) in said.iter().zip([("bare", "nil"), ("annotated", "shop")]) {
        let rest = line.strip_prefix(&format!("{name}\t")).unwrap();
        let (at, found) = rest.split_once(' ').unwrap();
        assert!(at.parse::<Timestamp>().is_ok() && found == team, "{line}");
    }
}

/// The patch of Argo CD's settings holds the scripts as they are beside it: once, by an anchor.
#[test]
fn the_patch_of_argocd_cm_holds_the_scripts() {
    let folder = examples().join("argocd");
    let script = |name: &str, indent: &str| {
        let text = std::fs::read_to_string(folder.join(name)).unwrap();
        let lines = text.lines().map(|line| {
            if line.is_empty() {
                String::new()
            } else {
                format!("{indent}{line}")
            }
        });
        lines.collect::<Vec<_>>().join("\n")
    };
    let mut patch = String::from(
        "# Teaches Argo CD the health of Lakegate's kinds:\n\
         #   kubectl -n argocd patch configmap argocd-cm --patch-file examples/argocd/argocd-cm.yaml\n\
         # Written from health.lua and run-now.lua by the tests (UPDATE_GENERATED=1).\n\
         data:\n",
    );
    for (index, kind) in Kind::ALL.into_iter().enumerate() {
        let key = format!(
            "  resource.customizations.health.{}_{kind}:",
            lakegate_crds::GROUP
        );
        if index == 0 {
            let _ = writeln!(patch, "{key} &health |\n{}", script("health.lua", "    "));
        } else {
            let _ = writeln!(patch, "{key} *health");
        }
    }
    let _ = writeln!(
        patch,
        "  resource.customizations.actions.{}_Export: |\n    discovery.lua: |\n      return {{[\"run-now\"] = {{}}}}\n    \
         definitions:\n      - name: run-now\n        action.lua: |\n{}",
        lakegate_crds::GROUP,
        script("run-now.lua", "          "),
    );
    assert_file(&folder.join("argocd-cm.yaml"), &patch);
    let data = &read_yaml(&folder.join("argocd-cm.yaml"))[0]["data"];
    let health = std::fs::read_to_string(folder.join("health.lua")).unwrap();
    for kind in Kind::ALL {
        assert_eq!(
            data[format!("resource.customizations.health.lakegate.dev_{kind}")],
            json!(health)
        );
    }
    assert!(
        data["resource.customizations.actions.lakegate.dev_Export"]
            .as_str()
            .unwrap()
            .contains("requestedAt")
    );
}

/// The expressions of a Flux Kustomization, evaluated as Flux does: an older generation first, then in this order.
fn by_expressions(checks: &Value, object: &Value) -> &'static str {
    if object["status"]["observedGeneration"] != object["metadata"]["generation"] {
        return "InProgress";
    }
    let mut context = cel::Context::default();
    for field in ["apiVersion", "kind", "metadata", "spec", "status"] {
        context.add_variable(field, &object[field]).unwrap();
    }
    for (field, verdict) in [
        ("inProgress", "InProgress"),
        ("failed", "Failed"),
        ("current", "Current"),
    ] {
        let expression = checks[field].as_str().unwrap();
        let program = cel::Program::compile(expression).unwrap();
        match program.execute(&context) {
            Ok(cel::Value::Bool(true)) => return verdict,
            Ok(cel::Value::Bool(false)) => {}
            other => panic!("{expression}: {other:?}"),
        }
    }
    "InProgress"
}

#[test]
fn fluxs_expressions_fail_where_the_last_run_did() {
    let kustomizations = read_yaml(&examples().join("gitops/flux/kustomizations.yaml"));
    let checks = kustomizations
        .iter()
        .find_map(|it| it["spec"]["healthCheckExprs"].as_array())
        .unwrap();
    let [checks] = checks.as_slice() else {
        panic!("{checks:?}")
    };
    assert_eq!(checks["kind"], "Export");
    let mut failed = Vec::new();
    for (name, object) in objects() {
        if object["kind"] != "Export" || object["metadata"]["deletionTimestamp"].is_string() {
            continue;
        }
        let verdict = by_expressions(checks, &object);
        if verdict == kstatus(&object) {
            continue;
        }
        assert_eq!(verdict, "Failed", "{name}");
        failed.push(name);
    }
    assert_eq!(
        failed,
        ["export-last-run-failed", "export-suspended-after-failure"]
    );
}
