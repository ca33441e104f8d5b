//! The Helm chart in `packaging/helm`: rendered by Helm's own library, and checked by the schemas of what it makes.
//!
//! Helm is no package of Debian's; its library comes with a Python package, in an environment of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::outcome::{Counts, Outcome};
use crate::workspace::{find_program, output, read_text, root, run, tools_dir};

/// From the root of the checkout.
const CHART: &str = "packaging/helm/schedscope";
const RENDER: &str = "xtask/src/chart/render.py";
/// What it imports.
const PACKAGES: [&str; 3] =
    ["helm-python-sdk==0.2.2", "kubernetes-validate==1.37.0", "cloudcoil.models.prometheus-operator==0.80.1.0"];

/// What [`RENDER`] prints.
#[derive(Deserialize)]
struct Told {
    /// What `helm lint` would call errors.
    lint: Vec<String>,
    rendered: Vec<Rendered>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Rendered {
    Refused { refused: String },
    Documents { documents: Vec<Value>, faults: Vec<String> },
}

pub(crate) fn path() -> PathBuf {
    root().join(CHART)
}

fn environment() -> PathBuf {
    tools_dir().join("helm")
}

fn python() -> PathBuf {
    environment().join("bin/python")
}

/// Fails if it cannot be rendered here.
pub(crate) fn find() -> Result<()> {
    let imports = "import helm_python, kubernetes_validate, cloudcoil.models.prometheus_operator.v1";
    output(Command::new(python()).args(["-c", imports])).map(|_| ()).context("no library of Helm's in target/tools/helm")
}

/// Makes the environment with the library.
pub(crate) fn install() -> Result<()> {
    let python3 = find_program("python3").context("no python3: install Python 3.10 or later")?;
    run(Command::new(python3).args(["-m", "venv", "--clear"]).arg(environment())).context("install the package python3-venv")?;
    run(Command::new(python()).args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(PACKAGES))
}

/// Where CRI-O says which image a container has.
const CRIO: &str = "/var/lib/containers/storage/overlay-containers";

/// Renders a chart, a directory or an archive, with values that users have, and with some that must be refused.
pub(crate) fn check(chart: &Path) -> Result<Outcome> {
    let image = json!({"repository": "registry.example/schedscope"});
    let secure = json!({
        "image": {"repository": "registry.example/schedscope", "tag": "9"}, "imagePullSecrets": [{"name": "registry"}],
        "config": "max_workloads = 8\n[[workload]]\nname = \"web\"\nmatch = { comm = \"nginx\" }\n",
        "webConfigSecret": "schedscope-web", "address": "[::]", "priorityClassName": "system-node-critical",
        "seLinuxOptions": {"type": "spc_t"}, "runtimeDirectories": [CRIO, "/var/lib/docker/containers"], "nodeSelector": {"disk": "ssd"}, "affinity": {"nodeAffinity": {}},
        "podAnnotations": {"a": "b"}, "podLabels": {"c": "d"}, "serviceAccount": {"create": false}, "networkPolicy": {"from": []},
        "podMonitor": {
            "enabled": true, "interval": "30s", "labels": {"release": "prometheus"}, "scheme": "https",
            "tlsConfig": {"ca": {"secret": {"name": "schedscope-web", "key": "ca.pem"}}},
            "basicAuth": {"username": {"name": "scraper", "key": "user"}, "password": {"name": "scraper", "key": "password"}},
        },
    });
    let bare = json!({"image": image, "networkPolicy": {"enabled": false}});
    let cases = [json!({"image": image}), secure, bare, json!({}), json!({"image": image, "imgae": {}})];
    let told = render(chart, &cases)?;
    ensure!(told.lint.is_empty(), "helm lint says: {}", told.lint.join("; "));
    let [default, secure, bare, without_image, misspelt] = told.rendered.as_slice() else {
        anyhow::bail!("a set of values is lost")
    };

    let default = documents(default)?;
    ensure!(kinds(default) == ["ConfigMap", "DaemonSet", "NetworkPolicy", "ServiceAccount"], "it makes {:?}", kinds(default));
    check_rights(default)?;
    let policy = &of_kind(default, "NetworkPolicy")?["spec"];
    ensure!(policy["egress"] == json!([]) && policy["ingress"].as_array().is_some_and(|rules| rules.len() == 1), "{policy}");

    let secure = documents(secure)?;
    ensure!(kinds(secure) == ["ConfigMap", "DaemonSet", "NetworkPolicy", "PodMonitor"], "it makes {:?}", kinds(secure));
    let container = container(secure)?;
    let arguments = container["args"].to_string();
    ensure!(arguments.contains("--web-config=") && !arguments.contains("--allow-remote"), "who listens to all: {arguments}");
    ensure!(arguments.contains("[::]:9752") && container["image"] == "registry.example/schedscope:9", "{container}");
    ensure!(container["securityContext"]["seLinuxOptions"]["type"] == "spc_t", "{container}");
    let pod = &of_kind(secure, "DaemonSet")?["spec"]["template"]["spec"];
    let volume = part(&pod["volumes"], |volume| volume["hostPath"]["path"] == CRIO)?;
    let mount = part(&container["volumeMounts"], |mount| mount["name"] == volume["name"])?;
    ensure!(mount["mountPath"] == CRIO && mount["readOnly"] == true, "the runtime's files are mounted so: {mount}");
    let configuration = of_kind(secure, "ConfigMap")?["data"]["schedscope.toml"].as_str().unwrap_or_default();
    let rules: toml::Table = configuration.parse().context("the configuration that it makes is not TOML")?;
    ensure!(rules.contains_key("workload"), "it loses rules: {configuration}");
    ensure!(of_kind(secure, "NetworkPolicy")?["spec"]["ingress"] == json!([]), "an empty list of peers lets everybody in");
    let endpoint = &of_kind(secure, "PodMonitor")?["spec"]["podMetricsEndpoints"][0];
    ensure!(endpoint["port"] == container["ports"][0]["name"], "Prometheus asks at another port: {endpoint}");

    ensure!(kinds(documents(bare)?) == ["ConfigMap", "DaemonSet", "ServiceAccount"], "it makes {:?}", kinds(documents(bare)?));
    for (case, part) in [(without_image, "image.repository"), (misspelt, "imgae")] {
        let Rendered::Refused { refused } = case else { anyhow::bail!("it takes values that cannot work") };
        ensure!(refused.contains(part), "what is wrong with {part} is told as: {refused}");
    }
    Ok(Outcome::Passed(Counts { passed: cases.len(), ..Counts::default() }))
}

fn render(chart: &Path, cases: &[Value]) -> Result<Told> {
    let told = output(Command::new(python()).arg(root().join(RENDER)).arg(chart).args(cases.iter().map(Value::to_string)))?;
    serde_json::from_str(&told).with_context(|| format!("{RENDER} prints no JSON: {told}"))
}

fn documents(rendered: &Rendered) -> Result<&[Value]> {
    match rendered {
        Rendered::Documents { documents, faults } if faults.is_empty() => Ok(documents),
        Rendered::Documents { faults, .. } => anyhow::bail!("{}", faults.join("\n")),
        Rendered::Refused { refused } => anyhow::bail!("it is not rendered: {refused}"),
    }
}

fn part(list: &Value, is_it: impl Fn(&&Value) -> bool) -> Result<&Value> {
    list.as_array().and_then(|list| list.iter().find(is_it)).with_context(|| format!("it is not in {list}"))
}

fn kinds(documents: &[Value]) -> Vec<&str> {
    documents.iter().filter_map(|document| document["kind"].as_str()).collect()
}

fn of_kind<'a>(documents: &'a [Value], kind: &str) -> Result<&'a Value> {
    documents.iter().find(|document| document["kind"] == kind).with_context(|| format!("it makes no {kind}"))
}

fn container(documents: &[Value]) -> Result<&Value> {
    of_kind(documents, "DaemonSet")?.pointer("/spec/template/spec/containers/0").context("its DaemonSet has no container")
}

/// The pod sees the host's processes, and has no right but those in the chart's values.
fn check_rights(documents: &[Value]) -> Result<()> {
    let pod = &of_kind(documents, "DaemonSet")?["spec"]["template"]["spec"];
    ensure!(pod["hostPID"] == true && pod["hostNetwork"].is_null() && pod["hostIPC"].is_null(), "{pod}");
    ensure!(pod["automountServiceAccountToken"] == false, "{pod}");
    let rights = &container(documents)?["securityContext"];
    let expected = json!({
        "privileged": false, "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "runAsUser": 0, "runAsGroup": 0,
        "capabilities": {"drop": ["ALL"], "add": capabilities()?},
        "seccompProfile": {"type": "RuntimeDefault"}, "appArmorProfile": {"type": "Unconfined"},
    });
    ensure!(*rights == expected, "its container may do {rights}");
    let mounts = container(documents)?["volumeMounts"].as_array().context("it mounts nothing")?;
    ensure!(mounts.iter().all(|mount| mount["readOnly"] == true), "it may write to {mounts:?}");
    Ok(())
}

/// What the chart adds, without `CAP_`.
pub(crate) fn capabilities() -> Result<Vec<String>> {
    #[derive(Deserialize)]
    struct Values {
        capabilities: Vec<String>,
    }
    let values: Values =
        serde_yaml_ng::from_str(&read_text(&path().join("values.yaml"))?).context("the chart's values have no capabilities")?;
    Ok(values.capabilities)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chart_gives_the_rights_that_the_unit_does() {
        let unit = read_text(&root().join("daemon/config/schedscope.service")).unwrap();
        let bound = unit.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet=")).unwrap();
        let of_chart: Vec<String> = capabilities().unwrap().iter().map(|name| format!("CAP_{name}")).collect();
        assert_eq!(of_chart.join(" "), bound);
    }

    #[test]
    fn the_chart_is_of_this_version() {
        let chart: serde_yaml_ng::Value = serde_yaml_ng::from_str(&read_text(&path().join("Chart.yaml")).unwrap()).unwrap();
        for key in ["version", "appVersion"] {
            assert_eq!(chart[key].as_str(), Some(env!("CARGO_PKG_VERSION")), "{key}");
        }
    }
}
