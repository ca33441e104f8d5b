//! The files that are written by hand and must fit the generated ones.

use std::{fs, path::PathBuf};

use serde_yaml_ng::Value;

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn yaml(path: &str) -> Value {
    serde_yaml_ng::from_str(&fs::read_to_string(directory().join(path)).unwrap()).unwrap()
}

fn texts(values: &Value) -> Vec<&str> {
    values.as_sequence().unwrap().iter().map(|value| value.as_str().unwrap()).collect()
}

#[test]
fn prometheus_reads_every_rule() {
    let config = yaml("prometheus/prometheus.yml");
    assert_eq!(texts(&config["rule_files"]), ["rules/schedscope-*.yml"]);
    for file in fs::read_dir(directory().join("prometheus/rules")).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        assert!(name.strip_prefix("schedscope-").and_then(|rest| rest.strip_suffix(".yml")).is_some(), "{name}");
    }
    // An alert on targets that do not answer finds them by the job's name.
    assert!(config["scrape_configs"][0]["job_name"].as_str().unwrap().contains("schedscope"));
}

#[test]
fn the_data_source_knows_the_scrape_interval() {
    let source = yaml("provisioning/datasources/schedscope.yaml");
    let config = yaml("prometheus/prometheus.yml");
    assert_eq!(source["datasources"][0]["jsonData"]["timeInterval"], config["global"]["scrape_interval"]);
}

#[test]
fn containers_are_pinned_and_mount_what_exists_where_grafana_looks() {
    let provider = yaml("provisioning/dashboards/schedscope.yaml");
    let path = provider["providers"][0]["options"]["path"].as_str().unwrap();
    let compose = yaml("compose.yaml");
    let mut mounts = Vec::new();
    for service in compose["services"].as_mapping().unwrap().values() {
        let (_, tag) = service["image"].as_str().unwrap().rsplit_once(':').unwrap();
        assert!(tag.trim_start_matches('v').split('.').count() == 3, "{tag} is no version");
        mounts.extend(texts(&service["volumes"]));
    }
    for mount in mounts.iter().filter(|mount| mount.starts_with('.')) {
        assert!(directory().join(mount.split(':').next().unwrap()).exists(), "{mount}");
    }
    assert!(mounts.contains(&format!("./dashboards:{path}:ro").as_str()), "{path} is not mounted");
}
